"""The syllable PSTH: what a unit fires round the edges of a call, whatever its pitch.

Clips tell which call fills most of them but not when it starts. Its edges are read from the loudness, which serves
clips of sounds that are no calls as well.
"""

from itertools import product

import numpy as np
from scipy import sparse

from pipeline.clips import SessionClips
from pipeline.evaluation.candidates import Candidates
from pipeline.evaluation.design import MOST_CELLS

# SDs of the kernel that pools near cells, along the time since the edge before and along that to the edge after:
# a unit may follow the one and care little for the other.
POOLING_CELLS = tuple(product((0.5, 1.5, 5.0), repeat=2))
# Weights of the mean rate in each cell, spikes (of traces: bins); the last all but gives the mean rate.
PRIOR_WEIGHTS = (2.0, 8.0, 32.0, 128.0, 512.0, 1e6)
ROUNDING = 1e-6  # of a cell


def psth(
    parts: dict[str, SessionClips], *, reference: np.ndarray, noise_sd: np.ndarray, min_peak_db: float
) -> Candidates:
    """Mean count by (since the last edge of the sound, to the next), for several ways to pool rare cells.

    reference, noise_sd: mean counts in a bin and their SD (n_units,). min_peak_db: see `edge_cells`. A cell's mean is
    the posterior mean of a rate with a gamma prior round the mean rate (of traces: of a mean with a normal one).
    """
    cells = {}
    for split, clips in parts.items():
        cells[split], shape = edge_cells(clips, min_peak_db=min_peak_db)
    shape = (*shape, len(reference))
    row = cells["train"].ravel()
    counts = parts["train"].counts.transpose(0, 2, 1).reshape(len(row), -1)
    ones = np.ones(len(row), np.float32)
    members = sparse.csc_matrix((ones, row, np.arange(len(row) + 1)), shape=(np.prod(shape[:-1]), len(row)))
    spikes = (members @ np.nan_to_num(counts)).reshape(shape)
    observed = (members @ np.isfinite(counts).astype(np.float32)).reshape(shape)

    def predict(split: str, index: int) -> np.ndarray:
        pooling, weight = divmod(index, len(PRIOR_WEIGHTS))
        prior = (PRIOR_WEIGHTS[weight] / np.square(noise_sd)).astype(np.float32)  # bins
        total, n_observed = (_pooled(sums, POOLING_CELLS[pooling]) for sums in (spikes, observed))
        means = (total + prior * reference) / (n_observed + prior)
        return means.reshape(-1, len(reference))[cells[split]].transpose(0, 2, 1)

    return Candidates(len(POOLING_CELLS) * len(PRIOR_WEIGHTS), predict)


def edge_cells(clips: SessionClips, *, min_peak_db: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Cell of each bin of the clips, shape (n_clips, n_bins), and the shape of the table of cells.

    Axes of the table: kind (4 where there is sound, + 2 where the edge before is seen, + 1 where the edge after is),
    time since the edge before, time to the edge after. An edge is where the sound starts or stops: where the loudest
    band of a frame comes to `min_peak_db` or falls below. Where the clip shows none, its own end stands for the edge;
    bins outside the clip are taken as its first or last frame.
    """
    sounds = clips.spectrogram.max(axis=1) >= min_peak_db  # (n_clips, n_frames)
    n_frames = sounds.shape[1]
    step_s = clips.frame_s[1] - clips.frame_s[0] if n_frames > 1 else clips.bin_width_s
    edge_s = clips.frame_s[0] + (np.arange(n_frames + 1) - 0.5) * step_s
    turns = np.diff(sounds, axis=1)
    inner = np.arange(1, n_frames)
    ends = np.zeros((len(clips), 1), int)
    before = np.maximum.accumulate(np.hstack([ends, np.where(turns, inner, 0)]), axis=1)
    after = np.minimum.accumulate(np.hstack([np.where(turns, inner, n_frames), ends + n_frames])[:, ::-1], axis=1)
    centre_s = clips.bin_s + clips.bin_width_s / 2
    frame = np.clip(((centre_s - edge_s[0]) / step_s).astype(int), 0, n_frames - 1)  # of each bin
    before, after = before[:, frame], after[:, ::-1][:, frame]  # (n_clips, n_bins)
    kind = 4 * sounds[:, frame] + 2 * (before > 0) + (after < n_frames)
    # A bin before the clip is less than 0 after the clip's start; tables start at the least there can be.
    least_since_s, least_to_s = min(centre_s[0] - edge_s[0], 0.0), min(edge_s[-1] - centre_s[-1], 0.0)
    span_s = edge_s[-1] - edge_s[0] - least_since_s - least_to_s
    cell_s = max(clips.bin_width_s, span_s / MOST_CELLS)
    since = ((centre_s - edge_s[before] - least_since_s) / cell_s + ROUNDING).astype(int)
    to = ((edge_s[after] - centre_s - least_to_s) / cell_s + ROUNDING).astype(int)
    n_steps = int(span_s / cell_s + ROUNDING) + 1
    shape = (8, n_steps, n_steps)
    return np.ravel_multi_index((kind, since, to), shape), shape


def _pooled(sums: np.ndarray, sd_cells: tuple[float, float]) -> np.ndarray:
    """Sums over near cells of the same kind, weighted by a Gaussian that is 1 at the cell itself."""
    at = np.arange(sums.shape[1])
    for axis, sd in enumerate(sd_cells, start=1):
        kernel = np.exp(-0.5 * np.square((at[:, None] - at) / sd)).astype(sums.dtype)
        sums = np.moveaxis(np.tensordot(kernel, sums, (1, axis)), 0, axis)
    return sums
