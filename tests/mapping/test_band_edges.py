import numpy as np
import pytest

from pipeline.mapping.bands import (
    band_grid_hz,
    band_runs,
    bins_inside,
    edges_between,
    interval,
    overlap,
    peak_bands,
)

EDGES = 30_000 + 1000.0 * np.arange(96)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2


def gaussian(best, sd):
    return np.exp(-0.5 * ((CENTRES - best) / sd) ** 2)


@pytest.mark.parametrize("best, sd", [(60_000, 3000), (71_300, 4000), (88_000, 6000)])
def test_full_width_of_a_gaussian(best, sd):
    found = peak_bands(gaussian(best, sd)[None], CENTRES, EDGES)
    half = sd * np.sqrt(2 * np.log(2))
    assert found["peak_hz"][0] == pytest.approx(best, abs=60)
    assert found["low_hz"][0] == pytest.approx(best - half, abs=120)
    assert found["high_hz"][0] == pytest.approx(best + half, abs=120)
    assert not found["open_low"][0] and not found["open_high"][0]


def test_a_band_at_the_end_of_the_range_is_open():
    curves = np.stack([gaussian(30_500, 3000), gaussian(60_000, 3000)])
    curves[1, CENTRES > 61_000] = np.nan  # no sound above: the band ends where the data do
    found = peak_bands(curves, CENTRES, EDGES)
    assert found["open_low"].tolist() == [True, False]
    assert found["open_high"].tolist() == [False, True]
    assert found["low_hz"][0] == 30_000
    assert found["high_hz"][1] == 61_000


@pytest.mark.parametrize(
    "bands, expected", [((0, 2, 1, 3), 1 / 3), ((0, 1, 2, 3), 0.0), ((1, 2, 1, 2), 1.0), ((0, 4, 1, 2), 0.25)]
)
def test_overlap(bands, expected):
    assert overlap(*bands) == pytest.approx(expected)


def test_grids():
    linear = band_grid_hz(np.arange(3), low_hz=30_000, high_hz=125_000, width_hz=3000, linear=True)
    assert linear[0] == 30_000 and linear[-1] >= 125_000 and np.allclose(np.diff(linear), 3000)
    centres = np.geomspace(210, 20_000, 60)
    log = band_grid_hz(centres, low_hz=200, high_hz=21_000, width_hz=3000, linear=False)
    assert log[0] == 200 and log[-1] == 21_000 and len(log) <= 25 and (np.diff(log) > 0).all()


def test_bands_of_a_curve_with_several():
    curve = gaussian(50_000, 2000) + 0.8 * gaussian(70_000, 2000) + 0.3 * gaussian(90_000, 2000)
    first, second = band_runs(curve)  # the third stays below half of the first
    assert (first ^ second).all() and first[CENTRES < 55_000].all() and second[CENTRES > 65_000].all()
    found = peak_bands(curve[None], CENTRES, EDGES, within=second)
    assert found["peak_hz"][0] == pytest.approx(70_000, abs=60)
    assert found["high_hz"][0] == pytest.approx(70_000 + 2000 * np.sqrt(2 * np.log(2)), abs=120)


def test_a_curve_that_does_not_rise_has_no_band():
    """Nor one without data in the bands asked for: their first bin is no best frequency."""
    low = CENTRES < 55_000
    curves = np.stack([gaussian(50_000, 2000), np.full(len(CENTRES), np.nan), -gaussian(70_000, 2000)])
    found = peak_bands(curves, CENTRES, EDGES)
    assert np.isfinite(found["peak_hz"]).tolist() == [True, False, False] and not found["open_low"][1:].any()
    curves[0, ~low] = np.nan
    found = peak_bands(curves[:1], CENTRES, EDGES, within=~low)
    assert all(np.isnan(found[name][0]) for name in ("peak_hz", "low_hz", "high_hz", "height"))
    assert not bins_inside(CENTRES, np.nan, np.nan).any()


def test_intervals_need_half_of_the_draws():
    drawn = np.column_stack([np.arange(101.0), np.arange(101.0), np.arange(101.0)])
    drawn[:50, 1] = drawn[:51, 2] = np.nan
    ends = interval(drawn)
    np.testing.assert_allclose(ends[:, :2], [[2.5, 51.25], [97.5, 98.75]])
    assert np.isnan(ends[:, 2]).all()


def test_edges_lie_halfway_on_any_scale():
    np.testing.assert_allclose(edges_between(np.array([100.0, 200.0, 400.0])), [50, 150, 300, 500])


def test_neither_a_shoulder_nor_what_lies_behind_a_gap_is_another_band():
    shoulder = gaussian(60_000, 4000) + 0.8 * gaussian(67_000, 4000)
    assert len(band_runs(shoulder)) == 1
    gap = gaussian(60_000, 4000)
    gap[(CENTRES > 58_000) & (CENTRES < 62_000)] = np.nan
    assert len(band_runs(gap)) == 1
    assert band_runs(np.zeros(len(CENTRES))) == [] == band_runs(gaussian(60_000, 4000), top=2.5)
