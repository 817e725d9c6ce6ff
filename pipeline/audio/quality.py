"""Stretches of sound that say nothing: clipped, dropped out, or not a number."""

import numpy as np

CLIPPED_RUN = 3  # equal samples in a row at full scale; one or two may be the tip of a wave
DROPOUT_S = 0.005  # a microphone is never exactly constant for so long
NEARLY = 0.999
LARGEST = 1e15  # no sound, in any unit; keeps its square finite
PROBES = 16  # of a dropout: samples that all must be equal before every sample is looked at


class QualityWatch:
    """Marks the frames that touch a bad stretch, while the sound passes block by block.

    Frame i spans the samples [i hop, i hop + window); `usable` has shape (n_frames,). `full_scale` is in the unit of
    the samples. `n_invalid` counts the samples that are no numbers; `clipped` and `dropped` tell whether there were
    such stretches.
    """

    def __init__(self, *, n_frames: int, n_window: int, n_hop: int, rate_hz: float, full_scale: float):
        self.usable = np.ones(n_frames, bool)
        self.n_invalid, self.clipped, self.dropped = 0, False, False
        self._n_window, self._n_hop = n_window, n_hop
        self._limit = NEARLY * full_scale
        self._dropout_run = max(round(DROPOUT_S * rate_hz), 2 * CLIPPED_RUN)
        self._step = max(self._dropout_run // PROBES, 1)
        self._tail, self._next = np.empty(0, np.float32), None

    def see(self, block: np.ndarray, start: int) -> None:
        """Take the samples from `start` on, int16 or float32; those that are no numbers are set to 0 in place.

        Where `start` is not the end of the block before it, there is a gap between them.
        """
        if start != self._next:
            self._tail = block[:0]
        if block.dtype.kind == "f":
            self._drop_invalid(block, start)
        # All that costs a pass over the samples is done only where cheaper looks find a reason.
        loud = len(block) > 0 and (block.max() >= self._limit or block.min() <= -self._limit)
        if loud or self._may_be_constant(block):
            samples, first = np.concatenate([self._tail, block]), start - len(self._tail)
            same = samples[1:] == samples[:-1]
            if loud:
                rail = (samples[1:] >= self._limit) | (samples[1:] <= -self._limit)
                spans = _runs(same & rail, CLIPPED_RUN - 1)
                self.clipped |= len(spans) > 0
                self._mark(first + spans + [0, 1])
            spans = _runs(same, self._dropout_run - 1)
            self.dropped |= len(spans) > 0
            self._mark(first + spans + [0, 1])
        kept = self._dropout_run
        self._tail = (block if len(block) >= kept else np.concatenate([self._tail, block]))[-kept:].copy()
        self._next = start + len(block)

    @property
    def reasons(self) -> str:
        """What was found, in words."""
        found = {"clipped": self.clipped, "constant": self.dropped, "not a number": self.n_invalid > 0}
        return " or ".join(name for name, there in found.items() if there) or "nothing"

    def _drop_invalid(self, block: np.ndarray, start: int) -> None:
        if block.max(initial=0) < LARGEST and block.min(initial=0) > -LARGEST:  # False for not-a-number, too
            return
        invalid = ~(np.abs(block) < LARGEST)
        self.n_invalid += int(invalid.sum())
        self._mark(start + _runs(invalid, 1))
        block[invalid] = 0

    def _may_be_constant(self, block: np.ndarray) -> bool:
        """Whether a dropout is possible: it would make many neighbouring probes equal."""
        probes = np.concatenate([self._tail[:: self._step], block[:: self._step]])
        # Probes lie at most a step apart: a run of length n holds at least n // step of them.
        same, least = probes[1:] == probes[:-1], max(self._dropout_run // self._step - 1, 1)
        return np.count_nonzero(same) >= least and len(_runs(same, least)) > 0

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
