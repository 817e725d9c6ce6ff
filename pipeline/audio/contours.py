"""The course of a call's frequency: the most salient path through its frames."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

FREE_STEP = 0.05  # share of its frequency that a contour may move in a frame before it counts as a jump
STEP_COST, JUMP_COST = 0.2, 4.0  # noise SDs, for a move by one bin and for a jump to anywhere
LARGEST_SALIENCY = 12.0  # noise SDs; beyond, louder is no surer
LEAST_SALIENCY = 1.0  # noise SDs; frames below are gaps of the contour
CENTROID_BINS = 2


def trace_contour(
    *, saliency: np.ndarray, excess: np.ndarray, frequency_hz: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames that the contour covers, shape (n,), and its frequency there, Hz, shape (n,).

    `saliency` (n_frames, n_bands) is in noise SDs, `excess` (n_frames, n_bands) the power above the noise.
    The path maximises the summed saliency less the cost of its moves (Viterbi); within a frame the frequency is
    the centroid of the excess power around the path. Where nothing is salient, the most salient frame is returned.
    """
    bins = _best_path(saliency, _free_bins(frequency_hz))
    along = saliency[np.arange(len(bins)), bins]
    frames = np.flatnonzero(along >= min(LEAST_SALIENCY, along.max()))
    return frames, _centroids(excess[frames], bins[frames], frequency_hz)


def _free_bins(frequency_hz: np.ndarray) -> int:
    middle = len(frequency_hz) // 2
    spacing_hz = frequency_hz[middle] - frequency_hz[middle - 1]
    return int(np.clip(round(FREE_STEP * frequency_hz[middle] / spacing_hz), 1, len(frequency_hz) - 1))


def _best_path(saliency: np.ndarray, free_bins: int) -> np.ndarray:
    """Bin of each frame on the path of highest summed saliency, shape (n_frames,)."""
    n_frames, n_bands = saliency.shape
    gain = np.minimum(saliency, LARGEST_SALIENCY)
    near = -STEP_COST * np.abs(np.arange(-free_bins, free_bins + 1.0))[:, None]
    # Summed saliency of the best path that ends in each bin; nothing comes from beyond the edges.
    padded = np.full((n_frames, n_bands + 2 * free_bins), -np.inf)
    total = padded[:, free_bins : free_bins + n_bands]
    reach = sliding_window_view(padded, n_bands, axis=1)  # (n_frames, 2 free_bins + 1, n_bands)
    stay = np.empty(reach.shape[1:])
    total[0] = gain[0]
    for i in range(1, n_frames):
        np.add(reach[i - 1], near, out=stay)
        total[i] = gain[i] + np.maximum(stay.max(axis=0), total[i - 1].max() - JUMP_COST)
    path = np.empty(n_frames, int)
    path[-1] = total[-1].argmax()
    every = np.arange(n_bands)
    for i in range(n_frames - 1, 0, -1):
        distance = np.abs(every - path[i])
        cost = np.where(distance <= free_bins, STEP_COST * distance, JUMP_COST)
        path[i - 1] = (total[i - 1] - cost).argmax()
    return path


def _centroids(excess: np.ndarray, path: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Centroid of the excess power around the path, Hz, shape (n_frames,)."""
    around = np.arange(-CENTROID_BINS, CENTROID_BINS + 1)
    rows = np.arange(len(path))[:, None]
    last = len(frequency_hz) - 1
    # The path knows the frequency to a smoothed bin; the loudest bin near it is the centre.
    near = np.clip(path[:, None] + around, 0, last)
    centre = np.where(excess[rows, near].any(axis=1), near[rows[:, 0], excess[rows, near].argmax(axis=1)], path)
    near = centre[:, None] + around
    weight = np.where((near >= 0) & (near <= last), excess[rows, np.clip(near, 0, last)], 0)
    total = weight.sum(axis=1)
    centroid_hz = (weight * frequency_hz[np.clip(near, 0, last)]).sum(axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, centroid_hz, frequency_hz[path])
