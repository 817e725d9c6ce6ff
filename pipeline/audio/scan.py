"""The noise of a recording segment by segment, and a cheap first look at where it may hold calls.

The first look takes Hann windows that overlap little, and marks the units in which power averaged over a few frames
and bins exceeds the noise by far less than any call does. It only says where the multitaper spectra are worth their
time: what is found there is the same.
"""

from bisect import bisect
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.audio.recording import Recording
from pipeline.audio.saliency import UNIT_FRAMES, Multitaper, Noise, features, fit_noise
from pipeline.audio.windows import hann_of_unit_energy

SEGMENT_S = 30.0  # the floor of each frequency follows the recording at this pace
STEADY_OF_LONGEST = 2.5  # a tone that lasts longer than half of this times the longest call belongs to the floor
FEWEST_STEADY = 31  # units; the median of fewer frames is itself noise
SEED_RATIO = 6.0  # power over the noise, averaged over 3 frames and 3 bins; the faintest calls that are found reach 9.4
SCAN_HOPS = 3  # from one window of the first look to the next, hops of the multitaper spectra
SCAN_FRAMES = 256  # a block's arrays stay in the cache
N_KEPT = 256  # segments whose noise is kept, of some kB each: two hours
N_UNITS_KEPT = 256  # units whose features are kept, of some 20 kB each: calls are measured soon after they are found
CHUNK_UNITS = 64  # units that are read at once
MEAN_AMPLITUDE = np.sqrt(np.pi) / 2  # of complex noise of unit variance


@dataclass(frozen=True)
class Segment:
    """Units [start, stop) with the noise of their analysed range and of the sound below it; None where none is."""

    start: int
    stop: int
    noise: Noise | None
    below: Noise | None
    seeds: np.ndarray  # (n_units,) bool: may hold a call


class Scan:
    """Segments of a recording, computed when asked for, for calls between `low_hz` and `high_hz`.

    `window_s` is the length of the analysis window (rounded to a number of samples that transforms quickly); tones
    that last much longer than `longest_call_s` count as noise. With `everywhere` each unit is a seed.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        low_hz: float,
        high_hz: float,
        window_s: float,
        longest_call_s: float,
        everywhere: bool = False,
    ):
        quantum = recording.sources[0].quantum
        multitaper = Multitaper(
            rate_hz=recording.rate_hz, window_s=window_s, low_hz=low_hz, high_hz=high_hz, quantum=quantum
        )
        self.recording, self.multitaper, self.everywhere = recording, multitaper, everywhere
        self.n_frames = max((recording.n_samples - multitaper.n_window) // multitaper.n_hop + 1, 0)
        self.n_units = -(-self.n_frames // UNIT_FRAMES)
        unit_s = multitaper.unit_samples / recording.rate_hz
        self.n_segments = max(round(self.n_units * unit_s / SEGMENT_S), min(self.n_units, 1))
        self._edges = np.linspace(0, self.n_units, self.n_segments + 1).astype(int).tolist()
        steady_s = min(STEADY_OF_LONGEST * longest_call_s, SEGMENT_S)
        self._n_steady = max(2 * round(steady_s / unit_s / 2) + 1, FEWEST_STEADY)
        self._stretches = np.array(recording.stretches).T
        self.segment = lru_cache(maxsize=N_KEPT)(self._segment)
        self._features: dict[int, np.ndarray] = {}  # of units, the oldest first
        # First sample and samples of what was read last; what is found is measured a little later.
        self._reads: deque[tuple[int, np.ndarray]] = deque(maxlen=2)

    @property
    def hop_s(self) -> float:
        return self.multitaper.n_hop / self.recording.rate_hz

    @property
    def first_s(self) -> float:
        """Centre of the first frame, s on the audio clock."""
        return self.recording.start_s + self.multitaper.n_window / 2 / self.recording.rate_hz

    def segment_of(self, unit: int) -> Segment:
        return self.segment(bisect(self._edges, unit) - 1)

    def samples(self, start: int, stop: int) -> np.ndarray:
        """Samples behind units [start, stop) and one frame on either side; mirrored where the recording ends."""
        first, last = self._span(start, stop)
        for begin, samples in self._reads:
            if begin <= first <= last <= begin + len(samples):
                return samples[first - begin : last - begin]
        self._reads.append(self._mirrored(*self._span(start, max(stop, min(start + CHUNK_UNITS, self.n_units)))))
        return self.samples(start, stop)

    def _span(self, start: int, stop: int) -> tuple[int, int]:
        """Samples [first, last) behind units [start, stop) and one frame on either side."""
        tool = self.multitaper
        first = start * tool.unit_samples - tool.n_hop
        return first, first + tool.span_samples(stop - start)

    def _mirrored(self, first: int, last: int) -> tuple[int, np.ndarray]:
        samples, n_samples = self.recording.read(first, last - first), self.recording.n_samples
        before, after = max(-first, 0), max(last - n_samples, 0)
        if before:
            samples[:before] = samples[2 * before : before : -1]
        if after:
            end = len(samples) - after
            samples[end:] = samples[end - 2 : end - 2 - after : -1]
        return first, samples

    def look(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Of up to UNITS_AT_ONCE units of a segment with known noise, levels and `features`, each unit by unit.

        Levels of the frames and of one on either side, dB, (n_units, SPAN_FRAMES, n_bins); features, noise SDs,
        (n_units, UNIT_FRAMES, n_bins in the range).
        """
        tool, units = self.multitaper, np.arange(start, stop)
        levels = tool.unit_levels(self.samples(start, stop))
        saliency = features(self.segment_of(start).noise.standardised(levels[..., tool.band], units))
        self._features.update(zip(units.tolist(), saliency, strict=True))
        while len(self._features) > N_UNITS_KEPT:
            del self._features[next(iter(self._features))]
        return levels, saliency

    def features(self, unit: int) -> np.ndarray:
        """`features` of a unit with known noise, (UNIT_FRAMES, n_bins in the range). To be read, not changed."""
        kept = self._features.get(unit)
        return self.look(unit, unit + 1)[1][0] if kept is None else kept

    def has_sound(self, frames: np.ndarray) -> np.ndarray:
        """Whether frames lie within one stretch of sound without a gap, bool, shape of `frames`."""
        first = frames * self.multitaper.n_hop
        starts, stops = self._stretches
        stretch = np.maximum(np.searchsorted(starts, first, "right") - 1, 0)
        return (first >= starts[stretch]) & (first + self.multitaper.n_window <= stops[stretch])

    def _segment(self, k: int) -> Segment:
        tool, start, stop = self.multitaper, self._edges[k], self._edges[k + 1]
        # Tones that last beyond the segment's edges must be known as such up to them.
        halo = self._n_steady // 2 + 1
        first, last = max(start - halo, 0), min(stop + halo, self.n_units)
        units = np.arange(first, last)
        sound = self.has_sound(UNIT_FRAMES * units + UNIT_FRAMES // 2)
        inner = sound & (units >= start) & (units < stop)
        if not inner.any():
            return Segment(start, stop, None, None, np.zeros(stop - start, bool))
        samples = self.samples(first, last)
        middle = sliding_window_view(samples, tool.n_window)[(1 + UNIT_FRAMES // 2) * tool.n_hop :: tool.unit_samples]
        levels = tool.frame_levels(middle[: len(units)])
        ranges = (tool.band, tool.below)
        fits = [
            None
            if bins is None
            else fit_noise(levels[:, bins], sound=sound, inner=inner, first_unit=first, n_steady=self._n_steady)
            for bins in ranges
        ]
        if self.everywhere:
            seeds = np.ones(stop - start, bool)
        else:
            offset = (start - first) * tool.unit_samples
            seeds = self._seeds(samples[offset:], fits[0], start, stop)
        return Segment(start, stop, *fits, seeds)

    def _seeds(self, samples: np.ndarray, noise: Noise, start: int, stop: int) -> np.ndarray:
        """Units of [start, stop) that may hold a call; `samples` as of `samples(start, ...)`."""
        tool = self.multitaper
        n_window, n_hop, n_units = tool.n_window, SCAN_HOPS * tool.n_hop, stop - start
        windows = sliding_window_view(samples, n_window)[: n_units * tool.unit_samples + n_hop : n_hop]
        window = hann_of_unit_energy(n_window)
        per_noise = (MEAN_AMPLITUDE**2 * 10 ** (-noise.floor_db / 10)).astype(np.float32)
        steady = 10 ** (-noise.steady_db / 10)
        frames = np.empty((SCAN_FRAMES + 2, n_window), np.float32)
        score = np.empty(len(windows), np.float32)
        for i in range(0, len(windows), SCAN_FRAMES):
            before, after = max(i - 1, 0), min(i + SCAN_FRAMES + 1, len(windows))
            n = after - before
            np.multiply(windows[before:after], window, out=frames[:n])
            ratio = np.abs(scipy.fft.rfft(frames[:n], axis=1, workers=1)[:, tool.bins][:, tool.band])
            ratio *= ratio
            ratio *= per_noise
            if len(noise.steady_bins):
                unit = start + np.arange(before, after) * n_hop // tool.unit_samples
                unit = np.minimum(unit, noise.first_unit + len(steady) - 1)
                ratio[:, noise.steady_bins] *= steady[unit - noise.first_unit]
            score[i : i + SCAN_FRAMES] = _peak_ratio(ratio)[i - before : i - before + SCAN_FRAMES]
        # Frame j is centred on this sample after the start of the first unit (whose frame before it comes first).
        centre = np.flatnonzero(score > SEED_RATIO) * n_hop + n_window // 2 - tool.n_hop
        margin = tool.n_window
        seeds = np.zeros(n_units + 1, np.int64)
        np.add.at(seeds, np.clip((centre - margin) // tool.unit_samples, 0, n_units), 1)
        np.add.at(seeds, np.clip((centre + margin) // tool.unit_samples + 1, 0, n_units), -1)
        return np.cumsum(seeds)[:-1] > 0


def _peak_ratio(ratio: np.ndarray) -> np.ndarray:
    """Highest power of each frame over 3 frames and 3 bins, over the level of the whole frame; power over noise."""
    over_time = ratio.copy()
    over_time[1:] += ratio[:-1]
    over_time[:-1] += ratio[1:]
    smooth = over_time[:, :-2] + over_time[:, 1:-1]
    smooth += over_time[:, 2:]
    highest = smooth.max(axis=1)
    # The harmonic mean follows the level of broadband noise and does not see what stands out.
    np.maximum(smooth, np.float32(1e-6), out=smooth)
    np.reciprocal(smooth, out=smooth)
    return highest * smooth.mean(axis=1)
