"""Band selectivity: which pitches a unit prefers, tested against swapped contours inside bouts.

STATISTICS.md's level 2. The null permutes the calls' contours within each bout, each time-warped to the length of
the call whose place it takes: times, edges, levels, the bout's pitch, drift and contour shapes stay, and only which
pitch went with which response is broken.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.mapping.nulls import orders_within, permutation_p
from pipeline.mapping.responses import CallBins, Nuisance, lagged

PARTS = ("A", "B", "all")
MIN_SOUND_S = 0.6
UNITS_AT_ONCE = 64  # bounds memory: n_surrogates x n_parts x n_bands x n_lags x UNITS_AT_ONCE x 4 bytes
FINE_STAGE_P = 0.1


@dataclass
class Selectivity:
    """Results of a test of band selectivity.

    (n_units,): p, p_floor, statistic, z_threshold, and lag, lag_a in bins: the best lag in all data and in part A,
    refined between the tested lags.
    z (n_parts, n_units, n_bands): A and B read at the tested lag that is best in A, all at the best of all.
    surrogate_z_b (n_surrogates, n_units, n_bands), sound_bins (n_parts, n_bands).
    """

    p: np.ndarray
    p_floor: np.ndarray
    statistic: np.ndarray
    z_threshold: np.ndarray
    lag: np.ndarray
    lag_a: np.ndarray
    z: np.ndarray
    surrogate_z_b: np.ndarray
    sound_bins: np.ndarray


class BandSums:
    """Sums of responses over the bins whose (surrogate) pitch lies in each band, per part of the session."""

    def __init__(self, calls: CallBins, edges_hz: np.ndarray, part: np.ndarray):
        self.calls = calls
        self.n_bands = len(edges_hz) - 1
        band = np.searchsorted(edges_hz, calls.contour_hz, side="right") - 1
        self.band_of_contour = np.where((band >= 0) & (band < self.n_bands), band, self.n_bands)  # last: outside
        self.offset = part[calls.bout] * (self.n_bands + 1)  # part: 0 A, 1 B, 2 neither

    def bands(self, order: np.ndarray | None = None) -> np.ndarray:
        """Band of each bin, shape (n,), when call i carries the contour of call order[i]."""
        call = self.calls.call if order is None else order[self.calls.call]
        return self.band_of_contour[call, self.calls.position]

    def sums(self, order: np.ndarray | None, responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of `responses` (n, n_series), (n_parts, n_bands, n_series), and numbers of bins, (n_parts, n_bands)."""
        key = self.bands(order) + self.offset
        n = len(key)
        shape = (3 * (self.n_bands + 1), n)
        picks = sparse.csc_matrix((np.ones(n, np.float32), key, np.arange(n + 1)), shape=shape)
        total = (picks @ responses).reshape(3, self.n_bands + 1, -1)[:, :-1]
        size = np.bincount(key, minlength=shape[0]).reshape(3, -1)[:, :-1]
        return np.stack([total[0], total[1], total.sum(axis=0)]), np.stack([size[0], size[1], size.sum(axis=0)])

    def scores(self, order, responses):
        """Sums over the square root of the number of bins: of even variance where responses are unrelated."""
        total, size = self.sums(order, responses)
        return total / np.sqrt(np.maximum(size, 1))[..., None].astype(np.float32)


def bout_parts(calls: CallBins, clip_start_s: np.ndarray, clip_split: np.ndarray) -> np.ndarray:
    """Part of each bout, shape (n_bouts,): 0 A (train), 1 B (validation, test), 2 neither (guard, or no clips near).

    A bout belongs where most of the clips belong that start inside it (else the clip next to it).
    """
    role = np.select([clip_split == "train", np.isin(clip_split, ["validation", "test"])], [0, 1], 2)
    if len(role) == 0:
        return np.full(len(calls.bout_id), 2)
    order = np.argsort(clip_start_s, kind="stable")
    begins, role = clip_start_s[order], role[order]
    first = np.searchsorted(begins, calls.start_s - 0.5)
    last = np.searchsorted(begins, calls.stop_s)
    counted = np.concatenate([np.zeros((1, 3), int), np.cumsum(np.eye(3, dtype=int)[role], axis=0)])
    votes = counted[last] - counted[first]
    nearest = role[np.clip(first, 0, len(role) - 1)]
    return np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), nearest)


def band_selectivity(
    calls: CallBins,
    rates: np.ndarray,
    valid: np.ndarray,
    *,
    nuisance: Nuisance,
    part: np.ndarray,
    edges_hz: np.ndarray,
    lags: np.ndarray,
    bin_width_s: float,
    n_surrogates: int,
    n_surrogates_fine: int,
    generator: np.random.Generator,
) -> Selectivity:
    """Test every unit for a preference among pitches and read its tuning curves.

    `rates`, `valid` (n_bins, n_units): smoothed counts; `lags` in bins (positive: neurons follow).
    Statistic: maximum over lags and bands of the z-scored sum, z from the first-stage surrogates (leave-one-out for
    the surrogates themselves). Units with p <= 0.1 are tested again with `n_surrogates_fine` fresh surrogates,
    unless that is 0.
    """
    sums = BandSums(calls, edges_hz, part)
    orders = orders_within(calls.call_bout, n_surrogates, generator)
    fine_orders = orders_within(calls.call_bout, n_surrogates_fine, generator)
    sound_bins = sums.sums(None, np.zeros((len(calls.bin), 1), np.float32))[1]
    tested = sound_bins[2] * bin_width_s >= MIN_SOUND_S
    results = []
    for begin in range(0, rates.shape[1], UNITS_AT_ONCE):
        units = slice(begin, begin + UNITS_AT_ONCE)
        response, response_valid = lagged(rates[:, units], valid[:, units], calls.bin, lags)
        shape = response.shape[1:]
        response = nuisance.remove(response.reshape(len(response), -1), response_valid.reshape(len(response), -1))
        results.append(_test(sums, response, shape, orders, fine_orders, tested, lags))
    joined = {name: np.concatenate([r[name] for r in results], axis=axis) for name, axis in _AXES.items()}
    return Selectivity(sound_bins=sound_bins, **joined)


_AXES = {"p": 0, "p_floor": 0, "statistic": 0, "z_threshold": 0, "lag": 0, "lag_a": 0, "z": 1, "surrogate_z_b": 1}


def _test(sums, response, shape, orders, fine_orders, tested, lags) -> dict[str, np.ndarray]:
    n_lags, n_units = shape
    n_surrogates = len(orders)

    def scores(order, series):
        return sums.scores(order, series).reshape(3, sums.n_bands, n_lags, -1)

    observed = scores(None, response)
    drawn = np.stack([scores(order, response) for order in orders])  # (n_surrogates, 3, n_bands, n_lags, n_units)
    mean, sd = drawn.mean(axis=0), np.maximum(drawn.std(axis=0, ddof=1), 1e-9)
    z = np.where(tested[:, None, None], (observed - mean) / sd, np.nan)
    statistic, lag, lag_a = _best(z[2]), _best_lag(z[2]), _best_lag(z[0])
    # leave-one-out: x - mean of the others and their sd follow from the pooled ones
    deviation = (drawn[:, 2] - mean[2]) * (n_surrogates / (n_surrogates - 1))
    spread = ((n_surrogates - 1) * sd[2] ** 2 - deviation**2 * (n_surrogates - 1) / n_surrogates) / (n_surrogates - 2)
    null_z = np.where(tested[:, None, None], deviation / np.sqrt(np.maximum(spread, 1e-18)), -np.inf)
    null = null_z.max(axis=(1, 2))  # (n_surrogates, n_units)
    p = permutation_p(statistic, null)
    p_floor = np.full(n_units, 1 / (1 + n_surrogates))
    again = np.flatnonzero(p <= FINE_STAGE_P)
    if len(fine_orders) and len(again):
        series = np.ascontiguousarray(response.reshape(len(response), n_lags, -1)[:, :, again])
        series = series.reshape(len(response), -1)
        reaching = np.zeros(len(again))
        for order in fine_orders:
            fine = (scores(order, series)[2] - mean[2][..., again]) / sd[2][..., again]
            reaching += np.where(tested[:, None, None], fine, -np.inf).max(axis=(0, 1)) >= statistic[again]
        p[again] = (1 + reaching) / (1 + len(fine_orders))
        p_floor[again] = 1 / (1 + len(fine_orders))
    units = np.arange(n_units)
    at_lag = np.stack([z[0][:, lag_a, units], z[1][:, lag_a, units], z[2][:, lag, units]])
    part_b = (drawn[:, 1] - mean[1]) / sd[1]
    return {
        "p": p,
        "p_floor": p_floor,
        "statistic": statistic,
        "z_threshold": np.quantile(null, 0.95, axis=0),
        "lag": refined_lag(z[2], lags),
        "lag_a": refined_lag(z[0], lags),
        "z": at_lag.transpose(0, 2, 1),
        "surrogate_z_b": part_b[:, :, lag_a, units].transpose(0, 2, 1),
    }


def _best(z):
    return np.where(np.isnan(z), -np.inf, z).max(axis=(0, 1), initial=-np.inf)


def _best_lag(z):
    return np.where(np.isnan(z), -np.inf, z).max(axis=0, initial=-np.inf).argmax(axis=0)


def refined_lag(z: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Lag (n_units,) of the largest z (n_bands, n_lags, n_units), by a parabola over its neighbours among `lags`."""
    filled = np.where(np.isnan(z), -np.inf, z)
    units = np.arange(z.shape[2])
    lag = filled.max(axis=0).argmax(axis=0)
    if len(lags) < 3:
        return lags[lag].astype(float)
    band = filled[:, lag, units].argmax(axis=0)
    middle = np.clip(lag, 1, len(lags) - 2)
    left, top, right = (np.nan_to_num(z[band, middle + step, units]) for step in (-1, 0, 1))
    curvature = np.minimum(left - 2 * top + right, -1e-9)
    offset = np.where(middle == lag, np.clip(0.5 * (left - right) / curvature, -0.5, 0.5), 0.0)
    return lags[lag] + offset * (lags[1] - lags[0])


def bout_sums(
    calls: CallBins, counts: np.ndarray, valid: np.ndarray, *, nuisance: Nuisance, edges_hz: np.ndarray, lag: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What tuning curves are estimated from, per bout, each unit at its own `lag` (n_units,) in bins (whole numbers).

    `counts` (n_bins, n_units) are not smoothed: smoothing over time would smear the bands as the pitch moves.

    Returns response (n_bouts, n_units, n_bands + 1): products of pitch indicators and responses, both without
    nuisance; gram (n_bouts, n_bands + 1, n_bands + 1) of the indicators; the mean count in call bins (n_units,).
    The last band is 'outside the range'.
    """
    n_bands = len(edges_hz) - 1
    band = BandSums(calls, edges_hz, np.zeros(len(calls.bout_id), int)).bands()
    design = np.eye(n_bands + 1, dtype=np.float32)[band]
    design = nuisance.remove(design, np.ones_like(design, bool))
    at = calls.bin[:, None] + lag
    inside = (at >= 0) & (at < len(counts))
    at = np.clip(at, 0, len(counts) - 1)
    units = np.arange(counts.shape[1])
    ok = valid[at, units] & inside
    raw = counts[at, units].astype(np.float32)
    mean_count = (raw * ok).sum(axis=0) / np.maximum(ok.sum(axis=0), 1)
    response = nuisance.remove(raw, ok)
    starts = np.searchsorted(calls.bout, np.arange(len(calls.bout_id)))
    stops = np.append(starts[1:], len(calls.bout))
    spans = list(zip(starts, stops, strict=True))
    products = [response[a:b].T @ design[a:b] for a, b in spans]
    grams = [design[a:b].T @ design[a:b] for a, b in spans]
    shape = (len(spans), counts.shape[1], n_bands + 1)
    return np.array(products).reshape(shape), np.array(grams).reshape(len(spans), n_bands + 1, n_bands + 1), mean_count


def gains(
    response: np.ndarray, gram: np.ndarray, mean_count: np.ndarray, *, tested: np.ndarray, ridge_bins: float
) -> np.ndarray:
    """Tuning as relative change of rate, shape (..., n_units, n_bands), from sums over bouts of `bout_sums`.

    Least squares of the response on all bands together with the nuisances (Frisch-Waugh), so that a band does not
    borrow from others that share its bouts; a small ridge keeps rare bands quiet. The level is relative to the
    median of the `tested` bands (n_bands,), since the mean over bouts is not identifiable; others are NaN.
    """
    regularised = gram + ridge_bins * np.eye(gram.shape[-1])
    curve = np.linalg.solve(regularised, np.swapaxes(response, -1, -2).astype(float))
    curve = np.where(tested, np.swapaxes(curve, -1, -2)[..., :-1], np.nan)
    if tested.any():
        curve -= np.nanmedian(curve, axis=-1, keepdims=True)
    return curve / np.maximum(mean_count, 1e-9)[:, None]
