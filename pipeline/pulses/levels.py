"""The two levels of a channel of pulses, and the onsets in it; read block by block, whatever its length.

The rest level is where the channel is most of the time, the pulse level the other one, be it higher or lower. Pulses
may fill as little as a millionth of the time, so that neither quantiles nor the variance find their level: values are
counted in a histogram, and the threshold is Otsu's (1979, IEEE Trans. Syst. Man Cybern. 9:62) on the logarithms of the
counts, in which rare and frequent levels weigh alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

N_BINS = 4096  # of the histogram; even, since neighbours are merged as the range grows
LARGEST = 1e30  # beyond it a sample is no measurement
CORE = 0.25  # the rest level is the centre of the narrowest range that holds this share of the samples
SIDES_ALIKE = 1.5  # of two excursions from rest that are alike by this factor, the upper one is the pulse
COMMON = 0.4  # a level that lasts longer than this share of the time is no rarer than the other: the high one counts
LEAST_CONTRAST = 5.0  # of the levels, in standard deviations of the rest level
MOST_BETWEEN = 10.0  # times as many samples between the levels as at the pulse level: no levels, but a waveform
LOW, MIDDLE, HIGH = 0.25, 0.5, 0.75  # a pulse starts at the middle, once it came from below low and goes above high


@dataclass(frozen=True)
class Levels:
    """Values of a channel at rest and in a pulse; `share`: of the time that the channel is in a pulse."""

    rest: float
    pulse: float
    share: float

    def towards(self, edge: str) -> "Levels":
        """The levels for which onsets are edges of one kind: "rising", "falling", or "" (onsets of pulses)."""
        backwards = edge and (self.pulse > self.rest) != (edge == "rising")
        return Levels(self.pulse, self.rest, 1 - self.share) if backwards else self


class Histogram:
    """Counts of values over a range that doubles as values beyond it come; memory does not grow."""

    def __init__(self):
        self._low, self._width = 0.0, 0.0
        self._counts = np.zeros(N_BINS)
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        values = values[np.abs(values) < LARGEST]  # drops NaN as well
        if not len(values):
            return
        low, high = float(values.min()), float(values.max())
        if not self._width:
            self._low, self._width = low, max(high - low, abs(low) * 1e-6, 1e-12) / (N_BINS - 1)
        while low < self._low:
            self._low -= N_BINS * self._width
            self._double(at=N_BINS // 2)
        while high >= self._low + N_BINS * self._width:
            self._double(at=0)
        self.low, self.high = min(self.low, low), max(self.high, high)
        bins = ((values.astype(np.float64) - self._low) / self._width).astype(np.intp)
        self._counts += np.bincount(np.clip(bins, 0, N_BINS - 1), minlength=N_BINS)

    def _double(self, *, at: int) -> None:
        merged = self._counts.reshape(-1, 2).sum(axis=1)
        self._counts = np.zeros(N_BINS)
        self._counts[at : at + N_BINS // 2] = merged
        self._width *= 2

    def levels(self) -> Levels | None:
        """The two levels, or None where the values do not lie at two."""
        if self.high <= self.low:
            return None
        filled = np.flatnonzero(self._counts)
        counts = self._counts[filled]
        values = np.clip(self._low + (filled + 0.5) * self._width, self.low, self.high)
        centre = _centre(values, counts)
        above = _threshold(values, counts, values >= centre)
        below = _threshold(values, counts, values <= centre)
        sides = []
        for limit, sign in ((above, 1), (below, -1)):
            beyond = (values - limit) * sign > 0
            if np.isfinite(limit) and beyond.any() and not beyond.all():
                rest = _median(values[~beyond], counts[~beyond])
                sides.append((_median(values[beyond], counts[beyond]), rest, beyond, sign))
        if not sides:
            return None
        pulse, rest, beyond, sign = sides[0]
        if len(sides) == 2 and abs(sides[1][0] - sides[1][1]) > SIDES_ALIKE * abs(pulse - rest):
            pulse, rest, beyond, sign = sides[1]
        spread = 1.4826 * _median(np.abs(values - rest)[~beyond], counts[~beyond])
        height = (values - rest) / (pulse - rest)
        between = counts[(height > LOW) & (height < HIGH)].sum()
        in_pulse = counts[height >= HIGH].sum()
        if abs(pulse - rest) < LEAST_CONTRAST * max(spread, 0.5 * self._width) or between > MOST_BETWEEN * in_pulse:
            return None
        share = float(counts[height >= MIDDLE].sum() / counts.sum())
        if share > COMMON and sign < 0:  # both levels are common: the high one is the pulse
            return Levels(rest=pulse, pulse=rest, share=1 - share)
        return Levels(rest=rest, pulse=pulse, share=share)


def _centre(values: np.ndarray, counts: np.ndarray) -> float:
    """Middle of the narrowest range with CORE of all samples (the shorth of a quarter)."""
    sums = np.r_[0.0, np.cumsum(counts)]
    last = np.searchsorted(sums, sums[:-1] + CORE * sums[-1] * (1 - 1e-12)) - 1
    possible = last < len(values)
    first, last = np.flatnonzero(possible), last[possible]
    narrowest = np.argmin(values[last] - values[first])
    return float(values[first[narrowest]] + values[last[narrowest]]) / 2


def _threshold(values: np.ndarray, counts: np.ndarray, side: np.ndarray) -> float:
    """Otsu's threshold of the values on one side of the rest level, by the logarithms of the counts; NaN: none."""
    values, weights = values[side], np.log1p(counts[side])
    if len(values) < 2:
        return np.nan
    lower = np.cumsum(weights)[:-1]
    upper = weights.sum() - lower
    sums = np.cumsum(weights * values)
    apart = sums[:-1] / lower - (sums[-1] - sums[:-1]) / upper
    best = int(np.argmax(lower * upper * apart**2))
    return float(values[best] + values[best + 1]) / 2


def _median(values: np.ndarray, counts: np.ndarray) -> float:
    order = np.argsort(values)
    sums = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


def onsets(blocks: Iterable[np.ndarray], *, levels: Levels) -> Iterable[np.ndarray]:
    """Yield onsets of pulses as fractional sample numbers, one array a block.

    `blocks`: samples in order, each Shape (n_samples,). An onset is where the straight line between two samples
    crosses the middle between the levels; a pulse that is on at the first sample has none.
    """
    scale = np.float32(1 / (levels.pulse - levels.rest))
    offset = np.float32(levels.rest)
    height = np.empty(0, np.float32)
    n_before = 0  # samples before the first of `height`
    armed, crossing = False, np.nan
    for block in blocks:
        carried = height[-1:]
        n_before += max(len(height) - 1, 0)
        height = np.empty(len(carried) + len(block), np.float32)
        height[: len(carried)] = carried
        np.multiply(block - offset, scale, out=height[len(carried) :])
        if not len(carried) and len(height):
            armed = bool(height[0] < LOW)
        if len(height) < 2:
            continue
        if height.max() < LOW:
            armed = True
            continue
        before, after = height[:-1], height[1:]
        middles = np.flatnonzero((before < MIDDLE) & (after >= MIDDLE))
        risen = np.flatnonzero((before < HIGH) & (after >= HIGH))
        fallen = np.flatnonzero((before >= LOW) & (after < LOW))
        start = middles + (MIDDLE - before[middles]) / (after[middles] - before[middles]) + n_before
        start = np.concatenate([[crossing], start])
        crossing = start[-1]
        places = np.concatenate([fallen, risen])
        if not len(places):
            continue
        order = np.argsort(places, kind="stable")
        rising = (np.arange(len(places)) >= len(fallen))[order]
        ready = np.concatenate([[armed], ~rising[:-1]])  # what came before was a fall below `LOW`
        armed = not rising[-1]
        yield start[np.searchsorted(middles, places[order][rising & ready], side="right")]
