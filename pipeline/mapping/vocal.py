"""Vocal modulation (level 1): does a unit fire differently while there is sound, at any lag?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import fft

from pipeline.mapping.nulls import (
    correlations_at_shifts,
    maximum_over_lags,
    permutation_p,
    products_at_lags,
    same_gaps,
    shift_candidates,
    without_drift,
)
from pipeline.mapping.regressors import Regressors, apart

SLOWEST_S = 60.0  # slower than this is drift: a habituating song and drifting units would pass for a link
SHORTEST_SHIFT_S = 5.0
LEAST_RATE = 0.1  # of the mean; a straight line on covariates may predict less than nothing
UNITS_AT_ONCE = 16  # bounds memory: a dozen arrays of n_bins x UNITS_AT_ONCE x 8 bytes


@dataclass
class Modulation:
    """Per unit, shape (n_units,): p, p_floor, statistic (deviance gain, nats), lag (index)."""

    p: np.ndarray
    p_floor: float
    statistic: np.ndarray
    lag: np.ndarray


def vocal_modulation(
    envelope: np.ndarray,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    scale: np.ndarray,
    lags: np.ndarray,
    bin_width_s: float,
    n_surrogates: int,
    regressors: Regressors | None = None,
    counted: bool = True,
) -> Modulation:
    """Deviance that the sound's `envelope` (n_bins,) explains in `counts` (n_bins, n_units) beyond slow drift.

    The gain is that of one step of a Poisson regression from the mean rate, (sum e n)^2 / (2 rate sum e^2), with the
    mean counts as `scale` (n_units,); of traces in SDs, with a scale of 1, it is that of a linear regression. With
    cosines of period >= 60 s removed from both sides; its maximum over `lags` (bins; positive: neurons follow) is
    compared with that at circular shifts of at least 5 s, which keep both sides' autocorrelation.

    Covariates among the `regressors` (known in all valid bins) are removed from both sides, with the drift. What is
    left of the envelope is largest where they say that there may be sound, and of spikes where they say that there may
    be many; so the rate is then the one that drift and covariates predict, bin by bin, if `counted` (not for traces).
    """
    n_bins = fft.next_fast_len(len(envelope), real=True)  # the bins beyond the end are missing
    sounding = _sound_side(envelope[:, None], bin_width_s=bin_width_s, regressors=regressors)
    sounding = _longer(sounding, n_bins)[:, 0]
    loud = sounding**2
    margin = int(lags.max(initial=0)) + 1
    shortest = int(min(SHORTEST_SHIFT_S / bin_width_s, n_bins / 4)) + margin
    shifts = shift_candidates(n_bins, shortest=shortest, n_shifts=n_surrogates)
    n_units = counts.shape[1]
    p, statistic, best = np.empty(n_units), np.empty(n_units), np.empty(n_units, int)
    sides = _neural_sides(counts, valid, scale=scale, bin_width_s=bin_width_s, regressors=regressors, counted=counted)
    for units, firing, weights in sides:
        # sum of e^2 over the bins observed at each shift, in which the rate may be more or less than its mean
        overlap = correlations_at_shifts(loud, _longer(weights, n_bins))
        power = 2 * np.maximum(scale[units], 1e-9) * np.maximum(overlap, 0.1 * loud.sum() + 1e-12)
        gain = correlations_at_shifts(sounding, _longer(firing, n_bins))  # at every circular shift
        gain = np.divide(np.square(gain, out=gain), power, out=gain)
        at_lags = gain[lags % n_bins]  # (n_lags, n_units)
        statistic[units], best[units] = at_lags.max(axis=0), at_lags.argmax(axis=0)
        p[units] = permutation_p(statistic[units], maximum_over_lags(gain, shifts, lags))
    silent = (scale == 0) | (len(shifts) < 19) | (sounding.std() == 0)
    return Modulation(
        p=np.where(silent, np.nan, p),
        p_floor=1 / (1 + len(shifts)),
        statistic=np.where(silent, np.nan, statistic),
        lag=best,
    )


def song_gains(
    envelopes: np.ndarray,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    scale: np.ndarray,
    lags: np.ndarray,
    bin_width_s: float,
    regressors: Regressors | None = None,
    counted: bool = True,
) -> np.ndarray:
    """The statistic of `vocal_modulation` for each of several `envelopes` (n_bins, n_songs), (n_units, n_songs).

    At the lags alone and without surrogates; beyond the ends of the bins nothing sounds. NaN for silent units.
    """
    sounding = _sound_side(envelopes, bin_width_s=bin_width_s, regressors=regressors)
    loud = sounding**2
    gains = np.empty((counts.shape[1], envelopes.shape[1]))
    sides = _neural_sides(counts, valid, scale=scale, bin_width_s=bin_width_s, regressors=regressors, counted=counted)
    for units, firing, weights in sides:
        overlap = np.maximum(products_at_lags(loud, weights, lags), 0.1 * loud.sum(axis=0)[:, None] + 1e-12)
        gain = products_at_lags(sounding, firing, lags) ** 2 / (2 * np.maximum(scale[units], 1e-9) * overlap)
        gains[units] = gain.max(axis=0).T
    return np.where((scale > 0)[:, None], gains, np.nan)


def sounding_bins(calls: pd.DataFrame, *, to_session, bin_start_s: np.ndarray, bin_width_s: float) -> np.ndarray:
    """1 in each bin (n_bins,) in which any of the `calls` sounds, else 0; `to_session` maps their clock's seconds."""
    begun_less_ended = np.zeros(len(bin_start_s) + 1, int)
    for column, change in (("start_s", 1), ("stop_s", -1)):
        at = np.round((np.asarray(to_session(calls[column])) - bin_start_s[0]) / bin_width_s).astype(int)
        np.add.at(begun_less_ended, np.clip(at, 0, len(bin_start_s)), change)
    return (np.cumsum(begun_less_ended[:-1]) > 0).astype(float)


def _sound_side(envelopes: np.ndarray, *, bin_width_s: float, regressors: Regressors | None) -> np.ndarray:
    """`envelopes` (n_bins, n_songs) without drift and covariates."""
    drift = {"bin_width_s": bin_width_s, "shortest_period_s": SLOWEST_S}
    known = regressors.known if regressors else np.ones(len(envelopes), bool)
    sounding = without_drift(envelopes, known[:, None], **drift)
    return apart(sounding, regressors.basis(known, **drift)) if regressors else sounding


def _neural_sides(
    counts, valid, *, scale, bin_width_s: float, regressors: Regressors | None, counted: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A few units at a time: their indices, counts without drift and covariates (n_bins, n), and the expected rate
    relative to their mean, 0 where invalid, (n_bins, n) or (n_bins, 1)."""
    drift = {"bin_width_s": bin_width_s, "shortest_period_s": SLOWEST_S}
    for observed, alike in same_gaps(valid):
        basis = regressors.basis(observed, **drift) if regressors else None
        for units in np.split(alike, range(UNITS_AT_ONCE, len(alike), UNITS_AT_ONCE)):
            firing = without_drift(counts[:, units], observed[:, None], **drift)
            weights = observed[:, None].astype(float)
            if basis is not None:
                firing = apart(firing, basis)
                if counted:
                    predicted = (counts[:, units] - firing) / np.maximum(scale[units], 1e-9)
                    weights = weights * np.maximum(predicted, LEAST_RATE)
            yield units, firing, weights


def _longer(series: np.ndarray, n_bins: int) -> np.ndarray:
    """`series` (n, n_series) with zeros after it up to `n_bins`, series by series in memory."""
    longer = np.zeros((series.shape[1], n_bins))
    longer[:, : len(series)] = series.T
    return longer.T
