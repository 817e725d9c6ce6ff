"""Counts without files, and what must not be found in the null scenarios, by statistics of their own."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from scipy.stats import kstest
from simulated_plan import pitch_at, plan

from pipeline.errors import InputError
from pipeline.mapping.profile import profile_calls
from pipeline.mapping.tuning_file import Options
from pipeline.simulation.counts import simulate_counts
from pipeline.simulation.plan import draw_cast
from pipeline.simulation.session import simulate_session

DT = 0.01
STEADY = {"drift_sd": 0.0, "habituation": 1.0}
HUNDRED = {"units_per_band": 20, "n_vocal": 20, "n_unrelated": 20}


def simulate(**changes):
    return simulate_counts("mouse1", seed=3, plan=plan(**changes), bin_width_s=DT)


def sounding(calls, n_bins):
    return (pitch_at(calls, DT * (np.arange(n_bins) + 0.5)) > 0).astype(float)


def shift_p(sound, counts, *, detrended):
    """P value of the correlation of `sound` (n_bins,) with each unit, from circular shifts of 5 s and more."""
    counts = counts.astype(float)
    if detrended:
        sound = sound - uniform_filter1d(sound, 3000, mode="nearest")
        counts = counts - uniform_filter1d(counts, 3000, axis=0, mode="nearest")
    spectrum = np.conj(np.fft.rfft(sound - sound.mean()))[:, None] * np.fft.rfft(counts - counts.mean(axis=0), axis=0)
    correlation = np.abs(np.fft.irfft(spectrum, n=len(sound), axis=0))
    null = correlation[np.linspace(500, len(sound) - 500, 199).astype(int)]
    return (1 + (null >= correlation[1]).sum(axis=0)) / 200  # units follow the sound by 10 ms


def test_same_songs_and_units_as_in_the_files(tmp_path):
    kinds = {"units_per_band": 2, "n_vocal": 1, "n_unrelated": 1, "n_suppressed": 1, "n_multiplexed": 1}
    made = plan(duration_s=20, n_movement=1, **kinds)
    counted = simulate_counts("mouse1", seed=3, plan=made, bin_width_s=DT)
    truth = simulate_session("mouse1", "mouse1", out_dir=tmp_path, seed=3, plan=made)
    of_files = {"region", "n_spikes"}
    assert counted.units == {
        unit_id: {key: value for key, value in unit.items() if key not in of_files}
        for unit_id, unit in truth["units"].items()
    }
    assert counted.neural.unit_ids == list(truth["units"]) and counted.neural.counts.shape == (2000, 13)
    np.testing.assert_allclose(counted.calls["start_s"], [call["start_s"] for call in truth["calls"]], atol=0.003)
    assert counted.speed.values.shape == (2000, 1)


def test_a_seed_fixes_the_session():
    one, same = simulate(duration_s=20), simulate(duration_s=20)
    assert np.array_equal(one.neural.counts, same.neural.counts) and one.calls["start_s"].equals(same.calls["start_s"])
    other = simulate_counts("mouse2", seed=3, plan=plan(duration_s=20), bin_width_s=DT)
    assert not np.array_equal(one.neural.counts, other.neural.counts)


def test_bins_are_whole_milliseconds():
    with pytest.raises(InputError, match="whole milliseconds"):
        simulate_counts("mouse1", seed=0, plan=plan(duration_s=20), bin_width_s=0.0125)


def test_tests_of_tuning_take_the_session_as_it_is():
    session = simulate(duration_s=300, gain=6.0, units_per_band=4, n_vocal=8, n_unrelated=8)
    tuning = profile_calls(
        session.neural,
        session.calls,
        to_session=np.asarray,
        clip_start_s=session.calls["start_s"].to_numpy(),
        clip_split=np.where(session.calls["bout"] % 3 == 0, "test", "train"),
        edges_hz=40_000 + 3000.0 * np.arange(21),
        options=Options(
            n_surrogates=99, n_surrogates_fine=199, n_bootstrap=50, max_lag_s=0.1, seed=0, session="mouse1"
        ),
    )
    units = list(session.units.values())
    tuned = np.array([unit["kind"] == "tuned" for unit in units])
    p = tuning["p_band"].values
    assert (p[tuned] <= 0.02).mean() > 0.8 and (p[~tuned] <= 0.02).mean() < 0.2
    found = tuned & (p <= 0.02)
    error_hz = tuning["peak_hz"].values[found] - np.array([unit["best_hz"] or 0 for unit in units])[found]
    assert np.median(np.abs(error_hz)) < 2_000


def test_steady_unrelated_units_pass_a_plain_shift_test_as_often_as_chance():
    session = simulate(scenario="unrelated", **STEADY, **HUNDRED)
    sound = sounding(draw_cast("mouse1", seed=3, plan=plan(**STEADY)).calls, 60_000)
    p = shift_p(sound, session.neural.counts, detrended=False)
    assert kstest(p, "uniform").pvalue > 0.01 and (p <= 0.05).mean() < 0.11


def test_drift_and_habituation_fool_a_plain_shift_test_but_no_local_one():
    settings = {"scenario": "drift_and_habituation", "duration_s": 1200, "habituation": 6.0}
    naive, local, ratio = [], [], []
    for name in ("mouse1", "mouse2"):
        made = plan(**settings, **HUNDRED)
        counts = simulate_counts(name, seed=3, plan=made, bin_width_s=DT).neural.counts
        sound = sounding(draw_cast(name, seed=3, plan=made).calls, len(counts))
        naive.append(shift_p(sound, counts, detrended=False))
        local.append(shift_p(sound, counts, detrended=True))
        near = (uniform_filter1d(sound, 21) > 0) & (sound == 0)  # the short silences beside calls
        ratio.append(counts[sound > 0].mean() / counts[near].mean())
    assert (np.ravel(naive) <= 0.05).mean() > 0.15
    assert (np.ravel(local) <= 0.05).mean() < 0.09  # 99.5 % of a binomial with 240 draws at 5 %
    assert ratio == pytest.approx([1, 1], abs=0.02)


def test_vocal_units_care_for_calls_but_not_for_their_pitch():
    session = simulate(scenario="vocal_only", gain=3.0, **HUNDRED)
    calls = draw_cast("mouse1", seed=3, plan=plan()).calls
    vocal = np.array([unit["kind"] == "vocal" for unit in session.units.values()])
    assert vocal.sum() == 100
    counts = session.neural.counts[:, vocal]
    assert (shift_p(sounding(calls, len(counts)), counts, detrended=True) <= 0.05).mean() > 0.95
    # rates and pitches of calls, less their means over the bout; pitches swapped among the calls of a bout
    bout = np.array([call.bout for call in calls])
    pitch_hz = np.array([call.pitch_hz.mean() for call in calls])
    edges = [
        np.rint(np.array([getattr(call, edge) for call in calls]) / DT).astype(int) + 1
        for edge in ("start_s", "stop_s")
    ]
    total = np.concatenate([np.zeros((1, counts.shape[1])), np.cumsum(counts, axis=0)])
    rate = (total[edges[1]] - total[edges[0]]) / (edges[1] - edges[0])[:, None]
    mean = np.array([rate[bout == b].mean(axis=0) for b in range(bout.max() + 1)])
    generator = np.random.default_rng(0)
    swapped = [pitch_hz[np.lexsort((generator.random(len(bout)), bout))] for _ in range(199)]
    found = np.abs(np.array([pitch_hz, *swapped]) @ (rate - mean[bout]))
    p = (1 + (found[1:] >= found[0]).sum(axis=0)) / 200
    assert kstest(p, "uniform").pvalue > 0.01 and (p <= 0.05).mean() < 0.13


def test_units_of_another_session_follow_its_song_and_not_the_recorded_one():
    changes = {"scenario": "other_session", "gain": 6.0} | HUNDRED
    cast, session = draw_cast("mouse1", seed=3, plan=plan(**changes)), simulate(**changes)
    counts = session.neural.counts[:, [unit["kind"] == "other_session" for unit in session.units.values()]]
    assert counts.shape[1] == 100
    heard, recorded = (
        shift_p(sounding(calls, len(counts)), counts, detrended=True) for calls in (cast.heard_calls, cast.calls)
    )
    assert (heard <= 0.05).mean() > 0.9
    assert (recorded <= 0.05).mean() < 0.11


def test_a_second_animal_is_detected_with_the_first_and_changes_no_counts():
    alone, both = simulate(duration_s=60), simulate(duration_s=60, second_animal_db=-6.0)
    assert np.array_equal(alone.neural.counts, both.neural.counts)
    assert both.calls["duration_s"].sum() > 1.3 * alone.calls["duration_s"].sum()
