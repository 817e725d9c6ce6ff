import numpy as np
import pytest
from test_making import NOISE, bouts_every, make

from pipeline.clipping.extra import read_extra, with_extra
from pipeline.clips import read_clips
from pipeline.covariates import Covariates, write_covariates
from pipeline.errors import InputError
from pipeline.storage import write_dataset

N_BINS = 4000


@pytest.fixture
def session(spectrogram_of, counts_of, calls_of, rng):
    """40 s of sound, 13 bouts, two units."""
    return {
        "spectrogram": spectrogram_of(NOISE),
        "counts": counts_of([np.sort(rng.uniform(0, 40, n)) for n in (400, 900)], audio_s=40.0),
        "calls": calls_of(bouts_every(3.0, 13)),
    }


@pytest.fixture
def movement(rng, tmp_path):
    """Speed, not known for the first 10 s, and a posture that changes in the last second only, from covariates.nc."""
    speed = rng.normal(7, 3, N_BINS)
    speed[:1000] = np.nan
    posture = np.where(np.arange(N_BINS) < 3900, 1.0, 2.0)
    values = np.c_[speed, posture].astype(np.float32)
    found = Covariates(["speed", "posture"], ["cm/s", ""], values, np.arange(N_BINS) * 0.01, 0.01)
    write_covariates(found, tmp_path / "covariates.nc", session="s1")
    return read_extra(tmp_path / "covariates.nc"), values


def test_a_third_modality_travels_through_the_file_and_leaves_the_others_as_they_were(
    session, movement, counts_of, tmp_path
):
    series, values = movement
    probe = counts_of([np.arange(0, 40, 0.02), np.arange(0, 12, 0.05)], audio_s=40.0)
    plain = make(session)
    whole = with_extra(plain, {"movement": series, "probe": probe, "lfp": None})
    write_dataset(whole, tmp_path / "clips.nc")
    read = read_clips(tmp_path / "clips.nc")
    assert read.modalities == ("audio", "neural", "movement", "probe", "lfp")
    for name in set(plain.variables) - {"present", "modality"}:
        assert plain[name].variable.identical(whole[name].variable), name
    write_dataset(plain, tmp_path / "plain.nc")
    before = read_clips(tmp_path / "plain.nc")
    np.testing.assert_array_equal(before.counts, read.counts)
    np.testing.assert_array_equal(before.present, read.present[:, :2])
    assert before.extra == {}

    moved = read.series("movement")
    assert (moved.kind, moved.channels) == ("traces", ["speed", "posture"])
    row = np.rint(read.start_s / 0.01).astype(int)[:, None] + 5 + np.arange(10)
    missing = np.isnan(moved.values[:, 0])
    np.testing.assert_array_equal(missing, row < 1000)
    assert np.isnan(moved.values[:, 1]).all()  # it never moves in training: there is no scale to read it on
    training = moved.values[read.split == "train", 0]
    assert np.nanmean(training) == pytest.approx(0, abs=1e-5) and np.nanstd(training) == pytest.approx(1, rel=1e-5)
    assert np.corrcoef(moved.values[:, 0][~missing], values[row[~missing], 0])[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(read.present[:, 2], (row >= 1000).any(1))
    np.testing.assert_array_equal(read.has(["neural", "movement"]), read.present[:, 1] & read.present[:, 2])

    spikes = read.series("probe")
    assert spikes.kind == "spikes" and spikes.values.shape[1:] == (2, 10)
    np.testing.assert_array_equal(spikes.values[:, 0], row % 2 == 0)
    assert read.series("neural").channels == read.unit_ids

    assert read.series("lfp").values.shape == (len(read), 0, 10) and not read.present[:, 4].any()
    part = read.take([7, 2])
    np.testing.assert_array_equal(part.extra["probe"].values, spikes.values[[7, 2]])
    assert part.present.shape == (2, 5)


def test_what_no_training_clip_holds_is_missing_with_one_warning(session, movement):
    series, _ = movement
    clips = make(session)
    first_s = clips["start_s"].values[clips["split"].values != "train"].min()
    late = series["bin"].values[:, None] > first_s + 0.3
    only_held_out = series.assign(valid=series["valid"] & ~late, counts=series["counts"].where(~late))
    clips["split"].values[clips["start_s"].values < first_s + 0.5] = "test"
    with pytest.warns(UserWarning, match=r"extra\.movement: no training clip holds any of it") as warned:
        found = with_extra(clips, {"movement": only_held_out})
    assert len(warned) == 1 and not found["present"].values[:, 2].any()


def test_other_bins_are_refused(session, movement):
    series, _ = movement
    series.attrs["bin_width_s"] = 0.02
    with pytest.raises(InputError, match=r"(?s)not those of the counts.*extra\.movement.*0\.02 s.*0\.01 s"):
        with_extra(make(session), {"movement": series})
