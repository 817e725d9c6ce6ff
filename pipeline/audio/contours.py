"""The course of a call's frequency."""

import numpy as np

LINK_SHARE = 0.05  # of its frequency: how far a contour may move in a frame before it counts as a jump
LARGEST_GAP = 2  # frames without a peak that a contour may bridge
FEWEST_POINTS = 3  # peaks that link to fewer others are noise
LEAST_SALIENCY = 1.5  # noise SDs
NEAR_BINS = 3  # a peak of saliency is that near to the loudest bin
CENTROID_BINS = 2


def trace_contour(
    *, saliency: np.ndarray, excess: np.ndarray, frequency_hz: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Frames that the contour covers, shape (n,), its frequency there, Hz, shape (n,), and its number of jumps.

    `saliency` (n_frames, n_bins) is in noise SDs, `excess` (n_frames, n_bins) the power above the noise. Each frame's
    most salient bin is a point; points that link to at least FEWEST_POINTS make up the contour. The frequency is the
    centroid of the excess power around the loudest bin near the point. Where nothing is salient, it is the most
    salient frame.
    """
    peak_bin = saliency.argmax(axis=1)
    highest = saliency[np.arange(len(peak_bin)), peak_bin]
    frames = np.flatnonzero(highest >= LEAST_SALIENCY)
    frames, n_points = _linked(frames, frequency_hz[peak_bin[frames]])
    if not len(frames):
        frames = highest.argmax()[None]
        return frames, _centroids(excess[frames], peak_bin[frames], frequency_hz), 0
    contour_hz = _centroids(excess[frames], peak_bin[frames], frequency_hz)
    joints = n_points.cumsum()[:-1]
    moves = np.abs(contour_hz[joints] / contour_hz[joints - 1] - 1)
    return frames, contour_hz, int((moves > LINK_SHARE).sum())


def _linked(frames: np.ndarray, point_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the contour in order, shape (n,), and how many each of its pieces has, shape (n_pieces,)."""
    # A point that links to neither neighbour is noise within a gap; without it the contour may go on.
    apart = _apart(frames, point_hz)
    linked = ~(apart[1:] & apart[:-1])
    frames, point_hz = frames[linked], point_hz[linked]
    edges = np.flatnonzero(_apart(frames, point_hz))
    n_points = edges[1:] - edges[:-1]
    enough = n_points >= FEWEST_POINTS
    return frames[np.repeat(enough, n_points)], n_points[enough]


def _apart(frames: np.ndarray, point_hz: np.ndarray) -> np.ndarray:
    """Whether each point does not link to the one before it, bool, shape (n + 1,): nothing links to the ends."""
    apart = np.ones(len(frames) + 1, bool)
    gap, move_hz = frames[1:] - frames[:-1], np.abs(point_hz[1:] - point_hz[:-1])
    apart[1:-1] = (gap > LARGEST_GAP + 1) | (move_hz > LINK_SHARE * gap * point_hz[:-1])
    return apart


def _centroids(excess: np.ndarray, point: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Centroid of the excess power around the loudest bin near each point, Hz, shape (n_frames,)."""
    every, last = np.arange(len(point)), len(frequency_hz) - 1
    rows = every[:, None]
    near = np.minimum(np.maximum(point[:, None] + np.arange(-NEAR_BINS, NEAR_BINS + 1), 0), last)
    around = excess[rows, near]
    loudest = around.argmax(axis=1)
    centre = np.where(around[every, loudest] > 0, near[every, loudest], point)
    near = centre[:, None] + np.arange(-CENTROID_BINS, CENTROID_BINS + 1)
    held = np.minimum(np.maximum(near, 0), last)
    weight = excess[rows, held] * (near == held)
    total = weight.sum(axis=1)
    centroid_hz = (weight * frequency_hz[held]).sum(axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, centroid_hz, frequency_hz[point])
