from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kstest
from simulated_plan import plan

from pipeline.simulation.neurons import CLUSTERS, Band, Unit, planted_bands
from pipeline.simulation.plan import draw_cast
from pipeline.simulation.truth import bands_truth

COUNTS = {"units_per_band": 5, "n_vocal": 4, "n_unrelated": 6}
ALL_KINDS = COUNTS | {"n_multiplexed": 6, "n_suppressed": 4, "n_movement": 3}


def units_of(seed=2, **changes):
    return draw_cast("mouse1", seed=seed, plan=plan(duration_s=20, **changes)).units


def kinds(units):
    return {kind: sum(unit.kind == kind for unit in units) for kind in sorted({unit.kind for unit in units})}


def test_drive_is_gain_at_best_and_half_at_the_edges():
    pitch_hz = np.array([65_000.0, 60_000.0, 70_000.0, 110_000.0])
    band, other = Band(60_000, 70_000, 0.0), Band(105_000, 115_000, 0.0)
    assert Unit("tuned", 4.0, gain=5.0, cluster=0, bands=(band,)).drive(pitch_hz) == pytest.approx(
        [5, 3, 3, 1], abs=1e-3
    )
    assert Unit("multiplexed", 4.0, gain=5.0, bands=(band, other)).drive(pitch_hz) == pytest.approx(
        [5, 3, 3, 5], abs=1e-3
    )
    assert Unit("suppressed", 4.0, gain=0.2, bands=(band,)).drive(pitch_hz) == pytest.approx(
        [0.2, 0.6, 0.6, 1], abs=1e-3
    )
    assert np.all(Unit("vocal", 4.0, gain=5.0).drive(pitch_hz) == 5)


def test_rates_are_log_normal_with_median_4_hz():
    rates_hz = np.array([unit.baseline_hz for unit in units_of(units_per_band=50, n_vocal=50, n_unrelated=50)])
    assert np.median(rates_hz) == pytest.approx(4.0, rel=0.05)
    assert kstest(np.log(rates_hz), "norm", args=(np.log(4), 0.5)).pvalue > 0.05


def test_units_of_a_cluster_share_band_and_lag():
    units = units_of(**COUNTS)
    assert kinds(units) == {"tuned": 20, "vocal": 4, "unrelated": 6}
    for cluster, band in enumerate(CLUSTERS):
        members = [unit for unit in units if unit.cluster == cluster]
        assert len(members) == 5
        assert np.mean([u.bands[0].best_hz for u in members]) == pytest.approx(band.best_hz, abs=1_000)
        assert np.mean([u.lag_s for u in members]) == pytest.approx(band.lag_s, abs=0.004)


def test_continuum_spreads_best_frequencies_evenly_and_is_one_cluster():
    changes = {"tuning": "continuum", "units_per_band": 30, "n_vocal": 0, "n_unrelated": 0}
    units = units_of(**changes)
    (band,) = bands_truth(plan(**changes))
    share = [(u.bands[0].best_hz - band["low_hz"]) / (band["high_hz"] - band["low_hz"]) for u in units]
    assert kstest(share, "uniform").pvalue > 0.5
    assert {u.cluster for u in units} == {0}


def test_wide_bands_overlap_and_keep_their_places():
    wide = planted_bands(scenario="planted", tuning="bands", band_width=1.5, gain=2.0)
    for planted, standard in zip(wide, CLUSTERS, strict=True):
        assert planted.best_hz == standard.best_hz
        assert planted.high_hz - planted.low_hz == pytest.approx(1.5 * (standard.high_hz - standard.low_hz))
    assert all(low.high_hz > high.low_hz for low, high in pairwise(wide))
    narrow, broad = units_of(**COUNTS), units_of(band_width=1.5, **COUNTS)
    for one, other in zip(narrow, broad, strict=True):
        assert [b.best_hz for b in one.bands] == pytest.approx([b.best_hz for b in other.bands])
        assert [1.5 * (b.high_hz - b.low_hz) for b in one.bands] == pytest.approx(
            [b.high_hz - b.low_hz for b in other.bands]
        )


def test_units_of_other_kinds_leave_the_first_as_they_are():
    few, many = units_of(**COUNTS), units_of(**ALL_KINDS)
    assert many[: len(few)] == few
    assert kinds(many[len(few) :]) == {"movement": 3, "multiplexed": 6, "suppressed": 4}
    suppressed = [u for u in many if u.kind == "suppressed"]
    assert {u.gain for u in suppressed} == {1 / 4} and {u.cluster for u in suppressed} == {-1}
    for unit, band in zip(suppressed, CLUSTERS, strict=True):
        assert unit.bands[0].best_hz == pytest.approx(band.best_hz, abs=2_000)
    pairs = {tuple(round(b.best_hz / 1e4) for b in u.bands) for u in many if u.kind == "multiplexed"}
    assert len(pairs) == 6 and all(low < high for low, high in pairs)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"gain": 1.0}, {"unrelated": 43}),
        ({"scenario": "unrelated"}, {"unrelated": 40, "movement": 3}),
        ({"scenario": "drift_and_habituation"}, {"unrelated": 40, "movement": 3}),
        ({"scenario": "vocal_only"}, {"vocal": 34, "unrelated": 6, "movement": 3}),
    ],
)
def test_null_scenarios_leave_no_band_to_find(changes, expected):
    units = units_of(**(ALL_KINDS | changes))
    assert bands_truth(plan(**changes)) == []
    assert kinds(units) == dict(sorted(expected.items()))
    assert not any(unit.bands for unit in units) and {unit.cluster for unit in units} == {-1}
    assert [unit.baseline_hz for unit in units] == [unit.baseline_hz for unit in units_of(**ALL_KINDS)]
    trends = np.array([unit.trend for unit in units])
    if changes.get("scenario") == "drift_and_habituation":
        assert trends.std() == pytest.approx(1, rel=0.3) and abs(trends.mean()) < 0.4
    else:
        assert not trends.any()


def test_units_of_another_session_follow_another_song():
    own = draw_cast("mouse1", seed=2, plan=plan(duration_s=60))
    other = draw_cast("mouse1", seed=2, plan=plan(duration_s=60, scenario="other_session"))
    assert own.heard_calls is own.calls and other.units == own.units
    starts = [[call.start_s for call in calls] for calls in (own.calls, other.calls, other.heard_calls)]
    assert starts[0] == starts[1] != starts[2]
    assert bands_truth(plan(scenario="other_session")) == []
