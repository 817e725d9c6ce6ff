"""Sessions of several tiles of units, with gaps, by the way for calls and by the way for sounds that are none."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from planted_session import DT, EDGES_HZ, song

from pipeline.mapping import playback_profile, profile
from pipeline.mapping.playback_profile import profile_playback
from pipeline.mapping.tuning_file import Counts, Options

OPTIONS = Options(n_surrogates=49, n_surrogates_fine=99, n_bootstrap=20, max_lag_s=0.1, seed=0, session="a")
CLIPS = {"clip_start_s": np.arange(0, 290, 0.5), "clip_split": np.tile(["train", "train", "test"], 194)[:580]}


def units_of(counts, valid):
    names = [f"a|units|{i}" for i in range(counts.shape[1])]
    return Counts(counts, valid, DT * np.arange(len(counts)), DT, names)


def by_calls(planted, counts, valid, **more):
    settings = CLIPS | {"to_session": lambda t: t, "edges_hz": EDGES_HZ, "options": OPTIONS} | more
    return profile.profile_calls(units_of(counts, valid), planted.calls, **settings)


def by_power(planted, counts, valid):
    generator = np.random.default_rng(1)
    power_db = np.repeat(generator.standard_normal((len(counts) // 20, 20)), 20, axis=0)
    return profile_playback(
        units_of(counts, valid), power_db, clip_duration_s=0.2, edges_hz=EDGES_HZ, options=OPTIONS, **CLIPS
    )


@pytest.mark.parametrize("way", [by_calls, by_power])
def test_what_a_unit_shows_hangs_neither_on_others_nor_on_its_invalid_bins(planted, monkeypatch, way):
    monkeypatch.setattr(playback_profile, "UNITS_AT_ONCE", 4)
    counts, valid = planted.counts[:, ::6].copy(), np.ones((len(planted.counts), 7), bool)
    valid[4000:9000, 2:] = False
    found = way(planted, counts, valid)
    counts[4000:9000, 2:] = 100
    again = way(planted, counts[:, 4:], valid[:, 4:])
    for name in ("p_vocal", "p_band", "lag_s", "peak_hz", "split_half_r", "rate_hz"):
        np.testing.assert_allclose(again[name], found[name][4:], rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(again["bout_response"], found["bout_response"][:, 4:], atol=1e-3)
    own_controls = ["neural_shifted", "time_reversed"]
    assert found["control_n"].sel(control=own_controls).values.min() >= 14
    assert found["control_n"].sel(control="other_session").values.max() == 0


@pytest.mark.parametrize("way", [by_calls, by_power])
def test_a_unit_without_spikes_is_not_tested(planted, way):
    counts = planted.counts[:, :3].copy()
    counts[:, 1] = 0
    found = way(planted, counts, np.ones(counts.shape, bool))
    for name in ("p_vocal", "p_band", "p_a"):
        assert np.isnan(found[name]).values.tolist() == [False, True, False], name
    own = found["control_n"].sel(control=["neural_shifted", "time_reversed"])
    assert set((own.values % 2).ravel()) == {0}  # two units a draw, not three


@pytest.mark.parametrize("way", [by_calls, by_power])
def test_gains_are_those_of_the_time_in_which_a_unit_was_observed(planted, way):
    """Half of the time missing, in every bout, is half of the data and not half of the gain."""
    counts = planted.counts[:, ::6]
    valid = np.ones(counts.shape, bool)
    half = valid.copy()
    half[np.arange(len(counts)) // 50 % 2 == 0] = False
    whole, halved = (way(planted, counts, seen)["tuning_gain"].sel(part="all").max("band") for seen in (valid, half))
    largest = whole.values > np.median(whole)
    assert 0.8 < (halved.values / whole.values)[largest].mean() < 1.4


def test_another_sessions_song_is_a_control(planted, monkeypatch):
    """It shows nothing; the session's own song, moved to begin with itself and not shifted, shows all there is."""
    valid = np.ones(planted.counts.shape, bool)
    found = by_calls(planted, planted.counts, valid, other=song(np.random.default_rng(11), 300.0))
    assert (found["control_n"].sel(control="other_session") >= 3 * planted.counts.shape[1]).all()
    assert (found["control_fraction"].sel(control="other_session") <= 0.15).all()
    own = planted.calls.assign(start_s=planted.calls["start_s"] + 7, stop_s=planted.calls["stop_s"] + 7)
    own["contour_s"] = [time_s + 7 for time_s in own["contour_s"]]
    monkeypatch.setattr(profile, "control_shifts", lambda *_, **__: np.array([0]))
    found = by_calls(planted, planted.counts, valid, other=own)
    linked = [(found[name] <= 0.05).mean() for name in ("p_vocal", "p_band")]
    np.testing.assert_allclose(found["control_fraction"].sel(control="other_session"), linked, atol=0.1)
    assert min(linked) > 0.4


@pytest.mark.parametrize(("n_sounds", "null"), [(290, "the presentations in other orders"), (1, "linear shift")])
def test_presentations_decide_on_the_null_of_playback(planted, monkeypatch, n_sounds, null):
    """The controls of the same way come with it; where the order cannot change, the null says why. Units that are not
    read at once have the same surrogates, so that what they share counts once in a sum over them."""
    monkeypatch.setattr(playback_profile, "UNITS_AT_ONCE", 4)
    counts = np.tile(planted.counts[:, :4], 2)
    generator = np.random.default_rng(2)
    power_db = np.repeat(generator.standard_normal((len(counts) // 20, 20)), 20, axis=0)
    start_s = 1.0 * np.arange(290)
    presented = pd.DataFrame({"start_s": start_s, "stop_s": start_s + 0.4})
    presented["label"] = [f"sound {number % n_sounds}" for number in range(290)]
    told = pytest.warns(UserWarning, match="session a: .*all are of one sound") if n_sounds == 1 else nullcontext()
    with told:
        found = profile_playback(
            units_of(counts, np.ones(counts.shape, bool)),
            power_db,
            clip_duration_s=1.0,
            edges_hz=EDGES_HZ,
            options=OPTIONS,
            presented=presented,
            clip_start_s=start_s,
            clip_split=np.repeat(["train", "test"], 145),
        )
    assert found.attrs["null_band"].startswith(null)
    assert found.attrs["null_band"].endswith("all are of one sound") == (n_sounds == 1)
    floors, n_shifts = ({1 / 50, 1 / 100}, 5) if n_sounds > 1 else (set(found["p_floor_band"].values[:1]), 3)
    assert set(found["p_floor_band"].values) <= floors and found["p_band"].notnull().all()
    assert found["control_n"].sel(level="band").sum() == 2 * 8 * n_shifts
    for name in ("surrogate_z_b", "p_band"):
        np.testing.assert_array_equal(found[name].isel(unit=slice(4)), found[name].isel(unit=slice(4, 8)), err_msg=name)
