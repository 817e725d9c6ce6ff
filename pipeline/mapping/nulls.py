"""What chance gives: permutation p values, surrogates that keep what must be kept, and drift removal."""

from collections import defaultdict

import numpy as np
from scipy import fft
from scipy.stats import false_discovery_control


def permutation_p(observed: np.ndarray, surrogates: np.ndarray) -> np.ndarray:
    """(1 + #{surrogate >= observed}) / (1 + B), never 0; `observed` (...), `surrogates` (B, ...).

    NaN where the observed statistic is NaN (it was not tested).
    """
    exceeding = (surrogates >= observed).sum(axis=0)
    return np.where(np.isnan(observed), np.nan, (1 + exceeding) / (1 + len(surrogates)))


def q_values(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values over the finite entries of `p`; the others stay NaN and do not count."""
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    tested = np.isfinite(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def without_drift(values: np.ndarray, valid: np.ndarray, *, bin_width_s: float, shortest_period_s: float) -> np.ndarray:
    """`values` (n_bins, n_series) minus their least-squares fit by slow cosines over valid bins; 0 where invalid.

    The cosines, a constant among them, are those of the discrete cosine transform of n bins whose period,
    2 n bin_width_s / k seconds, is at least `shortest_period_s`. `valid` is (n_bins, n_series) or (n_bins, 1), bool.
    The result lies series by series in memory.
    """
    n_bins = len(values)
    n = fft.next_fast_len(n_bins, real=True)  # the bins beyond the end are invalid
    order = np.arange(min(1 + int(2 * n_bins * bin_width_s / shortest_period_s), (n + 1) // 2))
    residual = np.zeros((values.shape[1], n_bins))
    for rows, columns in same_gaps(np.broadcast_to(valid, values.shape)):
        if not rows.any():
            continue
        part = values[:, columns].T * rows.astype(float)
        # sums over valid bins of cosine j times cosine k: half the sum of those of the cosines j - k and j + k
        covered = fft.dct(rows.astype(float), n=n) / 2
        gram = (covered[np.abs(order[:, None] - order)] + covered[order[:, None] + order]) / 2
        gram[order, order] += 1e-9 * n
        fit = np.zeros((len(columns), n))
        fit[:, order] = np.linalg.solve(gram, fft.dct(part, n=n)[:, order].T / 2).T
        fit[:, 1:] /= 2  # as the inverse transform counts them
        residual[columns] = (part - fft.dct(fit, type=3)[:, :n_bins]) * rows
    return residual.T


def same_gaps(valid: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Series of `valid` (n_bins, n_series) with equal gaps together: (valid bins (n_bins,), indices of the series)."""
    if (valid == valid[:, :1]).all():  # nearly always, and quickly seen
        return [(valid[:, 0], np.arange(valid.shape[1]))] if valid.shape[1] else []
    series = defaultdict(list)
    for index, column in enumerate(np.packbits(valid, axis=0).T):
        series[column.tobytes()].append(index)
    return [(valid[:, indices[0]], np.array(indices)) for indices in series.values()]


def correlations_at_shifts(sound: np.ndarray, response: np.ndarray) -> np.ndarray:
    """sum_t sound[t] response[t + s] for every circular shift s = 0..n_bins-1, shape (n_bins, n_series).

    `sound` (n_bins,), `response` (n_bins, n_series). Negative shifts are at the end, as in a Fourier transform. The
    result lies series by series in memory, and it is fastest where `response` does.
    """
    spectrum = np.conj(fft.rfft(sound)) * fft.rfft(response.T)
    return fft.irfft(spectrum, n=len(sound)).T


def products_at_lags(sounds: np.ndarray, responses: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """sum_t sounds[t] responses[t + lag], shape (n_lags, n_sounds, n_series); zeros beyond the ends.

    `sounds` (n_bins, n_sounds), `responses` (n_bins, n_series); lags in bins, of either sign.
    """
    n, lags = len(sounds), np.clip(lags, -len(sounds), len(sounds))
    return np.stack(
        [sounds[max(-lag, 0) : n - max(lag, 0)].T @ responses[max(lag, 0) : n - max(-lag, 0)] for lag in lags]
    )


def maximum_over_lags(values: np.ndarray, shifts: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Maximum of `values` (n_bins, n_series) over shift + lag (circular) for each of `shifts`, (n_shifts, n_series)."""
    best = np.full((len(shifts), values.shape[1]), -np.inf)
    for lag in lags:
        np.maximum(best, values[(shifts + lag) % len(values)], out=best)
    return best


def shift_candidates(n_bins: int, *, shortest: int, n_shifts: int) -> np.ndarray:
    """Circular shifts evenly spread over those at least `shortest` bins away from no shift, at most `n_shifts`."""
    allowed = np.arange(shortest, n_bins - shortest + 1)
    if len(allowed) <= n_shifts:
        return allowed
    return allowed[np.linspace(0, len(allowed) - 1, n_shifts).astype(int)]


def orders_within(groups: np.ndarray, n_orders: int, generator: np.random.Generator) -> np.ndarray:
    """Random permutations of the elements inside each group, shape (n_orders, n_elements).

    `groups` (n_elements,) are sorted integers; order[i] is the element that takes the place of i.
    """
    keys = groups + generator.random((n_orders, len(groups)))
    return np.argsort(keys, axis=1)


def linear_shift_p(statistics: np.ndarray, unshifted: int) -> np.ndarray:
    """p = m / (N + 1) for 2N + 1 linear shifts, of which m (the unshifted included) reach the unshifted statistic.

    `statistics` (2N + 1, ...) with the unshifted one at index `unshifted`. Harris (2021), Nonsense correlations.
    """
    n_sides = (len(statistics) - 1) // 2
    reaching = (statistics >= statistics[unshifted]).sum(axis=0)
    return np.minimum(1.0, reaching / (n_sides + 1))
