"""Detection of calls in the sound of a recording.

A call is a stretch in which most frames stand out of the noise (`pipeline.audio.saliency`), some stand out far, and
the frequency that stands out most moves steadily. Frames that are too wide (clicks, noise) do not count, nor do those
with louder sound far below the range, whose overtones reach into it (squeaks).
"""

from collections.abc import Iterator

import numpy as np

from pipeline.audio.saliency import UNIT_FRAMES, UNITS_AT_ONCE, features
from pipeline.audio.scan import Scan

ACTIVE_FRAMES = 11  # a frame is active where most of so many around it stand out
HALF = ACTIVE_FRAMES // 2
PEAK_FRAMES = 10  # a call stays above the peak threshold for so long in all; bursts of clicks hardly do
TAIL_SD = 16.0  # the edges of a call are where it last comes so near to its peak: echoes are fainter
LINK_BINS = 4  # the peak moves no more from frame to frame of a call
LEAST_LINKED = 0.75  # of the frames of a call; noise and bursts of clicks are linked by chance, every second one
PRESENT_SD = 1.5
WIDEST = 0.4  # share of the range that stands out at once in a call
SQUEAK_FRAMES = 6  # of a unit that stand out; fewer are not worth a look below the range
SQUEAK_SHARE = 0.3  # of the frames of a run; fewer are chance
REMNANT_FRAMES = 24  # of a call beside a squeak; fewer are the squeak's own edge
SQUEAK_SD = 2.5  # what stands out so far below the range and is louder makes overtones in it
OUTSIDE = np.float32(0)  # saliency of frames that are not analysed


def detect_calls(
    scan: Scan,
    *,
    activity_threshold: float,
    peak_threshold: float,
    merge_gap_s: float,
    min_duration_s: float,
    max_duration_s: float,
) -> Iterator[tuple[float, float]]:
    """Find calls; yields their first and last frame centres on the audio clock, s, in the order of time.

    Frames above `activity_threshold` (noise SDs) are joined where they are dense; stretches that reach
    `peak_threshold` are kept, those less than `merge_gap_s` apart are merged unless the whole would last longer than
    `max_duration_s`, and those shorter than `min_duration_s` or longer than `max_duration_s` are dropped.
    """
    hop_s = scan.hop_s
    for start, stop in _merged(scan, _RunFinder(activity_threshold, peak_threshold), merge_gap_s, max_duration_s):
        if min_duration_s <= _lasts(start, stop, hop_s) <= max_duration_s:
            yield scan.first_s + hop_s * start, scan.first_s + hop_s * (stop - 1)


def _merged(scan: Scan, finder: "_RunFinder", merge_gap_s: float, max_duration_s: float) -> Iterator[tuple[int, int]]:
    """Runs of frames [start, stop), those that nearly touch as one."""
    last = None
    for start, stop in _runs(scan, finder):
        near = last is not None and (start - last[1]) * scan.hop_s < merge_gap_s
        if near and _lasts(last[0], stop, scan.hop_s) <= max_duration_s:
            last = (last[0], stop)
            continue
        if last is not None:
            yield last
        last = (start, stop)
    if last is not None:
        yield last


def _lasts(start: int, stop: int, hop_s: float) -> float:
    """From the first to the last frame, s, rounded: sums of hops must compare equal to settings."""
    return round((stop - 1 - start) * hop_s, 9)


def _runs(scan: Scan, finder: "_RunFinder") -> Iterator[tuple[int, int]]:
    """Runs of all units that may hold calls and of their neighbours, as far as what is found there reaches."""
    done = 0  # units before this one are over
    for k in range(scan.n_segments):
        segment = scan.segment(k)
        for start, stop in (segment.start + _spans(segment.seeds)).tolist():
            while max(start, done) < stop:
                first = max(start, done)
                last = min(first + UNITS_AT_ONCE, stop)
                parts = [_scored(scan, first, last)]
                # What comes before `done` has ended there, so that nothing beyond it belongs to this run.
                while first > done and finder.active(parts[0][0][:UNIT_FRAMES])[: HALF + 1].any():
                    first -= 1
                    parts.insert(0, _scored(scan, first, first + 1))
                yield from finder.push(first * UNIT_FRAMES, *map(np.concatenate, zip(*parts, strict=True)))
                done = last
            while done < scan.n_units and finder.is_open:
                yield from finder.push(done * UNIT_FRAMES, *_scored(scan, done, done + 1))
                done += 1
    yield from finder.finish()


def _scored(scan: Scan, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each frame of units of one segment its saliency, the bin of that, and if it squeaks; each (n_frames,).

    Saliency is 0 where a frame cannot belong to a call.
    """
    tool, segment = scan.multitaper, scan.segment_of(start)
    frames = np.arange(start * UNIT_FRAMES, stop * UNIT_FRAMES)
    sound = (scan.has_sound(frames) & (frames < scan.n_frames)).reshape(-1, UNIT_FRAMES)
    squeaks = np.zeros(sound.shape, bool)
    if segment.noise is None or not sound.any():
        return np.full(len(frames), OUTSIDE), np.zeros(len(frames), int), squeaks.ravel()
    levels, reached = scan.look(start, stop)
    peak_bin, saliency = reached.argmax(axis=2), reached.max(axis=2)
    wide = np.count_nonzero(reached > PRESENT_SD, axis=2) > WIDEST * reached.shape[2]
    saliency[wide | ~sound] = OUTSIDE
    peak_bin[~sound.any(axis=1)] = 0
    # Not for noise, where it would take a good part of the time.
    loud = np.flatnonzero((saliency > SQUEAK_SD).sum(axis=1) >= SQUEAK_FRAMES)
    if segment.below is not None and len(loud):
        below = features(segment.below.standardised(levels[loud, :, tool.below], start + loud))
        low_bin, inner = tool.below.start + below.argmax(axis=2), np.arange(1, UNIT_FRAMES + 1)
        unit = loud[:, np.newaxis]
        louder = levels[unit, inner, low_bin] > levels[unit, inner, tool.band.start + peak_bin[loud]]
        squeaks[loud] = louder & (below.max(axis=2) > SQUEAK_SD)
    return saliency.ravel(), peak_bin.ravel(), squeaks.ravel()


class _RunFinder:
    """Finds runs of active frames in a stream of units; frames that never come count as silent.

    Only the frames since the last inactive one are kept.
    """

    def __init__(self, activity_threshold: float, peak_threshold: float):
        self._activity, self._peak = activity_threshold, peak_threshold
        self._first = 0  # frame of saliency[0]
        self._saliency, self._bin, self._squeaks = np.empty(0, np.float32), np.empty(0, int), np.empty(0, bool)
        self._known = 0  # frames before this one are context only
        self.is_open = False  # whether a run may go on after the last frame

    def active(self, saliency: np.ndarray) -> np.ndarray:
        """Whether most frames around each one stand out, bool, shape (n_frames,)."""
        summed = np.zeros(len(saliency) + ACTIVE_FRAMES, np.int64)
        np.cumsum(saliency > self._activity, out=summed[HALF + 1 : len(summed) - HALF])
        summed[len(summed) - HALF :] = summed[-HALF - 1]
        return summed[ACTIVE_FRAMES:] - summed[:-ACTIVE_FRAMES] > HALF

    def push(
        self, first: int, saliency: np.ndarray, peak_bin: np.ndarray, squeaks: np.ndarray
    ) -> Iterator[tuple[int, int]]:
        """Take the frames of the next units; yields the runs that are over."""
        if first != self._first + len(self._saliency):
            yield from self.finish()
            self._first = first
        self._saliency = np.concatenate([self._saliency, saliency])
        self._bin = np.concatenate([self._bin, peak_bin])
        self._squeaks = np.concatenate([self._squeaks, squeaks])
        active = self.active(self._saliency)
        active[: self._known] = False
        self.is_open = bool(active[-HALF - 1 :].any())
        settled = np.flatnonzero(~active[: len(active) - HALF])
        if not len(settled):
            return
        over = settled[-1]
        yield from self._found(active[:over])
        # The frames up to the last inactive one are over; the HALF before it are context.
        kept = max(over - HALF, 0)
        self._known = over - kept
        self._first += kept
        self._saliency, self._bin, self._squeaks = self._saliency[kept:], self._bin[kept:], self._squeaks[kept:]

    def finish(self) -> Iterator[tuple[int, int]]:
        """Yields the runs that are left; what comes next is not connected."""
        active = self.active(self._saliency)
        active[: self._known] = False
        yield from self._found(active)
        self._first += len(self._saliency)
        self._saliency, self._bin, self._squeaks = self._saliency[:0], self._bin[:0], self._squeaks[:0]
        self._known = 0

    def _found(self, active: np.ndarray) -> Iterator[tuple[int, int]]:
        if not active.any():
            return
        for start, stop in _spans(active):
            squeaks = self._squeaks[start:stop]
            pieces = np.array([[start, stop]])
            if squeaks.mean() > SQUEAK_SHARE:
                pieces = start + _spans(~squeaks)
                pieces = pieces[pieces[:, 1] - pieces[:, 0] >= REMNANT_FRAMES]
            for first, last in pieces:
                saliency, bins = self._saliency[first:last], self._bin[first:last]
                linked = np.abs(np.diff(bins)) <= LINK_BINS
                if (saliency > self._peak).sum() >= PEAK_FRAMES and linked.mean() >= LEAST_LINKED:
                    near = first + np.flatnonzero(saliency > saliency.max() - TAIL_SD)
                    yield self._first + int(near[0]), self._first + int(near[-1]) + 1


def _spans(flags: np.ndarray) -> np.ndarray:
    """Runs of true as [start, stop), shape (n_runs, 2)."""
    framed = np.zeros(len(flags) + 2, bool)
    framed[1:-1] = flags
    return np.flatnonzero(framed[1:] != framed[:-1]).reshape(-1, 2)
