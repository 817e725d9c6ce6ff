"""Covariates are partialled out: units that only follow them are no more often found than chance, others are."""

import numpy as np
import pytest
from planted_session import DT, EDGES_HZ, fire, song
from scipy.signal import lfilter

from pipeline.covariates import Covariates
from pipeline.errors import InputError
from pipeline.mapping.profile import profile_none
from pipeline.mapping.regressors import LAGS_S, Regressors
from pipeline.mapping.responses import Nuisance, locate_calls, smoothed
from pipeline.mapping.summary import covariate_notes
from pipeline.mapping.tuning import band_p, bout_sums, gains
from pipeline.mapping.tuning_file import Counts, Options
from pipeline.mapping.units import Tunings
from pipeline.mapping.vocal import vocal_modulation

N_BINS = 30_000
N_UNITS = 60


def covariates_of(*columns, n_bins=N_BINS) -> Covariates:
    names = [f"c{i}" for i in range(len(columns))]
    values = np.column_stack(columns).astype(np.float32)
    return Covariates(names, [""] * len(names), values, DT * np.arange(n_bins), DT)


def wandering(generator, *, time_constant_s, n_bins=N_BINS):
    """A first-order process of unit variance."""
    memory = np.exp(-DT / time_constant_s)
    return lfilter([np.sqrt(1 - memory**2)], [1, -memory], generator.standard_normal(n_bins))


def locked(generator, covariate, n_units=N_UNITS):
    """Counts of units that follow a covariate 80 ms later, and nothing else."""
    rate = 6 * np.exp(0.3 * generator.standard_normal(n_units))
    noise = np.repeat(generator.gamma(2, 0.5, (len(covariate) // 10 + 1, n_units)), 10, axis=0)[: len(covariate)]
    return generator.poisson(rate * DT * np.maximum(1 + 0.5 * np.roll(covariate, 8)[:, None], 0.05) * noise)


def counts_of(counts) -> Counts:
    units = [str(unit) for unit in range(counts.shape[1])]
    return Counts(counts, np.ones(counts.shape, bool), DT * np.arange(len(counts)), DT, units)


def test_lags_are_shifts_and_gaps_are_not_known():
    values = np.arange(1000.0)
    values[400:450] = np.nan
    regressors = Regressors.of(covariates_of(values, np.sin(values), n_bins=1000), start_s=DT * np.arange(1000))
    assert regressors.design.shape == (1000, 2 * (2 * len(LAGS_S) - 1))
    assert np.flatnonzero(~regressors.known).tolist() == list(range(400, 450))
    known = values[np.isfinite(values)]
    columns = regressors.design[:, : 2 * len(LAGS_S) - 1] * known.std() + known.mean()
    lags = np.rint(np.r_[-np.array(LAGS_S[:0:-1]), LAGS_S] / DT).astype(int)
    np.testing.assert_allclose(columns[600], 600 - lags, rtol=1e-4)  # column of lag l: the value l bins before
    with pytest.raises(InputError, match="different bins"):
        Regressors.of(covariates_of(values, n_bins=1000), start_s=5 + DT * np.arange(1000))


def test_removal_is_one_regression_on_cosines_and_covariates():
    generator = np.random.default_rng(1)
    n = 3000
    covariate = wandering(generator, time_constant_s=0.3, n_bins=n)
    values = generator.poisson(2.0, (n, 3)) + covariate[:, None]
    valid = np.ones((n, 3), bool)
    valid[500:900, :2] = False
    regressors = Regressors.of(covariates_of(covariate, n_bins=n), start_s=DT * np.arange(n))
    left = regressors.removed(values, valid, bin_width_s=DT, shortest_period_s=6.0)
    cosines = np.cos(np.pi * (np.arange(n)[:, None] + 0.5) / n * np.arange(2 * n // 600 + 1))
    design = np.hstack([cosines, regressors.design])
    for column in range(3):
        rows = valid[:, column]
        fit = design[rows] @ np.linalg.lstsq(design[rows], values[rows, column], rcond=None)[0]
        np.testing.assert_allclose(left[rows, column], values[rows, column] - fit, atol=1e-5)
    assert not left[~valid].any()


def test_bouts_cells_level_and_covariates_are_removed_together(planted):
    n_bins = len(planted.counts)
    calls = locate_calls(planted.calls, to_session=np.asarray, bin_start_s=planted.bin_start_s, bin_width_s=DT)
    generator = np.random.default_rng(2)
    design = np.column_stack([wandering(generator, time_constant_s=t, n_bins=n_bins) for t in (0.1, 0.5)])[calls.bin]
    values = planted.counts[calls.bin][:, :4].astype(float)
    nuisance = Nuisance(calls)
    left = nuisance.remove(values, np.ones(values.shape, bool), design)
    groups = [np.eye(group.max() + 1)[group] for group in nuisance.groups]
    whole = np.hstack([*groups, nuisance.level, design])
    expected = values - whole @ np.linalg.lstsq(whole, values, rcond=None)[0]
    np.testing.assert_allclose(left, expected, atol=0.02)
    assert np.abs(left.T @ design).max() < 0.02 * np.abs(values.T @ design).max()


@pytest.fixture(scope="module")
def moving():
    """An envelope of bouts, speed that goes with it, units that follow speed alone, and units that follow both."""
    generator = np.random.default_rng(3)
    in_bout = np.repeat(generator.random(N_BINS // 500) < 0.3, 500)
    envelope = (in_bout & np.repeat(generator.random(N_BINS // 10) < 0.5, 10)).astype(float)
    speed = 0.8 * wandering(generator, time_constant_s=2.0) + 0.6 * (in_bout - in_bout.mean()) / in_bout.std()
    vocal = generator.poisson(0.05 * (1 + 2 * np.roll(envelope, 3)[:, None]) * np.ones(8))
    return envelope, speed, locked(generator, speed), vocal


def modulation(envelope, units):
    return vocal_modulation(
        envelope,
        units.counts,
        units.valid,
        scale=units.mean,
        lags=np.arange(-15, 16, 3),
        bin_width_s=DT,
        n_surrogates=199,
        regressors=units.regressors,
    )


def test_units_that_follow_movement_are_vocal_only_where_it_is_not_given(moving):
    envelope, speed, counts, vocal = moving
    units = counts_of(np.hstack([counts, vocal]))
    bare, given = modulation(envelope, units), modulation(envelope, units.beside(covariates_of(speed)))
    assert (bare.p[:N_UNITS] <= 0.05).mean() > 0.5  # the trap is real
    assert (given.p[:N_UNITS] <= 0.05).mean() <= 0.134  # 99.5 % of a binomial with 60 draws at 5 %
    assert (given.p[N_UNITS:] <= 0.01).all() and (np.abs(given.lag[N_UNITS:] - 6) <= 1).all()


def test_an_unrelated_covariate_costs_no_power(moving):
    envelope, speed, _, vocal = moving
    weak = np.random.default_rng(4).poisson(0.05 * (1 + 0.2 * envelope[:, None]) * np.ones(40))
    units = counts_of(np.hstack([vocal, weak]))
    bare, beside = modulation(envelope, units), modulation(envelope, units.beside(covariates_of(speed[::-1])))
    assert (bare.p[:8] == bare.p_floor).all() and (beside.p[:8] == beside.p_floor).all()
    assert 0.3 < (bare.p[8:] <= 0.05).mean() < 0.99
    assert abs((bare.p[8:] <= 0.05).mean() - (beside.p[8:] <= 0.05).mean()) <= 0.1
    np.testing.assert_allclose(beside.statistic, bare.statistic, rtol=0.3)


def test_where_a_covariate_is_not_known_nothing_counts(moving):
    envelope, speed, counts, _ = moving
    half, wild = speed.copy(), counts.copy()
    half[:15_000] = np.nan
    wild[:15_000] += (100 * envelope[:15_000, None]).astype(int)
    known = counts_of(counts).beside(covariates_of(half))
    assert not known.valid[:15_000].any() and known.valid[15_000:].all()
    np.testing.assert_array_equal(
        modulation(envelope, known).p, modulation(envelope, counts_of(wild).beside(covariates_of(half))).p
    )


@pytest.fixture(scope="module")
def turning():
    """Calls whose pitch goes with a covariate, units that follow the covariate alone, and tuned units."""
    generator = np.random.default_rng(6)
    calls = song(generator, DT * N_BINS)
    turn = wandering(generator, time_constant_s=0.7)
    middle = ((calls["start_s"] + calls["stop_s"]) / 2 / DT).astype(int).to_numpy()
    calls["contour_hz"] = [
        np.clip(hz + 7000 * turn[at], 42_000, 99_000) for hz, at in zip(calls["contour_hz"], middle, strict=True)
    ]
    tuned, kind = fire(calls, generator, duration_s=DT * N_BINS, n_units=5, gain=5.0)
    return calls, turn, locked(generator, turn), tuned[:, kind < 2]


def p_of_bands(calls, units):
    bins = locate_calls(calls, to_session=np.asarray, bin_start_s=units.start_s, bin_width_s=DT)
    return band_p(
        bins,
        *smoothed(units.counts, units.valid, sd_bins=2.0),
        nuisance=Nuisance(bins),
        edges_hz=EDGES_HZ,
        lags=np.arange(-10, 11, 5),
        bin_width_s=DT,
        n_surrogates=99,
        generator=np.random.default_rng(0),
        regressors=units.regressors.design if units.regressors else None,
    )


def test_pitch_that_goes_with_movement_is_no_tuning_where_movement_is_given(turning):
    calls, turn, follow, tuned = turning
    units = counts_of(np.hstack([follow, tuned]))
    bare, given = p_of_bands(calls, units), p_of_bands(calls, units.beside(covariates_of(turn)))
    assert (bare[:N_UNITS] <= 0.05).mean() > 0.5  # the trap is real
    assert (given[:N_UNITS] <= 0.05).mean() <= 0.134
    assert (given[N_UNITS:] <= 0.05).mean() >= 0.9


def test_curves_are_least_squares_with_the_covariates_among_the_regressors(turning):
    calls, turn, _, tuned = turning
    bins = locate_calls(calls, to_session=np.asarray, bin_start_s=DT * np.arange(N_BINS), bin_width_s=DT)
    nuisance, design = Nuisance(bins), np.column_stack([turn, np.roll(turn, 30)])
    sums = bout_sums(
        bins,
        tuned,
        np.ones(tuned.shape, bool),
        nuisance=nuisance,
        edges_hz=EDGES_HZ,
        lag=np.zeros(10, int),
        regressors=design,
    )
    band = np.searchsorted(EDGES_HZ, bins.contour_hz[bins.call, bins.position], side="right") - 1
    groups = [np.eye(group.max() + 1)[group] for group in nuisance.groups]
    whole = np.hstack([np.eye(21)[band], *groups, nuisance.level, design[bins.bin]])
    expected = np.linalg.lstsq(whole, tuned[bins.bin].astype(float), rcond=None)[0][:20]
    tested = np.bincount(band, minlength=21)[:20] * DT >= 1.0
    expected = expected[tested] - np.median(expected[tested], axis=0)
    found = gains(sums[0].sum(0), sums[1].sum(0), np.ones(10), tested=tested, ridge_bins=0.1)
    assert np.abs(found[:, tested].T - expected).max() < 0.05 * np.abs(expected).max()


def test_the_file_names_what_was_removed(moving):
    units = counts_of(moving[2][:, :2])
    options = Options(19, 19, 50, 0.15, 0, "s1")
    bare, given = (
        profile_none(one, edges_hz=EDGES_HZ, options=options) for one in (units, units.beside(covariates_of(moving[1])))
    )
    assert (bare.attrs["covariates"], given.attrs["covariates"]) == ("", "c0")
    assert all("covariates removed: c0" in given.attrs[null] for null in ("null_vocal", "null_band"))
    assert covariate_notes(Tunings({"s1": bare}).covariates) == []
    (note,) = covariate_notes(Tunings({"s1": bare, "s2": given}).covariates)
    assert "c0 (s2: known 100% of the time)" in note
