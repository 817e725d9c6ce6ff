"""Controls fail where the test does, hold where it does, and trust follows from them."""

import numpy as np
import pandas as pd
import pytest
from planted_session import EDGES_HZ

from pipeline.mapping import profile, vocal
from pipeline.mapping.controls import CONTROLS, LEVELS, control_shifts, fractions, pooled_controls
from pipeline.mapping.playback_profile import profile_playback
from pipeline.mapping.tuning_file import Counts, Options

DT = 0.02
N_BINS, N_UNITS = 30_000, 40  # 10 min
OPTIONS = Options(n_surrogates=99, n_surrogates_fine=99, n_bootstrap=20, max_lag_s=0.04, seed=0, session="a")
CLIPS = {"clip_start_s": np.array([]), "clip_split": np.array([]), "edges_hz": EDGES_HZ, "options": OPTIONS}


def drifting(generator) -> Counts:
    """Unrelated units whose rates change over the session."""
    time = np.linspace(0, 1, N_BINS)[:, None]
    counts = generator.poisson(0.1 * np.exp(np.cos(np.pi * time + 2 * np.pi * generator.random(N_UNITS))))
    return Counts(counts, np.ones(counts.shape, bool), DT * np.arange(N_BINS), DT, list(map(str, range(N_UNITS))))


def habituating(generator) -> pd.DataFrame:
    """Calls that grow rare, each a bout of its own: nothing for the test of bands."""
    start_s = np.flatnonzero(generator.random(2900) < 0.4 * np.exp(-3 * np.arange(2900) / 2900)) * 0.2
    calls = pd.DataFrame({"start_s": start_s, "stop_s": start_s + 0.1, "bout": np.arange(len(start_s))})
    return calls.assign(contour_hz=[np.full(2, 6e4)] * len(calls), contour_s=[np.zeros(2)] * len(calls))


def table(tuning) -> pd.DataFrame:
    session = tuple(tuning[f"control_{name}"].values for name in ("fraction", "se", "n"))
    return pooled_controls({"a": session})


@pytest.mark.parametrize("removed", [True, False])
def test_song_that_fades_and_units_that_drift_alarm_the_controls_unless_drift_is_removed(monkeypatch, removed):
    generator = np.random.default_rng(0)
    if not removed:
        monkeypatch.setattr(vocal, "SLOWEST_S", 1e9)
    songs = {"calls": habituating(generator), "other": habituating(generator)}
    found = table(profile.profile_calls(drifting(generator), to_session=np.asarray, **songs, **CLIPS))
    assert found["control"].tolist() == list(CONTROLS) and found["level"].eq("vocal").all()
    assert (found["n"] == 5 * N_UNITS).all()
    if removed:
        assert found["fraction"].max() < 0.09 and found["trust"].eq("ok").all()
    else:
        assert found["fraction"].min() > 0.15 and found["trust"].eq("low").all()


def test_units_that_lead_by_a_shift_of_the_controls_fail_that_one_on_both_levels():
    """For sounds that are no calls; their true pairing shows nothing."""
    generator = np.random.default_rng(1)
    n_bins = N_BINS // 2
    power_db = np.repeat(generator.standard_normal((n_bins // 10, 20)), 10, axis=0)
    power_db += np.repeat(generator.standard_normal(n_bins // 10), 10)[:, None]
    shifts = control_shifts(n_bins, bin_width_s=DT)
    loud, band = power_db.mean(axis=1), power_db[:, 7] - power_db.mean(axis=1)
    rate = 0.1 * np.exp(0.5 * loud + 0.5 * band)[:, None] * np.ones(20)
    counts = generator.poisson(np.roll(rate, -shifts[2], axis=0))
    names = list(map(str, range(20)))
    units = Counts(counts, np.ones(counts.shape, bool), DT * np.arange(n_bins), DT, names)
    tuning = profile_playback(units, power_db, clip_duration_s=0.2, **CLIPS)
    found = table(tuning).set_index(["control", "level"])["fraction"]
    assert 1 / 5 <= found["neural_shifted", "vocal"] < 0.4 and 1 / 3 <= found["neural_shifted", "band"] < 0.45
    assert found["time_reversed", "band"] < 0.15
    assert (tuning[["p_vocal", "p_band"]].to_array() <= 0.05).mean() < 0.15


def test_shifts_lie_between_one_and_five_minutes_and_leave_half_of_a_short_session():
    assert (control_shifts(360_000, bin_width_s=0.01)[[0, -1]] == [6000, 30_000]).all()
    assert (control_shifts(20_000, bin_width_s=0.01)[[0, -1]] == [5000, 10_000]).all()


def test_shares_are_means_over_draws_and_untested_units_do_not_count():
    draws = [np.array([0.01, 0.5, np.nan]), np.array([0.05, 0.04, np.nan]), np.array([0.9, np.nan, np.nan])]
    share, se, n = fractions({"vocal": {"time_reversed": draws}, "band": {}})
    row, column = CONTROLS.index("time_reversed"), LEVELS.index("vocal")
    assert (share[row, column], n[row, column], n.sum()) == (0.5, 5, 5)
    assert se[row, column] == pytest.approx(np.std([0.5, 1, 0], ddof=1) / np.sqrt(3))


def trust_of(*shares, se=0.005, n=1000) -> str:
    """Trust in one control of sessions with these shares."""
    empty = np.full((len(CONTROLS), len(LEVELS)), np.nan)
    sessions = {}
    for index, share in enumerate(shares):
        arrays = empty.copy(), empty.copy(), np.zeros(empty.shape, int)
        for array, value in zip(arrays, (share, se, n), strict=True):
            array[0, 0] = value
        sessions[str(index)] = arrays
    (row,) = pooled_controls(sessions).itertuples()
    assert row.fraction == pytest.approx(np.mean(shares)) and row.n == n * len(shares)
    named = [i for i, share in enumerate(shares) if share > 0.1] if row.trust == "low" else []
    assert row.doubtful_sessions == "; ".join(map(str, named))  # wherever it is low, these fail by themselves, too
    return row.trust


@pytest.mark.parametrize(
    ("shares", "more", "trust"),
    [
        ([0.05], {}, "ok"),
        ([0.09], {}, "ok"),  # surely above nominal, not above twice
        ([0.12], {}, "low"),
        ([0.12], {"se": 0.05}, "ok"),  # draws disagree
        ([0.12], {"se": 0.0, "n": 25}, "ok"),  # draws agree by chance: 3 of 25 units
        ([0.12], {"se": np.nan}, "low"),  # a single draw
        ([0.12] * 10, {}, "low"),
        ([0.04] * 9 + [0.3], {}, "low"),  # together 6.6 %
        ([0.04] * 9 + [0.3], {"se": 0.12}, "ok"),  # one of ten is beyond 1.645 errors by chance
        ([0.3], {"se": 0.12}, "low"),
        ([0.0] * 200 + [0.12], {"se": np.nan, "n": 100}, "ok"),  # one of two hundred is, beyond 3.2 of its own
    ],
)
def test_trust_is_low_above_twice_nominal_beyond_error_together_or_in_any_one_session(shares, more, trust):
    assert trust_of(*shares, **more) == trust
