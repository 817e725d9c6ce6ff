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
    pieces = _linked(frames, frequency_hz[peak_bin[frames]])
    if not pieces:
        frames = highest.argmax()[None]
        return frames, _centroids(excess[frames], peak_bin[frames], frequency_hz), 0
    frames = np.concatenate(pieces)
    contour_hz = _centroids(excess[frames], peak_bin[frames], frequency_hz)
    joints = np.cumsum([len(piece) for piece in pieces])[:-1]
    moves = np.abs(contour_hz[joints] / contour_hz[joints - 1] - 1)
    return frames, contour_hz, int((moves > LINK_SHARE).sum())


def _linked(frames: np.ndarray, point_hz: np.ndarray) -> list[np.ndarray]:
    """Frames of each piece of the contour, in order."""
    if not len(frames):
        return []
    # A point that links to neither neighbour is noise within a gap; without it the contour may go on.
    apart = np.r_[True, _apart(frames, point_hz), True]
    linked = ~(apart[1:] & apart[:-1])
    frames, point_hz = frames[linked], point_hz[linked]
    pieces = np.split(frames, np.flatnonzero(_apart(frames, point_hz)) + 1)
    return [piece for piece in pieces if len(piece) >= FEWEST_POINTS]


def _apart(frames: np.ndarray, point_hz: np.ndarray) -> np.ndarray:
    """Whether each point and the next do not link, bool, shape (n - 1,)."""
    gap = np.diff(frames)
    return (gap > LARGEST_GAP + 1) | (np.abs(np.diff(point_hz)) > LINK_SHARE * gap * point_hz[:-1])


def _centroids(excess: np.ndarray, point: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Centroid of the excess power around the loudest bin near each point, Hz, shape (n_frames,)."""
    rows, last = np.arange(len(point))[:, None], len(frequency_hz) - 1
    near = np.clip(point[:, None] + np.arange(-NEAR_BINS, NEAR_BINS + 1), 0, last)
    loudest = near[rows[:, 0], excess[rows, near].argmax(axis=1)]
    centre = np.where(excess[rows, near].any(axis=1), loudest, point)
    near = centre[:, None] + np.arange(-CENTROID_BINS, CENTROID_BINS + 1)
    weight = np.where((near >= 0) & (near <= last), excess[rows, np.clip(near, 0, last)], 0)
    total = weight.sum(axis=1)
    centroid_hz = (weight * frequency_hz[np.clip(near, 0, last)]).sum(axis=1) / np.where(total > 0, total, 1)
    return np.where(total > 0, centroid_hz, frequency_hz[point])
