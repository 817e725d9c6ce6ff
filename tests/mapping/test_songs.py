"""Session permutation: links are found, what all sessions share is none."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import binom

from pipeline.mapping import vocal
from pipeline.mapping.songs import (
    comparable_songs,
    followed_songs,
    session_permutation,
    song_headline,
    song_note,
    song_summary,
)
from pipeline.mapping.tuning_file import Counts, Options
from pipeline.mapping.vocal import song_gains, sounding_bins, vocal_modulation

DT = 0.05
N_BINS = 4000  # 200 s


def fading_song(generator, *, duration_s=180.0) -> pd.DataFrame:
    """Calls of 0.2 s that grow rare, as in all sessions: of similar span and number, at other times."""
    slots = np.arange(int(duration_s / 0.4))
    start_s = 5 + 0.4 * slots[generator.random(len(slots)) < 0.6 * np.exp(-2 * slots / len(slots))]
    return pd.DataFrame({"start_s": start_s, "stop_s": start_s + 0.2})


def session(generator, *, gain, n_units=6, name="0") -> tuple[Counts, pd.DataFrame]:
    """Units whose rates fade with the song and drift besides; `gain`: of their rate in calls, from 0.1 s later on."""
    song = fading_song(generator)
    start_s = DT * np.arange(N_BINS)
    sung = sounding_bins(song + 0.1, to_session=lambda t: t, bin_start_s=start_s, bin_width_s=DT)
    time = np.linspace(0, 1, N_BINS)[:, None]
    drift = np.exp(-1.5 * time + 0.5 * np.cos(2 * np.pi * (2 * time + generator.random(n_units))))
    counts = generator.poisson(0.5 * drift * (1 + (gain - 1) * sung[:, None]))
    ids = [f"{name}|units|{unit}" for unit in range(n_units)]
    return Counts(counts, np.ones(counts.shape, bool), start_s, DT, ids), song


def options(name) -> Options:
    return Options(n_surrogates=19, n_surrogates_fine=19, n_bootstrap=10, max_lag_s=0.15, seed=0, session=name)


def permuted(generator, *, n_sessions, gain, **more):
    made = {str(i): session(generator, gain=gain, name=str(i), **more) for i in range(n_sessions)}
    songs = {name: song for name, (_, song) in made.items()}
    followed = {
        name: followed_songs(units, songs, to_session=np.asarray, options=options(name))
        for name, (units, _) in made.items()
    }
    return session_permutation(followed, generator=generator)


@pytest.mark.parametrize(("n_sessions", "floor"), [(5, 1 / 120), (8, 1 / 10_000)])
def test_linked_units_follow_their_own_song_most(n_sessions, floor):
    found = permuted(np.random.default_rng(0), n_sessions=n_sessions, gain=2.0)
    assert found.p == found.p_floor == pytest.approx(floor)
    assert found.mean_rank > 0.9 and found.sessions == [str(i) for i in range(n_sessions)]
    assert len(found.rank) == 6 * n_sessions and found.rank["3", "3|units|2"] > 0.5
    told = song_summary(found, {str(i): f"mouse{i % 2}" for i in range(n_sessions)})
    assert (told["n_animals"], told["n_units"]) == (2, 6 * n_sessions)
    assert song_headline(told)[0].startswith("Units follow the song of their own session")


@pytest.mark.parametrize("removed", [True, False])
def test_what_all_sessions_share_is_no_link_whether_drift_is_removed_or_not(monkeypatch, removed):
    """Songs fade, and so do units: a p value of 5 % comes about in 5 % of jobs."""
    if not removed:
        monkeypatch.setattr(vocal, "SLOWEST_S", 1e9)
    generator = np.random.default_rng(1)
    p = np.array([permuted(generator, n_sessions=5, gain=1.0, n_units=2).p for _ in range(25)])
    assert binom.ppf(0.005, 25, 0.2) <= (p <= 0.2).sum() <= binom.ppf(0.995, 25, 0.2)
    assert (p <= 0.05).sum() <= binom.ppf(0.995, 25, 0.05)


def test_fewer_than_five_comparable_sessions_are_not_tested():
    generator = np.random.default_rng(2)
    found = permuted(generator, n_sessions=4, gain=3.0)
    told = song_summary(found, {})
    assert np.isnan(found.p) and not len(found.rank) and told["p"] is None
    assert song_headline(told) == [] and "5 comparable sessions" in song_note(told)
    songs = {str(i): fading_song(generator) for i in range(5)}
    songs["short"], songs["silent"] = fading_song(generator, duration_s=20), songs["0"][:0]
    names, span_s = comparable_songs(songs)
    assert names == list("01234")
    assert span_s == min(song["stop_s"].max() - song["start_s"].min() for song in list(songs.values())[:5])
    units, _ = session(generator, gain=1.0)
    followed = followed_songs(units, songs, to_session=np.asarray, options=options("short"))
    assert followed.shape == (6, 0)
    late = followed_songs(units, songs, to_session=lambda t: np.asarray(t) + 1000, options=options("0"))
    assert late.shape == (6, 0)


def test_sets_of_sessions_are_tested_together_and_small_ones_left_out():
    generator = np.random.default_rng(3)
    followed = {}
    for first, n_sessions in ((0, 5), (5, 6), (11, 4)):
        names = [str(first + i) for i in range(n_sessions)]
        for i, name in enumerate(names):
            gains = generator.random((2, n_sessions)) + 0.7 * (np.arange(n_sessions) == i)
            units, songs = [f"{name}|{row}" for row in range(2)], np.roll(names, i).tolist()
            followed[name] = xr.DataArray(
                gains[:, [names.index(song) for song in songs]],
                coords={"unit": units, "song": songs},
                dims=("unit", "song"),
            )
    found = session_permutation(followed, generator=generator)
    assert found.sessions == [str(i) for i in range(11)] and found.n_orders == 9999
    assert found.p <= 0.001
    silent = followed["7"].where(False)
    again = session_permutation(followed | {"7": silent}, generator=generator)
    assert "7" not in again.sessions and len(again.sessions) == 10


def test_the_gain_is_that_of_vocal_modulation():
    units, song = session(np.random.default_rng(4), gain=1.5)
    valid = units.valid.copy()
    valid[1000:1400, 3:] = False
    envelope = sounding_bins(song, to_session=np.asarray, bin_start_s=units.start_s, bin_width_s=DT)
    more = {"scale": units.mean, "lags": np.arange(-3, 4), "bin_width_s": DT}
    songs = np.column_stack([envelope, envelope[::-1]])
    gains = song_gains(songs, units.counts, valid, **more)
    one = vocal_modulation(envelope, units.counts, valid, n_surrogates=19, **more)
    np.testing.assert_allclose(gains[:, 0], one.statistic, rtol=5e-3)  # at the ends, one comes round
    assert gains.shape == (6, 2) and (gains[:, 0] > gains[:, 1]).mean() > 0.5
