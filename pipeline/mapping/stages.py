"""The two stages of a band test: few surrogates for every unit, many for those that pass them."""

from dataclasses import dataclass

import numpy as np

from pipeline.mapping.band_sums import ORDERS_AT_ONCE, BandSums
from pipeline.mapping.nulls import permutation_p

LARGEST_Z = 1e4  # within float16: a band that the first stage's surrogates never fill has hardly any SD


@dataclass
class FirstStage:
    """p, statistic (n_units,); mean and sd of the surrogates (n_windows tested, n_lags, n_units), by which `tested`
    (n_windows,) scores are compared."""

    p: np.ndarray
    statistic: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    tested: np.ndarray


def first_stage(observed: np.ndarray, drawn: np.ndarray, tested: np.ndarray) -> FirstStage:
    """Test `observed` (n_windows, n_lags, n_units) against `drawn` (n_surrogates, n_windows, n_lags, n_units), both in
    SDs of the latter: the maximum over lags and the windows that are `tested` (n_windows,). p is NaN
    where no window is, and of units without any response in them."""
    n_surrogates = len(drawn)
    mean, sd = (values[tested] for values in mean_and_sd(drawn))
    null = np.empty((n_surrogates, observed.shape[-1]), np.float32)
    for largest, scores in zip(null, drawn, strict=True):
        # leave-one-out: x - mean of the others and their sd follow from the pooled ones
        deviation = (scores[tested] - mean) * (n_surrogates / (n_surrogates - 1))
        spread = (n_surrogates - 1) * sd**2 - deviation**2 * (n_surrogates - 1) / n_surrogates
        largest[:] = _best(deviation / np.sqrt(np.maximum(spread / (n_surrogates - 2), 1e-18)))
    statistic = _best((observed[tested] - mean) / sd)
    p = np.where((observed[tested] != 0).any(axis=(0, 1)), permutation_p(statistic, null), np.nan)
    return FirstStage(p, statistic, mean, sd, tested)


def mean_and_sd(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over surrogates (first axis)."""
    return drawn.mean(axis=0), np.maximum(drawn.std(axis=0, ddof=1), 1e-9)


def fine_stage_p(sums, bands, response, first: FirstStage, units: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """p of these `units` (indices) by fresh surrogates; `response` (n_lags, n, len(units)) is theirs."""
    mean, sd, statistic = first.mean[..., units], first.sd[..., units], first.statistic[units]
    reaching = np.zeros(len(units))
    for begin in range(0, len(bands), ORDERS_AT_ONCE):
        for scores in sums.scores(bands[begin : begin + ORDERS_AT_ONCE], response, widths=widths)[1][:, -1]:
            reaching += _best((scores[first.tested] - mean) / sd) >= statistic
    return (1 + reaching) / (1 + len(bands))


@dataclass
class ScaleB:
    """How scores of part B at the lags (indices, (n_units,)) that are best in A become z: `mean` and `sd` (n_bands,
    n_units) of the first stage's surrogates."""

    lag_a: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    def take(self, units: np.ndarray) -> "ScaleB":
        return ScaleB(self.lag_a[units], self.mean[:, units], self.sd[:, units])

    def z(self, scores: np.ndarray) -> np.ndarray:
        """Shape (n_surrogates, n_units, n_bands), from (n_surrogates, n_bands, n_units)."""
        return ((scores - self.mean) / self.sd).swapaxes(1, 2)


def fine_z_b(sums: BandSums, bands: np.ndarray, response: np.ndarray, scale: ScaleB) -> np.ndarray:
    """z in part B of the second stage's surrogates, (n_surrogates, n_units, n_bands) float16, of units with `response`
    (n_lags, n, n_units)."""
    at_lag = np.ascontiguousarray(response[scale.lag_a, :, np.arange(response.shape[-1])].T)[None]
    z = np.empty((len(bands), response.shape[-1], sums.n_bands), np.float16)
    for begin in range(0, len(bands), ORDERS_AT_ONCE):
        some = slice(begin, begin + ORDERS_AT_ONCE)
        drawn = scale.z(sums.scores(bands[some], at_lag, widths=(1,))[0][:, 1, :, 0])
        z[some] = np.clip(drawn, -LARGEST_Z, LARGEST_Z)
    return z


def _best(z):
    return z.max(axis=(0, 1), initial=-np.inf)
