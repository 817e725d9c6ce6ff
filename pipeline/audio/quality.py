"""Stretches of sound that say nothing: clipped, dropped out, or not a number."""

import numpy as np

CLIPPED_RUN = 3  # equal samples in a row at full scale; one or two may be the tip of a wave
DROPOUT_S = 0.005  # a microphone is never exactly constant for so long
NEARLY = 0.999


class QualityWatch:
    """Marks the frames that touch a bad stretch, while the sound passes block by block.

    Frame i spans the samples [i hop, i hop + window). `usable` has shape (n_frames,).
    """

    def __init__(self, *, n_frames: int, n_window: int, n_hop: int, rate_hz: float, full_scale: float):
        self.usable = np.ones(n_frames, bool)
        self._n_window, self._n_hop = n_window, n_hop
        self._limit = NEARLY * full_scale
        self._dropout_run = max(round(DROPOUT_S * rate_hz), 2 * CLIPPED_RUN)
        self._tail = np.empty(0, np.float32)
        self._first_sample = 0  # of the tail

    def see(self, block: np.ndarray) -> None:
        """Take the next samples; not-a-number samples of `block` are set to 0 in place."""
        invalid = ~np.isfinite(block)
        if invalid.any():
            start = self._first_sample + len(self._tail)
            self._mark(start + _runs(invalid, 1))
            block[invalid] = 0
        samples = np.concatenate([self._tail, block])
        same = samples[1:] == samples[:-1]
        if np.abs(block).max(initial=0) >= self._limit:
            flat = same & (np.abs(samples[1:]) >= self._limit)
            self._mark(self._first_sample + _runs(flat, CLIPPED_RUN - 1) + [0, 1])
        if _may_hold_run(same, self._dropout_run - 1):
            self._mark(self._first_sample + _runs(same, self._dropout_run - 1) + [0, 1])
        kept = min(len(samples), self._dropout_run)
        self._first_sample += len(samples) - kept
        self._tail = samples[len(samples) - kept :]

    def _mark(self, spans: np.ndarray) -> None:
        first = np.maximum((spans[:, 0] - self._n_window) // self._n_hop + 1, 0)
        stop = (spans[:, 1] - 1) // self._n_hop + 1
        for i, j in zip(first, stop, strict=True):
            self.usable[i:j] = False


def _runs(flags: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of true of at least `shortest`, as [start, stop), shape (n_runs, 2)."""
    steps = np.diff(flags.astype(np.int8), prepend=0, append=0)
    spans = np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)
    return spans[spans[:, 1] - spans[:, 0] >= shortest]


def _may_hold_run(flags: np.ndarray, length: int) -> bool:
    """Whether a run of `length` is possible: it would fill an aligned piece of half its length. Cheap."""
    piece = max(length // 2, 1)
    whole = len(flags) // piece * piece
    return bool(flags[:whole].reshape(-1, piece).all(axis=1).any())
