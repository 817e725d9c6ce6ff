"""Calls and counts on one grid: which pitch sounded in which bin, and how each unit responded at each lag."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.ndimage import gaussian_filter1d

from pipeline.mapping.nulls import same_gaps
from pipeline.mapping.regressors import orthonormal

N_CONTOUR_POINTS = 64  # a contour is stored at this many points, so that it can be warped to any call's length
N_SWEEPS = 3  # alternating projections; the removed effects overlap little


@dataclass(frozen=True)
class CallBins:
    """Bins of the count grid that lie inside calls of bouts with at least two calls.

    Per bin, shape (n,): `bin` (index into the grid), `call` (row of `contour_hz`), `bout` (0..n_bouts-1, sorted),
    `since_onset`, `to_offset` (bins), `level_db`, `position` (column of `contour_hz`).
    Per call: `contour_hz` (n_calls, N_CONTOUR_POINTS), `call_bout`, `duration_s`. Per bout: `bout_id`, `start_s`,
    `stop_s` (session s).
    """

    bin: np.ndarray
    call: np.ndarray
    bout: np.ndarray
    since_onset: np.ndarray
    to_offset: np.ndarray
    level_db: np.ndarray
    position: np.ndarray
    contour_hz: np.ndarray
    call_bout: np.ndarray
    duration_s: np.ndarray
    bout_id: np.ndarray
    start_s: np.ndarray
    stop_s: np.ndarray


def locate_calls(calls: pd.DataFrame, *, to_session, bin_start_s: np.ndarray, bin_width_s: float) -> CallBins:
    """Place calls on the grid of bins that starts at `bin_start_s` (n_bins,).

    `calls` as in calls.parquet (times on the audio clock); `to_session` maps audio to session seconds.
    A bin belongs to a call where its centre does.
    """
    first_s = bin_start_s[0] if len(bin_start_s) else 0.0
    start_s = to_session(calls["start_s"].to_numpy(float))
    stop_s = to_session(calls["stop_s"].to_numpy(float))
    first = np.ceil((start_s - first_s) / bin_width_s - 0.5).astype(int)
    last = np.ceil((stop_s - first_s) / bin_width_s - 0.5).astype(int)  # not included
    finite = np.array([np.isfinite(np.asarray(hz, float)).any() for hz in calls["contour_hz"]], bool)
    usable = finite & (last > first) & (first >= 0) & (last <= len(bin_start_s))
    bouts, size = np.unique(calls["bout"].to_numpy()[usable], return_counts=True)
    usable &= np.isin(calls["bout"].to_numpy(), bouts[size >= 2])
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((start_s[rows], calls["bout"].to_numpy()[rows]))]
    bout_id, call_bout = np.unique(calls["bout"].to_numpy()[rows], return_inverse=True)
    length = (last - first)[rows]
    call = np.repeat(np.arange(len(rows)), length)
    since_onset = np.arange(len(call)) - np.repeat(np.cumsum(length) - length, length)
    warped = [_warp(call) for call in calls.iloc[rows].to_dict("records")]
    contour_hz = np.array([hz for hz, _ in warped]).reshape(-1, N_CONTOUR_POINTS)
    contour_db = np.array([db for _, db in warped]).reshape(-1, N_CONTOUR_POINTS)
    position = ((since_onset + 0.5) / length[call] * N_CONTOUR_POINTS).astype(int)
    bout_rows = np.searchsorted(call_bout, np.arange(len(bout_id)))
    bout_ends = np.searchsorted(call_bout, np.arange(len(bout_id)), side="right") - 1
    return CallBins(
        bin=first[rows][call] + since_onset,
        call=call,
        bout=call_bout[call],
        since_onset=since_onset,
        to_offset=length[call] - 1 - since_onset,
        level_db=contour_db[call, position],
        position=position,
        contour_hz=contour_hz,
        call_bout=call_bout,
        duration_s=(stop_s - start_s)[rows],
        bout_id=bout_id,
        start_s=start_s[rows][bout_rows],
        stop_s=stop_s[rows][bout_ends],
    )


def _warp(call: dict) -> tuple[np.ndarray, np.ndarray]:
    """Pitch (Hz) and level (dB) of a call at N_CONTOUR_POINTS times spread evenly from its start to its stop."""
    share = (np.arange(N_CONTOUR_POINTS) + 0.5) / N_CONTOUR_POINTS
    at_s = call["start_s"] + share * (call["stop_s"] - call["start_s"])
    time_s, pitch_hz = np.asarray(call["contour_s"], float), np.asarray(call["contour_hz"], float)
    level_db = np.asarray(call["contour_db"], float)
    if len(level_db) != len(time_s):
        level_db = np.full(len(time_s), float(call["level_db"]))
    heard = np.isfinite(pitch_hz)
    level_db = np.where(np.isfinite(level_db), level_db, np.nan_to_num(float(call["level_db"])))
    return np.interp(at_s, time_s[heard], pitch_hz[heard]), np.interp(at_s, time_s[heard], level_db[heard])


def smoothed(counts: np.ndarray, valid: np.ndarray, *, sd_bins: float) -> tuple[np.ndarray, np.ndarray]:
    """Counts (n_bins, n_units) after a Gaussian over valid bins only, and where that has at least half its weight."""
    rates, enough = np.empty(counts.shape, np.float32), np.empty(counts.shape, bool)
    smooth = partial(gaussian_filter1d, sigma=sd_bins, axis=0, mode="constant", truncate=3)
    for rows, units in same_gaps(valid):
        weight = smooth(rows.astype(np.float32))[:, None]
        total = smooth(counts[:, units] * rows[:, None].astype(np.float32), output=np.float32)
        enough[:, units] = weight > 0.5
        rates[:, units] = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0.5)
    return rates, enough


def lagged(values: np.ndarray, valid: np.ndarray, bins: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Responses `lag` bins after each of `bins`, (n, n_units), and where they are valid."""
    at = bins + lag
    inside = (at >= 0) & (at < len(values))
    at = np.clip(at, 0, max(len(values) - 1, 0))
    return values[at], valid[at] & inside[:, None]


def onset_cells(calls: CallBins) -> np.ndarray:
    """Cell of (bins since call onset x bins to call offset) for each bin, shape (n,).

    Both are capped so that a cell holds some ten calls on average.
    """
    cap = int(np.clip(np.sqrt(len(calls.call_bout) / 10), 1, 12))
    cell = np.minimum(calls.since_onset, cap) * (cap + 1) + np.minimum(calls.to_offset, cap)
    return np.unique(cell, return_inverse=True)[1]


class Nuisance:
    """Removes what is not pitch: bout means, the onset/offset response, level and duration.

    A linear projection that knows times, levels and lengths of calls but not their pitch: it is the same for the
    data and for every surrogate.
    """

    def __init__(self, calls: CallBins):
        self.groups = [calls.bout, onset_cells(calls)]
        self.members = [_membership(group) for group in self.groups]
        level = np.column_stack([calls.level_db, calls.level_db**2, calls.duration_s[calls.call]])
        level = (level - level.mean(axis=0)) / np.maximum(level.std(axis=0), 1e-9)
        self.level = self._group_free(level.astype(np.float32), np.ones(len(level), np.float32))

    def remove(self, values: np.ndarray, valid: np.ndarray, regressors: np.ndarray | None = None) -> np.ndarray:
        """`values` (n, n_series) without bout means, cell means and level; 0 where not `valid`, float32.

        `regressors` (n, n_columns), such as movement, are removed together with these.
        """
        gram = self.level.T @ self.level
        gram += 1e-6 * np.trace(gram) * np.eye(len(gram), dtype=gram.dtype) + 1e-9 * np.eye(len(gram))
        removed = np.empty(values.shape, np.float32)
        for rows, series in same_gaps(valid):
            weight = rows.astype(np.float32)
            every = len(series) == len(valid.T)
            left = self._group_free(values if every else values[:, series], weight)
            if regressors is not None:
                columns = np.hstack([self.level, self._group_free(regressors, weight)]) * weight[:, None]
                basis = orthonormal(columns.astype(float)).astype(np.float32)
                left -= basis @ (basis.T @ left)
            else:
                left -= self.level @ np.linalg.solve(gram, self.level.T @ left).astype(np.float32)
            left *= weight[:, None]
            if every:
                return left
            removed[:, series] = left
        return removed

    def _group_free(self, values, weight):
        """`values` (n, n_series), of `weight` (n,) 1 or 0, without bout means and cell means, by alternating fits."""
        left = np.multiply(values, weight[:, None], dtype=np.float32)
        bouts, cells = self.members
        # the means to remove follow from sums over bouts and cells, and from how many bins each two have in common
        shape = (bouts.shape[0], cells.shape[0])
        both = np.ravel_multi_index(self.groups, shape)
        shared = np.bincount(both, weight, minlength=np.prod(shape)).reshape(shape).astype(np.float32)
        sums, sizes = (bouts @ left, cells @ left), [np.maximum(m @ weight, 1)[:, None] for m in self.members]
        of_cells = np.zeros_like(sums[1])
        for _ in range(N_SWEEPS):
            of_bouts = (sums[0] - shared @ of_cells) / sizes[0]
            of_cells = (sums[1] - shared.T @ of_bouts) / sizes[1]
        for means, group in zip((of_bouts, of_cells), self.groups, strict=True):
            left -= means[group]
        left *= weight[:, None]
        return left


def _membership(group: np.ndarray) -> sparse.csc_matrix:
    n_groups = int(group.max()) + 1 if len(group) else 0
    ones = np.ones(len(group), np.float32)
    return sparse.csc_matrix((ones, group, np.arange(len(group) + 1)), shape=(n_groups, len(group)))
