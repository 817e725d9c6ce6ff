import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest

from pipeline.mapping.nulls import (
    correlations_at_shifts,
    linear_shift_p,
    orders_within,
    permutation_p,
    q_values,
    same_gaps,
    without_drift,
)
from pipeline.mapping.vocal import vocal_modulation

DT = 0.01


def test_q_values_are_those_of_scipy_and_skip_untested_rows():
    p = np.array([0.001, np.nan, 0.04, 0.03, 0.5, np.nan])
    tested = np.isfinite(p)
    np.testing.assert_allclose(q_values(p)[tested], false_discovery_control(p[tested]))
    assert np.isnan(q_values(p)[~tested]).all()
    assert np.isnan(q_values(np.full(3, np.nan))).all()


def test_a_permutation_p_is_never_zero_and_counts_ties():
    surrogates = np.array([[1.0, 2.0], [3.0, 2.0], [0.0, 2.0]])
    np.testing.assert_allclose(permutation_p(np.array([9.0, 2.0]), surrogates), [1 / 4, 1.0])


def test_linear_shift_counts_both_sides():
    statistics = np.array([[1.0], [0.0], [5.0], [6.0], [0.0]])  # N = 2; two of five reach the middle one
    np.testing.assert_allclose(linear_shift_p(statistics, 2), [2 / 3])


def test_contours_stay_in_their_bout():
    bouts = np.repeat([0, 1, 2], [4, 2, 6])
    orders = orders_within(bouts, 200, np.random.default_rng(0))
    assert (bouts[orders] == bouts).all()
    assert (np.sort(orders, axis=1) == np.arange(12)).all()
    np.testing.assert_allclose((orders[:, :4] == np.arange(4)).mean(), 0.25, atol=0.05)


def test_shifts_against_the_definition():
    generator = np.random.default_rng(1)
    sound, response = generator.random(30), generator.random((30, 2))
    found = correlations_at_shifts(sound, response)
    for shift in (0, 1, 29):
        np.testing.assert_allclose(found[shift], sound @ np.roll(response, -shift, axis=0), atol=1e-10)


def test_drift_goes_and_fast_signals_stay():
    time_s = DT * np.arange(30_000)
    slow, fast = np.cos(2 * np.pi * time_s / 150), np.cos(2 * np.pi * time_s / 7)
    valid = np.ones((len(time_s), 1), bool)
    valid[5000:6000] = False
    left = without_drift((slow + fast)[:, None], valid, bin_width_s=DT, shortest_period_s=60.0)[:, 0]
    assert np.all(left[5000:6000] == 0)
    assert np.abs(left - fast)[valid[:, 0]].max() < 0.15


@pytest.mark.parametrize("n_bins", [3000, 2999])
def test_drift_is_a_least_squares_fit_of_cosines_over_valid_bins(n_bins):
    generator = np.random.default_rng(6)
    values, valid = generator.poisson(2.0, (n_bins, 3)), np.ones((n_bins, 3), bool)
    valid[400:900, :2] = False
    values[400:900, :2] = 1000
    phase = np.pi * (np.arange(n_bins) + 0.5) / 3000  # 2999 bins are fitted as 3000 of which the last is missing
    cosines = np.cos(phase[:, None] * np.arange(n_bins // 300 + 1))  # cosine k: 6000 bins of 10 ms over k
    left = without_drift(values, valid, bin_width_s=DT, shortest_period_s=6.0)
    for column in range(3):
        rows = valid[:, column]
        fit = cosines[rows] @ np.linalg.lstsq(cosines[rows], values[rows, column], rcond=None)[0]
        np.testing.assert_allclose(left[rows, column], values[rows, column] - fit, atol=1e-6)
    assert not left[~valid].any()


def test_series_with_equal_gaps_go_together():
    valid = np.ones((21, 5), bool)
    valid[3:5, [0, 2]] = False
    valid[20, 4] = False
    found = same_gaps(valid)
    assert sorted(columns.tolist() for _, columns in found) == [[0, 2], [1, 3], [4]]
    assert all((valid[:, columns] == rows[:, None]).all() for rows, columns in found)


@pytest.mark.parametrize("n_bins", [16_384, 16_381])  # a prime is filled up with missing bins
def test_an_envelope_that_fades_and_units_that_drift_are_no_link(n_bins):
    """The trap: both sides change slowly over the session. A bare circular shift finds links everywhere."""
    generator = np.random.default_rng(2)
    n_units = 120
    time = np.linspace(0, 1, n_bins)
    envelope = (np.repeat(generator.random(256), 64)[:n_bins] < 0.4 * np.exp(-2 * time)).astype(float)
    drift = np.exp(1.0 * np.cos(np.pi * time[:, None] + 2 * np.pi * generator.random(n_units)))
    counts = generator.poisson(0.08 * drift)
    valid = np.ones(counts.shape, bool)
    lags = np.arange(-5, 6)
    found = vocal_modulation(
        envelope,
        counts,
        valid,
        scale=counts.mean(axis=0),
        lags=lags,
        bin_width_s=DT,
        n_surrogates=199,
    )
    assert found.p.min() > 0
    assert (found.p <= 0.05).mean() < 0.12  # 99.5 % of a binomial with 120 draws at 5 %
    assert kstest(found.p, "uniform").pvalue > 0.01
    bare = correlations_at_shifts(envelope - envelope.mean(), counts - counts.mean(axis=0)) ** 2
    naive = permutation_p(bare[0], bare[500:-500:100])
    assert (naive <= 0.05).mean() > 0.2  # the trap is real


def test_units_that_fire_to_calls_are_found_with_their_lag():
    generator = np.random.default_rng(3)
    envelope = np.repeat(generator.random(600) < 0.2, 50).astype(float)
    counts = generator.poisson(0.05 * (1 + 2 * np.roll(envelope, 4)[:, None]) * np.ones(8))
    counts[:, -1] = 0
    found = vocal_modulation(
        envelope,
        counts,
        np.ones(counts.shape, bool),
        scale=counts.mean(axis=0),
        lags=np.arange(-15, 16),
        bin_width_s=DT,
        n_surrogates=999,
    )
    assert (found.p[:-1] == found.p_floor).all()
    assert np.isnan(found.p[-1])  # a silent unit was not tested
    assert np.abs(np.arange(-15, 16)[found.lag[:-1]] - 4).max() <= 1
    assert found.statistic[:-1].min() == pytest.approx(found.statistic[:-1].max(), rel=0.5)
