"""Vocal modulation (level 1): does a unit fire differently while there is sound, at any lag?"""

from dataclasses import dataclass

import numpy as np

from pipeline.mapping.nulls import (
    correlations_at_shifts,
    maximum_over_lags,
    same_gaps,
    shift_candidates,
    slow_cosines,
    without_drift,
)

SLOWEST_S = 60.0  # slower than this is drift: a habituating song and drifting units would pass for a link
SHORTEST_SHIFT_S = 5.0


@dataclass
class Modulation:
    """Per unit, shape (n_units,): p, p_floor, statistic (deviance gain, nats), lag (index).

    `controls`: for each control, p values (n_draws, n_units) that should be uniform.
    """

    p: np.ndarray
    p_floor: float
    statistic: np.ndarray
    lag: np.ndarray
    controls: dict[str, np.ndarray]


def vocal_modulation(
    envelope: np.ndarray,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    scale: np.ndarray,
    lags: np.ndarray,
    bin_width_s: float,
    n_surrogates: int,
    control_shifts: np.ndarray,
) -> Modulation:
    """Deviance that the sound's `envelope` (n_bins,) explains in `counts` (n_bins, n_units) beyond slow drift.

    The gain is that of one step of a Poisson regression from the mean rate, (sum e n)^2 / (2 rate sum e^2), with the
    mean counts as `scale` (n_units,); of traces in SDs, with a scale of 1, it is that of a linear regression. With
    cosines of period >= 60 s removed from both sides; its maximum over `lags` (bins; positive: neurons follow) is
    compared with that at circular shifts of at least 5 s, which keep both sides' autocorrelation.
    `control_shifts` (bins): the counts, as they are and reversed in time, are shifted by as much before the test.
    """
    n_bins = len(envelope)
    cosines = slow_cosines(n_bins, bin_width_s=bin_width_s, shortest_period_s=SLOWEST_S)
    sounding = without_drift(envelope[:, None].astype(float), np.ones((n_bins, 1), bool), cosines)[:, 0]
    firing = without_drift(counts.astype(float), valid, cosines)
    margin = int(lags.max(initial=0)) + 1
    shortest = int(min(SHORTEST_SHIFT_S / bin_width_s, n_bins / 4)) + margin
    shifts = shift_candidates(n_bins, shortest=shortest, n_shifts=n_surrogates)

    def deviances(series, observed):
        """Gain at every circular shift, shape (n_bins, n_units)."""
        power = np.empty(series.shape)
        for covered, units in same_gaps(observed):  # sum of e^2 over the bins that are observed at each shift
            overlap = correlations_at_shifts(sounding**2, covered[:, None].astype(float))
            power[:, units] = np.maximum(overlap, 0.1 * (sounding**2).sum() + 1e-12)
        return correlations_at_shifts(sounding, series) ** 2 / (2 * np.maximum(scale, 1e-9) * power)

    def test(gain, at):
        return _ranks(maximum_over_lags(gain, shifts, lags), maximum_over_lags(gain, at, lags))

    gain = deviances(firing, valid)
    p = test(gain, np.append(0, control_shifts % n_bins))
    reversed_p = test(deviances(firing[::-1], valid[::-1]), control_shifts % n_bins)
    silent = (scale == 0) | (len(shifts) < 19) | (sounding.std() == 0)
    at_lags = gain[lags % n_bins]  # (n_lags, n_units)
    return Modulation(
        p=np.where(silent, np.nan, p[0]),
        p_floor=1 / (1 + len(shifts)),
        statistic=np.where(silent, np.nan, at_lags.max(axis=0)),
        lag=at_lags.argmax(axis=0),
        controls={"neural_shifted": p[1:][:, ~silent], "time_reversed": reversed_p[:, ~silent]},
    )


def _ranks(null: np.ndarray, statistics: np.ndarray) -> np.ndarray:
    """(1 + #{null >= statistic}) / (1 + B) for `null` (B, n_units) and `statistics` (n_statistics, n_units)."""
    return (1 + (null[:, None] >= statistics).sum(axis=0)) / (1 + len(null))
