import warnings

import numpy as np
import pytest

from pipeline.clipping import making
from pipeline.clipping.making import make_clips
from pipeline.clips import read_clips
from pipeline.clock import fit_clock, shifted_clock
from pipeline.errors import InputError
from pipeline.storage import write_dataset

SETTINGS = {
    "mode": "sliding",
    "duration_s": 0.2,
    "stride_s": 0.05,
    "n_bands": 8,
    "n_frames": 32,
    "pre_s": -0.05,
    "post_s": -0.05,
    "n_blocks": 10,
    "validation_fraction": 0.2,
    "test_fraction": 0.2,
    "guard_s": 0.5,
    "label": "label",
    "seed": 0,
}
NOISE = np.random.default_rng(0).normal(-80, 1, (40_000, 16))  # 40 s


def bouts_every(step_s, n, *, length_s=0.9):
    """Two calls a bout."""
    starts = 1 + np.arange(n) * step_s
    rows = [(s, s + 0.1, i) for i, s in enumerate(starts)] + [
        (s + length_s - 0.1, s + length_s, i) for i, s in enumerate(starts)
    ]
    return sorted(rows)


@pytest.fixture
def session(spectrogram_of, counts_of, calls_of, rng):
    """40 s, 13 bouts, three units."""
    trains = [np.sort(rng.uniform(0, 40, n)) for n in (400, 900, 60)]
    return {
        "spectrogram": spectrogram_of(NOISE),
        "counts": counts_of(trains, audio_s=40.0),
        "calls": calls_of(bouts_every(3.0, 13)),
    }


def make(session, **changed):
    return make_clips(**session, **{**SETTINGS, **changed})


def test_clips_lie_on_the_grid_of_the_counts_and_hold_them(session):
    clips = make(session)
    counts = session["counts"]
    k = clips["start_s"].values / 0.01
    np.testing.assert_allclose(k, np.rint(k), atol=1e-6)
    np.testing.assert_allclose(clips["bin"].values, 0.05 + 0.01 * np.arange(10))
    assert clips["counts"].shape == (len(k), 3, 10)
    for c in range(0, len(k), 17):
        for b, offset in enumerate(clips["bin"].values):
            start_s = clips["start_s"].values[c] + offset
            row = np.abs(counts["bin"].values - start_s).argmin()
            np.testing.assert_array_equal(clips["counts"].values[c, :, b], counts["counts"].values[row])


def lags_s(spectrogram_of, counts_of, calls_of, clock):
    """Clicks every 2.9 s, each answered by a spike; the NWB clock starts 37.25 s early and runs 400 ppm fast.

    Returns the start of the bin that holds the spike less the time of the click, as the clips have them.
    """
    click_s = 1.5 + 2.9 * np.arange(13)
    power = NOISE.copy()
    for t in click_s:
        frame = round((t - 0.001) / 0.001)
        power[frame - 1 : frame + 2, :] += 40
    spikes_s = 37.25 + click_s * (1 + 400e-6)  # not through the package's clock
    clips = make_clips(
        spectrogram=spectrogram_of(power),
        counts=counts_of([spikes_s, np.linspace(30, 80, 99)], audio_s=40.0, clock=clock),
        calls=calls_of([(t - 0.05, t + 0.05, i) for i, t in enumerate(click_s)]),
        **{**SETTINGS, "mode": "call"},
    )
    lags = []
    for c in range(13):
        loudest_s = clips["frame"].values[clips["spectrogram"].values[c].mean(0).argmax()]
        (full,) = np.flatnonzero(clips["counts"].values[c, 0] > 0)
        lags.append(clips["bin"].values[full] - loudest_s)
    return np.array(lags)


def test_a_planted_click_and_its_spike_share_a_bin_under_offset_and_drift(spectrogram_of, counts_of, calls_of):
    pulses_s = np.linspace(0, 40, 9)
    clock = fit_clock(pulses_s, 37.25 + pulses_s * (1 + 400e-6), max_residual_s=0.002, where="test")
    lags = lags_s(spectrogram_of, counts_of, calls_of, clock)
    half_frame_s = 0.2 / 32 / 2
    assert (lags > -0.01 - half_frame_s - 1e-9).all() and (lags < half_frame_s + 1e-9).all()


def test_without_the_drift_they_part(spectrogram_of, counts_of, calls_of):
    lags = lags_s(spectrogram_of, counts_of, calls_of, shifted_clock(37.25, source="test"))
    assert lags[-3:].mean() - lags[:3].mean() > 0.007  # 400 ppm of 29 s are 11.6 ms


def test_gaps_between_presentations_are_missing(session, counts_of):
    presentations = np.c_[np.arange(8) * 5.0, np.arange(8) * 5.0 + 4.7]
    session["counts"] = counts_of([np.arange(0, 40, 0.03)], audio_s=40.0, observed=[presentations])
    clips = make(session, mode="continuous", stride_s=0.1)
    start_s = clips["start_s"].values[:, None] + clips["bin"].values
    in_gap = (start_s + 0.005) % 5 > 4.7
    np.testing.assert_array_equal(clips["counts"].values[:, 0] == -1, in_gap)
    np.testing.assert_array_equal(clips["present"].values[:, 1], ~in_gap.all(1))


def test_sliding_clips_cover_the_bouts(session):
    clips = make(session)
    calls = session["calls"]
    for bout, rows in calls.groupby("bout"):
        start_s = clips["start_s"].values[clips["bout"].values == bout]
        first, last = rows["start_s"].min(), rows["stop_s"].max()
        assert first - 0.03 < start_s.min() <= first + 0.005
        assert last - 0.005 <= start_s.max() + 0.2 < last + 0.03
    # a clip's call is the one of which it holds most
    inside = clips["call"].values >= 0
    assert 0 < inside.mean() < 1
    shared = [np.minimum(calls["stop_s"], s + 0.2) - np.maximum(calls["start_s"], s) for s in clips["start_s"].values]
    np.testing.assert_array_equal(inside, [s.max() > 1e-9 for s in shared])


def test_one_clip_for_each_call(session):
    clips = make(session, mode="call")
    calls = session["calls"]
    assert list(clips["call"].values) == list(calls["call"])
    assert list(clips["bout"].values) == list(calls["bout"])
    middle_s = clips["start_s"].values + 0.1
    np.testing.assert_allclose(middle_s, (calls["start_s"] + calls["stop_s"]) / 2, atol=0.0051)


def test_continuous_clips_cover_the_recording(session):
    clips = make(session, mode="continuous", stride_s=0.2)
    assert len(clips["clip"]) == 200
    np.testing.assert_allclose(clips["start_s"].values, 0.2 * np.arange(200), atol=1e-9)
    held = clips["call"].values >= 0
    np.testing.assert_array_equal(
        clips["bout"].values[held], session["calls"]["bout"].to_numpy()[clips["call"].values[held]]
    )


def test_bouts_are_never_divided_between_roles(session):
    clips = make(session)
    for bout in np.unique(clips["bout"].values):
        assert len(set(clips["split"].values[clips["bout"].values == bout]) - {"guard"}) <= 1
    assert {"train", "validation", "test"} <= set(clips["split"].values)


def test_counts_before_and_after_the_clip(session):
    clips = make(session, pre_s=0.1, post_s=0.05)
    np.testing.assert_allclose(clips["bin"].values, -0.1 + 0.01 * np.arange(35), atol=1e-12)
    early = make(session, pre_s=2.0, post_s=0.0)  # reaches before the recording
    assert (early["counts"].values[0, :, 0] == -1).all()


@pytest.mark.parametrize("run", [1, 70, 10**6])
def test_counts_that_need_two_bytes_do_not_hang_on_how_they_are_read(session, counts_of, monkeypatch, run):
    monkeypatch.setattr(making, "BINS_AT_ONCE", run)
    crowd = np.full(200, 22.003)  # read late: what came before is kept
    counts = counts_of([np.arange(0.5, 40, 0.1), np.sort(np.append(crowd, [3.0, 30.0]))], audio_s=40.0)
    clips = make(session | {"counts": counts}, pre_s=2.0, post_s=2.0, guard_s=0.1)  # reach before the recording
    assert clips["counts"].dtype == np.int16
    table = np.where(counts["valid"].values, counts["counts"].values.astype(int), -1)
    for start_s, found in zip(clips["start_s"].values, clips["counts"].values, strict=True):
        rows = round((start_s - 2.0) / 0.01) + np.arange(found.shape[1])
        inside = (rows >= 0) & (rows < len(table))
        expected = np.where(inside[:, None], table[np.where(inside, rows, 0)], -1)
        np.testing.assert_array_equal(found, expected.T)


def test_sound_alone_and_spikes_alone(session, spectrogram_of, counts_of, calls_of):
    sound = make({**session, "counts": counts_of([], audio_s=40.0)})
    assert sound["counts"].shape[1] == 0
    assert sound["present"].values[:, 0].all() and not sound["present"].values[:, 1].any()
    spikes = make(
        {
            "spectrogram": spectrogram_of(np.empty((0, 0))),
            "counts": counts_of([np.arange(500, 540, 0.05)]),
            "calls": calls_of(),
        }
    )
    assert spikes.attrs["mode"] == "continuous"
    assert spikes["present"].values[:, 1].all() and not spikes["present"].values[:, 0].any()
    assert spikes["spectrogram"].shape[1:] == (8, 32)


def test_clips_travel_through_their_file(session, tmp_path, counts_of):
    session["counts"] = counts_of([np.arange(0, 40, 0.03)] * 2, audio_s=40.0, observed=[[[0, 20]], [[0, 40]]])
    clips = make(session)
    write_dataset(clips, tmp_path / "clips.nc")
    read = read_clips(tmp_path / "clips.nc")
    assert (read.session, read.subject, read.unit_ids) == ("s1", "anna", ["s1|units|0", "s1|units|1"])
    assert read.spectrogram.dtype == read.counts.dtype == np.float32
    np.testing.assert_array_equal(np.nan_to_num(read.counts, nan=-1), clips["counts"].values)
    assert np.isnan(read.counts).any()
    np.testing.assert_array_equal(read.spectrogram, clips["spectrogram"].values.astype(np.float32))
    assert (read.bin_width_s, len(read.frequency_hz), len(read.frame_s)) == (0.01, 8, 32)
    parts = [read.where(name) for name in ("train", "validation", "test", "guard")]
    assert sum(map(len, parts)) == len(read) == len(clips["clip"])
    assert set(parts[2].split) == {"test"} and parts[2].counts.shape == (len(parts[2]), 2, 10)


def test_traces_are_in_sds_of_the_training_clips(session, tmp_path, rng):
    counts = session["counts"]
    traces = rng.normal(7, 3, counts["counts"].shape).astype(np.float32)
    traces[:, 1] = 4.2  # never moves
    valid = np.ones(traces.shape, bool)
    valid[:500, 0] = False
    traces[:500, 0] = np.nan
    session["counts"] = counts.assign(counts=(("bin", "unit"), traces), valid=(("bin", "unit"), valid))
    session["counts"].attrs = counts.attrs | {"kind": "traces"}
    write_dataset(make(session), tmp_path / "clips.nc")
    read = read_clips(tmp_path / "clips.nc")
    assert read.kind == "traces" and np.isnan(read.counts[:, 1]).all()
    training = read.where("train").counts[:, 0]
    assert np.nanmean(training) == pytest.approx(0, abs=1e-5) and np.nanstd(training) == pytest.approx(1, rel=1e-5)
    first = np.rint(read.start_s / 0.01).astype(int) + 5
    expected = traces[first[:, None] + np.arange(10), 2]
    assert np.corrcoef(read.counts[:, 2].ravel(), expected.ravel())[0, 1] == pytest.approx(1)
    np.testing.assert_array_equal(np.isnan(read.counts[:, 0]), first[:, None] + np.arange(10) < 500)


def test_sound_alone_travels_through_its_file(session, tmp_path, counts_of):
    write_dataset(make({**session, "counts": counts_of([], audio_s=40.0)}), tmp_path / "clips.nc")
    read = read_clips(tmp_path / "clips.nc")
    assert read.unit_ids == [] and read.counts.shape[1:] == (0, 10)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"n_frames": 500}, r"up to 200 \(audio.hop_s 0.001\)"),
        ({"pre_s": -0.1, "post_s": -0.099}, "count window is shorter"),
        ({"duration_s": 60.0, "mode": "continuous"}, "no clip"),
    ],
)
def test_impossible_settings(session, changed, part):
    with pytest.raises(InputError, match=part):
        make(session, **changed)


def test_no_calls(session, calls_of):
    with pytest.raises(InputError, match=r"no calls(.|\n)*continuous"):
        make({**session, "calls": calls_of()})
    assert len(make({**session, "calls": calls_of()}, mode="continuous")["clip"]) > 100


def test_recordings_shifted_as_a_whole_give_the_same_clips(session, counts_of, rng):
    trains = [np.sort(rng.uniform(0, 40, 400))]
    plain = make({**session, "counts": counts_of(trains, audio_s=40.0)})
    clock = shifted_clock(1000.0, source="test")
    late = make({**session, "counts": counts_of([trains[0] + 1000], audio_s=40.0, clock=clock)})
    np.testing.assert_allclose(late["start_s"].values, plain["start_s"].values + 1000)
    np.testing.assert_array_equal(late["split"].values, plain["split"].values)
    np.testing.assert_allclose(late["spectrogram"].values, plain["spectrogram"].values, atol=0.6)


def test_a_short_session_gets_shorter_guards_and_says_so(session):
    with pytest.warns(UserWarning, match=r"instead of 30 s \(clips.split.guard_s\)"):
        clips = make(session, guard_s=30.0)
    assert 0 < clips.attrs["guard_s"] < 30
    assert set(clips["split"].values) >= {"train", "validation", "test"}


def test_few_bouts_are_divided_and_it_is_said(session, calls_of):
    """Four bouts are cut by time, five are dealt whole."""
    few, enough = ({**session, "calls": calls_of(bouts_every(7.0, n, length_s=4.0))} for n in (4, 5))
    with pytest.warns(UserWarning, match="fewer than 5 bouts"):
        make(few, guard_s=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(enough, guard_s=0.0)


def test_a_clip_has_the_label_of_its_call(session, tmp_path):
    calls = session["calls"].sample(frac=1, random_state=0)
    calls["label"] = [None if call == 3 else f"kind {call % 4}" for call in calls["call"]]
    calls["n_jumps"] = calls["call"] % 2
    write_dataset(make(session | {"calls": calls}, mode="continuous"), tmp_path / "clips.nc")
    clips = read_clips(tmp_path / "clips.nc")
    assert {-1, 3} < set(clips.call)
    for call, label in zip(clips.call, clips.label, strict=True):
        assert label == ("" if call in (-1, 3) else f"kind {call % 4}")
    test = clips.where("test")
    assert (test.label == clips.label[clips.split == "test"]).all()
    jumps = make(session | {"calls": calls}, label="n_jumps")
    call = jumps["call"].values
    assert (jumps["label"].values == np.where(call < 0, "", (call % 2).astype(str))).all()


@pytest.mark.parametrize(("column", "nearest"), [("lable", "label"), ("n_jump", "n_jumps"), ("start_s", None)])
def test_an_unknown_column_of_labels_is_told_with_the_nearest(session, column, nearest):
    session["calls"]["n_jumps"] = 0
    with pytest.raises(
        InputError, match=r"(?s)no such column of labels.*clips\.label.*call, bout, label, n_jumps"
    ) as told:
        make(session, label=column)
    assert nearest is None or f"nearest: {nearest}" in str(told.value)
