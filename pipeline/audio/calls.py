"""Detection of calls in a stored spectrogram.

A call is a stretch in which most frames stand out of the noise and some stand out far; the noise is that of
`pipeline.audio.saliency`. Broadband clicks, level jumps and steady tones belong to the noise there.
"""

from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter1d

from pipeline.audio.saliency import Saliency, fit_saliency, odd_frames, score
from pipeline.audio.spectrogram_file import open_spectrogram

BLOCK_FRAMES = 512  # a block's arrays stay in the cache
ACTIVE_S = 0.005  # a frame is active where most of the frames so near are
PEAK_S = 0.003  # a call stays above the peak threshold for so long in all


def detect_calls(
    spectrogram_path: str | Path,
    *,
    activity_threshold: float,
    peak_threshold: float,
    merge_gap_s: float,
    min_duration_s: float,
    max_duration_s: float,
    block_frames: int = BLOCK_FRAMES,
) -> tuple[np.ndarray, np.ndarray]:
    """Find calls; returns their first and last frame centres on the audio clock, s, each of shape (n_calls,).

    Frames above `activity_threshold` (noise SDs) are joined where they are dense; stretches that reach
    `peak_threshold` and last `min_duration_s` are kept, those less than `merge_gap_s` apart are merged, and those
    longer than `max_duration_s` dropped. The result does not depend on `block_frames`.
    """
    with open_spectrogram(spectrogram_path) as spectrogram:
        if spectrogram.n_frames == 0:
            return np.empty(0), np.empty(0)
        saliency = fit_saliency(spectrogram)
        scores = _scores(saliency, block_frames)
        hop_s = spectrogram.hop_s
        spans = _active_runs(scores, activity_threshold, hop_s)
        strong = np.concatenate([[0], np.cumsum(scores > peak_threshold)])
        spans = spans[strong[spans[:, 1]] - strong[spans[:, 0]] >= max(2, round(PEAK_S / hop_s))]
        # Before merging, so that two clicks in a row do not make a call.
        spans = spans[_durations(spans, hop_s) >= min_duration_s]
        spans = _merged(spans, merge_gap_s / hop_s)
        spans = spans[_durations(spans, hop_s) <= max_duration_s]
        return spectrogram.time_s(spans[:, 0]), spectrogram.time_s(spans[:, 1] - 1)


def _scores(saliency: Saliency, block_frames: int) -> np.ndarray:
    """Saliency of every frame; one number a frame is all that is kept of the whole recording."""
    n_frames = saliency.spectrogram.n_frames
    scores = np.empty(n_frames, np.float32)
    for start in range(0, n_frames, block_frames):
        stop = min(start + block_frames, n_frames)
        scores[start:stop] = score(saliency.standardised(start, stop))
    return scores


def _active_runs(scores: np.ndarray, threshold: float, hop_s: float) -> np.ndarray:
    """Stretches where more than half of the frames within ACTIVE_S are above the threshold: [start, stop)."""
    width = odd_frames(ACTIVE_S, hop_s)
    share = uniform_filter1d((scores > threshold).astype(np.float64), width, mode="nearest")
    steps = np.diff((share > 0.5).astype(np.int8), prepend=0, append=0)
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def _durations(spans: np.ndarray, hop_s: float) -> np.ndarray:
    """Time from the first to the last frame of each span, s, rounded: sums of hops must compare equal to settings."""
    return np.round((spans[:, 1] - 1 - spans[:, 0]) * hop_s, 9)


def _merged(spans: np.ndarray, gap: float) -> np.ndarray:
    """Join stretches whose gap is below `gap` frames."""
    if not len(spans):
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] >= gap
    return np.stack([spans[np.r_[True, apart], 0], spans[np.r_[apart, True], 1]], axis=1)
