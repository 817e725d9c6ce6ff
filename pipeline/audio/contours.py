"""The course of a call's frequency: the most salient path through its frames."""

import numpy as np
from scipy.ndimage import grey_dilation

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
    return frames, np.array([_centroid(excess[i], bins[i], frequency_hz) for i in frames])


def _free_bins(frequency_hz: np.ndarray) -> int:
    middle = len(frequency_hz) // 2
    spacing_hz = frequency_hz[middle] - frequency_hz[middle - 1]
    return int(np.clip(round(FREE_STEP * frequency_hz[middle] / spacing_hz), 1, len(frequency_hz) - 1))


def _best_path(saliency: np.ndarray, free_bins: int) -> np.ndarray:
    """Bin of each frame on the path of highest summed saliency, shape (n_frames,)."""
    n_frames, n_bands = saliency.shape
    gain = np.minimum(saliency, LARGEST_SALIENCY)
    near = -STEP_COST * np.abs(np.arange(-free_bins, free_bins + 1.0))
    total = np.empty_like(gain)  # of the best path that ends in each bin
    total[0] = gain[0]
    for i in range(1, n_frames):
        stay = grey_dilation(total[i - 1], structure=near, mode="nearest")
        total[i] = gain[i] + np.maximum(stay, total[i - 1].max() - JUMP_COST)
    path = np.empty(n_frames, int)
    path[-1] = total[-1].argmax()
    every = np.arange(n_bands)
    for i in range(n_frames - 1, 0, -1):
        distance = np.abs(every - path[i])
        cost = np.where(distance <= free_bins, STEP_COST * distance, JUMP_COST)
        path[i - 1] = (total[i - 1] - cost).argmax()
    return path


def _centroid(excess: np.ndarray, peak: int, frequency_hz: np.ndarray) -> float:
    near = slice(max(peak - CENTROID_BINS, 0), peak + CENTROID_BINS + 1)
    weight = excess[near].sum()
    return float(excess[near] @ frequency_hz[near] / weight) if weight > 0 else float(frequency_hz[peak])
