"""Band selectivity: which pitches a unit prefers, tested against swapped contours inside bouts.

STATISTICS.md's level 2. The null permutes the calls' contours within each bout, each time-warped to the length of
the call whose place it takes: times, edges, levels, the bout's pitch, drift and contour shapes stay, and only which
pitch went with which response is broken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.mapping.band_sums import ORDERS_AT_ONCE, WIDTHS, BandSums, over_windows
from pipeline.mapping.responses import CallBins, Nuisance, lagged
from pipeline.mapping.stages import ScaleB, fine_stage_p, fine_z_b, first_stage, mean_and_sd

PARTS = ("A", "B", "all")
MIN_SOUND_S = 0.6
UNITS_AT_ONCE = 64  # bounds memory: n_call_bins x n_lags x UNITS_AT_ONCE x 4 bytes
FINE_STAGE_P = 0.1


@dataclass
class Selectivity:
    """Results of a test of band selectivity.

    (n_units,): p, p_floor, statistic; p_a: p of part A alone, by the first stage; and lag, lag_a in bins: the best lag
    in all data and in part A, refined between the tested lags.
    z (n_parts, n_units, n_bands): A and B read at the tested lag that is best in A, all at the best of all.
    surrogate_z_b (n_surrogates, n_units, n_bands), and surrogate_z_b_fine (n_surrogates_fine, n_fine, n_bands) of the
    units that are `fine` (n_units,), those with a second stage; sound_bins (n_parts, n_bands).
    """

    p: np.ndarray
    p_floor: np.ndarray
    p_a: np.ndarray
    statistic: np.ndarray
    lag: np.ndarray
    lag_a: np.ndarray
    z: np.ndarray
    surrogate_z_b: np.ndarray
    fine: np.ndarray
    surrogate_z_b_fine: np.ndarray
    sound_bins: np.ndarray

    @classmethod
    def joined(cls, parts: "Sequence[Selectivity]") -> "Selectivity":
        """Results of some units each, as one."""
        of_units = ("p", "p_floor", "p_a", "statistic", "lag", "lag_a", "fine")
        names = {"z": 1, "surrogate_z_b": 1, "surrogate_z_b_fine": 1} | dict.fromkeys(of_units, 0)
        joined = {name: np.concatenate([getattr(p, name) for p in parts], axis=axis) for name, axis in names.items()}
        return cls(sound_bins=parts[0].sound_bins, **joined)


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
    regressors: np.ndarray | None = None,
    widths: tuple[int, ...] = WIDTHS,
) -> Selectivity:
    """Test every unit for a preference among pitches and read its tuning curves.

    `rates`, `valid` (n_bins, n_units): smoothed counts; `part` (n_bouts,) as of `bout_parts`; `lags` in bins (positive:
    neurons follow); `regressors` (n_bins, n_columns): covariates that are removed with the nuisance.
    Statistic: maximum over lags and runs of `widths` adjacent bands of the z-scored sum, z from the first-stage
    surrogates (leave-one-out for the surrogates themselves). Units with p <= 0.1 are tested again with
    `n_surrogates_fine` fresh surrogates, unless that is 0. p of part A alone: the same statistic of its calls, by the
    first stage; it knows nothing of which pitch went with which response in part B.
    """
    sums, whole = BandSums(calls, edges_hz, part), BandSums(calls, edges_hz)
    bands, fine_bands = (sums.drawn_bands(n, generator) for n in (n_surrogates, n_surrogates_fine))
    sound_bins = sums.sizes(sums.bands())[0]
    tested = sound_bins[2] * bin_width_s >= MIN_SOUND_S
    wide_tested_a, wide_tested = (_tested(sound_bins[part], widths, bin_width_s) for part in (0, 2))
    results = []
    for response in _responses(calls, rates, valid, nuisance, lags, regressors):
        (observed, drawn), (wide, drawn_wide) = _scores(sums, bands, response, widths)
        p_a = first_stage(wide[0], drawn_wide[:, 0], wide_tested_a).p
        first = first_stage(wide[1], drawn_wide[:, 1], wide_tested)
        read, scale_b = described(observed, drawn, tested, lags)
        p, p_floor = first.p, np.full(len(first.p), 1 / (1 + n_surrogates))
        fine = (p <= FINE_STAGE_P) & (n_surrogates_fine > 0)
        again, z_b = np.flatnonzero(fine), np.empty((n_surrogates_fine, 0, len(tested)), np.float16)
        if len(again):
            some = response.take(again, axis=-1)
            p[again] = fine_stage_p(whole, fine_bands, some, first, again, widths)
            p_floor[again] = 1 / (1 + n_surrogates_fine)
            z_b = fine_z_b(sums, fine_bands, some, scale_b.take(again))
        read |= {"statistic": first.statistic, "p_a": p_a, "fine": fine, "surrogate_z_b_fine": z_b}
        results.append(Selectivity(p=p, p_floor=p_floor, sound_bins=sound_bins, **read))
    return Selectivity.joined(results)


def band_p(
    calls: CallBins,
    rates: np.ndarray,
    valid: np.ndarray,
    *,
    nuisance: Nuisance,
    edges_hz: np.ndarray,
    lags: np.ndarray,
    bin_width_s: float,
    n_surrogates: int,
    generator: np.random.Generator,
    regressors: np.ndarray | None = None,
) -> np.ndarray:
    """The p values (n_units,) alone of the first stage of `band_selectivity`."""
    sums = BandSums(calls, edges_hz)
    bands = sums.drawn_bands(n_surrogates, generator)
    tested = _tested(sums.sizes(sums.bands())[0, 0], WIDTHS, bin_width_s)
    found = []
    for response in _responses(calls, rates, valid, nuisance, lags, regressors):
        wide, drawn_wide = _scores(sums, bands, response, WIDTHS)[1]
        found.append(first_stage(wide[0], drawn_wide[:, 0], tested).p)
    return np.concatenate(found)


def _tested(sound_bins, widths, bin_width_s) -> np.ndarray:
    """Which windows hold enough sound, (n_windows,) bool, from `sound_bins` (n_bands,)."""
    return over_windows(sound_bins[None], widths)[0] * bin_width_s >= MIN_SOUND_S


def _responses(calls, rates, valid, nuisance, lags, regressors) -> Iterator[np.ndarray]:
    """Responses without nuisance, (n_lags, n, n_units), of some units at a time."""
    for begin in range(0, rates.shape[1], UNITS_AT_ONCE):
        units = slice(begin, begin + UNITS_AT_ONCE)
        some, some_valid = np.ascontiguousarray(rates[:, units]), np.ascontiguousarray(valid[:, units])
        response = np.empty((len(lags), len(calls.bin), some.shape[1]), np.float32)
        for at_lag, lag in zip(response, lags, strict=True):
            at_lag[:] = nuisance.remove(*lagged(some, some_valid, calls.bin, lag), _lagged(regressors, calls.bin, lag))
        yield response


def _lagged(regressors: np.ndarray | None, bins: np.ndarray, lag: int) -> np.ndarray | None:
    return None if regressors is None else regressors[np.clip(bins + lag, 0, len(regressors) - 1)]


def _scores(sums: BandSums, bands: np.ndarray, response: np.ndarray, widths: tuple[int, ...]):
    """Scores as they were and of surrogates, one more axis in front: of single bands by part (n_parts, n_bands, n_lags,
    n_units), and of windows (2 or 1, n_windows, n_lags, n_units), see `BandSums.scores`."""
    single, wide = (scores[0] for scores in sums.scores(sums.bands(), response, widths=widths))
    drawn, drawn_wide = (np.empty((len(bands), *scores.shape), np.float32) for scores in (single, wide))
    for begin in range(0, len(bands), ORDERS_AT_ONCE):
        some = slice(begin, begin + ORDERS_AT_ONCE)
        drawn[some], drawn_wide[some] = sums.scores(bands[some], response, widths=widths)
    return (single, drawn), (wide, drawn_wide)


def described(
    observed: np.ndarray, drawn: np.ndarray, tested: np.ndarray, lags: np.ndarray
) -> tuple[dict[str, np.ndarray], ScaleB]:
    """lag, lag_a, z and surrogate_z_b of a Selectivity, and how part B was scaled, from scores as they were (n_parts,
    n_bands, n_lags, n_units) and of surrogates, one more axis in front; `tested` (n_bands,), others are NaN."""
    mean, sd = mean_and_sd(drawn)
    z = np.where(tested[:, None, None], (observed - mean) / sd, np.nan)
    lag, lag_a = _best_lag(z[2]), _best_lag(z[0])
    units = np.arange(z.shape[-1])
    at_lag = np.stack([z[0][:, lag_a, units], z[1][:, lag_a, units], z[2][:, lag, units]])
    scale_b = ScaleB(lag_a, mean[1][:, lag_a, units], sd[1][:, lag_a, units])
    read = {
        "lag": refined_lag(z[2], lags),
        "lag_a": refined_lag(z[0], lags),
        "z": at_lag.transpose(0, 2, 1),
        "surrogate_z_b": scale_b.z(drawn[:, 1][:, :, lag_a, units]),
    }
    return read, scale_b


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
    calls: CallBins,
    counts: np.ndarray,
    valid: np.ndarray,
    *,
    nuisance: Nuisance,
    edges_hz: np.ndarray,
    lag: np.ndarray,
    regressors: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What tuning curves are estimated from, per bout, each unit at its own `lag` (n_units,) in bins (whole numbers).

    `counts` (n_bins, n_units) are not smoothed: smoothing over time would smear the bands as the pitch moves.

    Returns response (n_bouts, n_units, n_bands + 1): products of pitch indicators and responses, both without
    nuisance; gram (n_bouts, n_bands + 1, n_bands + 1) of the indicators; the share of a bout's bins in which a
    unit is observed (n_bouts, n_units); the mean count in call bins (n_units,). The last band is 'outside the range'.
    """
    n_bands = len(edges_hz) - 1
    band = BandSums(calls, edges_hz).bands()[0]
    design = np.eye(n_bands + 1, dtype=np.float32)[band]
    # covariates as they are without a lag: one design serves units of all lags
    design = nuisance.remove(design, np.ones_like(design, bool), _lagged(regressors, calls.bin, 0))
    starts = np.searchsorted(calls.bout, np.arange(len(calls.bout_id)))
    stops = np.append(starts[1:], len(calls.bout))
    spans = list(zip(starts, stops, strict=True))
    gram = np.array([design[a:b].T @ design[a:b] for a, b in spans])
    products = np.empty((len(spans), counts.shape[1], n_bands + 1), np.float32)
    observed = np.empty((len(spans), counts.shape[1]))
    mean_count = np.empty(counts.shape[1])
    for value in np.unique(lag):
        units = np.flatnonzero(lag == value)
        raw, ok = lagged(counts[:, units], valid[:, units], calls.bin, value)
        mean_count[units] = (raw * ok).sum(axis=0) / np.maximum(ok.sum(axis=0), 1)
        response = nuisance.remove(raw, ok, _lagged(regressors, calls.bin, value))
        for product, share, (a, b) in zip(products, observed, spans, strict=True):
            product[units] = response[a:b].T @ design[a:b]
            share[units] = ok[a:b].mean(axis=0)
    return products, gram.reshape(len(spans), n_bands + 1, n_bands + 1), observed, mean_count


def pooled_gains(
    weights: np.ndarray,
    response: np.ndarray,
    gram: np.ndarray,
    observed: np.ndarray,
    mean_count: np.ndarray,
    *,
    tested: np.ndarray,
    ridge_bins: float,
) -> np.ndarray:
    """`gains` of all bouts, each counted `weights` (..., n_bouts) times, (..., n_units, n_bands).

    A bin in which a unit is not `observed` (n_bouts, n_units: the share of a bout) is missing, not silent: the gram of
    each unit counts the bins that were seen. Units that were observed alike share their solution.
    """
    weights = weights.astype(float)
    total = np.tensordot(weights, response.astype(float), 1)
    found = np.empty((*total.shape[:-1], len(tested)))
    shares, alike = np.ones((1, len(observed))), np.zeros(observed.shape[1], int)
    if observed.size:
        shares, alike = np.unique(observed.T, axis=0, return_inverse=True)
    for number, share in enumerate(shares):
        units = np.flatnonzero(alike == number)
        seen = np.tensordot(weights * share, gram.astype(float), 1)
        found[..., units, :] = gains(
            total[..., units, :], seen, mean_count[units], tested=tested, ridge_bins=ridge_bins
        )
    return found


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
