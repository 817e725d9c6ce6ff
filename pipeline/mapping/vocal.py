"""Vocal modulation (level 1): does a unit fire differently while there is sound, at any lag?"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from pipeline.mapping.nulls import (
    correlations_at_shifts,
    maximum_over_lags,
    permutation_p,
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
    drift = {"bin_width_s": bin_width_s, "shortest_period_s": SLOWEST_S}
    known = regressors.known if regressors else np.ones(len(envelope), bool)
    sounding = without_drift(envelope[:, None], known[:, None], **drift)
    if regressors:
        sounding = apart(sounding, regressors.basis(known, **drift))
    sounding = _longer(sounding, n_bins)[:, 0]
    loud = sounding**2
    margin = int(lags.max(initial=0)) + 1
    shortest = int(min(SHORTEST_SHIFT_S / bin_width_s, n_bins / 4)) + margin
    shifts = shift_candidates(n_bins, shortest=shortest, n_shifts=n_surrogates)
    n_units = counts.shape[1]
    p, statistic, best = np.empty(n_units), np.empty(n_units), np.empty(n_units, int)
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


def _longer(series: np.ndarray, n_bins: int) -> np.ndarray:
    """`series` (n, n_series) with zeros after it up to `n_bins`, series by series in memory."""
    longer = np.zeros((series.shape[1], n_bins))
    longer[:, : len(series)] = series.T
    return longer.T
