"""How far each time and frequency stands out of the noise, in noise SDs, from multitaper spectra of the sound.

After USVSEG (Tachibana, Kanno, Okabe, Kobayasi & Okanoya 2020, PLoS ONE 15(2): e0228907): amplitudes are averaged over
tapers, the slow part of each frame's log spectrum and the running median of each frequency are subtracted, and the
noise SD is read from the width of the histogram of what remains. The tapers are sines (Riedel & Sidorenko 1995, IEEE
Trans. Signal Process. 43:188): they leak less than Slepian's of that width, and one transform serves all.

Frames are handled in units of UNIT_FRAMES, a few at once: what comes out of a unit does not depend, to the last bit,
on which others are computed. Neighbouring bins are compared in flat arrays, where a shift by a bin is one by a number:
what it brings in from the next row lies in margins that are cut off.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import as_strided
from scipy.ndimage import maximum_filter1d, median_filter

UNIT_FRAMES = 30
SPAN_FRAMES = UNIT_FRAMES + 2  # with one on either side
UNITS_AT_ONCE = 8  # their arrays stay in the cache
N_TAPERS = 5  # a tone fills one bin more
HOPS_A_WINDOW = 4
FEATURE_BINS = 5  # a sound fills so many adjacent bins (see `features`), a noise peak does not
CLIP_SD = 3.0  # noise SDs; beyond, a level says nothing about the slow part of the spectrum
TYPICAL_SIGMA_DB = 2.0  # of the mean over tapers, before the true one is known
HISTOGRAM_STEP_DB, N_STEPS = 0.05, 400  # to either side of the floor
LOWER_PERCENT = 16  # of a normal distribution, one SD below the median
WIDER = 1.3  # bins of equal width differ less than this by chance
LEAST_SIGMA_DB = 0.5  # digital silence has no width
FEWEST_FRAMES = 9  # fewer lie nearer to their own median than noise does
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))
BELOW_SHARE = 2 / 3  # of `low_hz`: sound further below is audible sound
STEADY_SD = 1.0  # noise SDs that a steady tone lifts the running median of its bins
DB = np.float32(20 / np.log(10))


class Multitaper:
    """Levels of units of frames; frame i spans the samples [i n_hop, i n_hop + n_window).

    `bins` is the slice of the Fourier transform that is computed, `frequency_hz` (n_bins,) their frequencies. Among
    them `band` is the slice of the analysed range and `below` that of audible sound well below it (None where there
    is no room for it).
    """

    def __init__(self, *, rate_hz: float, window_s: float, low_hz: float, high_hz: float, quantum: float):
        self.n_window = scipy.fft.next_fast_len(max(round(window_s * rate_hz), 32), real=True)
        self.n_hop = self.n_window // HOPS_A_WINDOW
        self.rate_hz = rate_hz
        frequency_hz = np.fft.rfftfreq(self.n_window, 1 / rate_hz)
        least = N_TAPERS // 2 + 2  # below, the tapers leak the mean into the bins
        first, stop = np.searchsorted(frequency_hz, [low_hz, high_hz * (1 + 1e-9)], "left")
        first = min(max(first, 1), max(stop - FEATURE_BINS, 1))
        # Calls may dip a little below the range; what lies far below is audible sound.
        below_stop = int(np.searchsorted(frequency_hz, BELOW_SHARE * low_hz))
        has_below = below_stop - least >= 4 * FEATURE_BINS
        start = least if has_below else first
        self.bins = slice(start, stop)
        self.frequency_hz = frequency_hz[self.bins]
        self.band = slice(first - start, stop - start)
        self.below = slice(0, below_stop - start) if has_below else None
        # The second half stays 0.
        self._frames = np.zeros((UNITS_AT_ONCE * SPAN_FRAMES, 2 * self.n_window), np.float32)
        # Of the spectrum at twice as many frequencies, those that the bins and a margin for the tapers take.
        taken = np.arange(2 * start - N_TAPERS, 2 * stop + N_TAPERS)
        self._halves = [_Half(taken[odd::2], self.n_window) for odd in (0, 1)]
        # Nothing below the noise of rounding to a step q, of variance q^2 / 12, is sound.
        self.least_power = np.float32(max(quantum, 1e-12) ** 2 / 12)

    @property
    def unit_samples(self) -> int:
        """From one unit's start to the next one's."""
        return UNIT_FRAMES * self.n_hop

    def span_samples(self, n_units: int = 1) -> int:
        """Samples behind the frames of units in a row and the frame on either side of them."""
        return (n_units * UNIT_FRAMES + 1) * self.n_hop + self.n_window

    def unit_levels(self, samples: np.ndarray) -> np.ndarray:
        """Levels of up to UNITS_AT_ONCE units in a row, each with the frame on either side of it.

        In dB, (n_units, SPAN_FRAMES, n_bins), from samples, (span_samples(n_units),), contiguous.
        """
        n_units = (len(samples) - self.span_samples(0)) // self.unit_samples
        shape = (n_units, SPAN_FRAMES, self.n_window)
        steps = [samples.itemsize * step for step in (self.unit_samples, self.n_hop, 1)]
        self._frames.reshape(-1, SPAN_FRAMES, 2 * self.n_window)[:n_units, :, : self.n_window] = as_strided(
            samples, shape, steps, writeable=False
        )
        return self._levels(n_units * SPAN_FRAMES).reshape(n_units, SPAN_FRAMES, -1)

    def frame_levels(self, windows: np.ndarray) -> np.ndarray:
        """Levels of single frames, dB, (n, n_bins), from their samples, (n, n_window)."""
        parts = []
        for i in range(0, len(windows), len(self._frames)):
            part = windows[i : i + len(self._frames)]
            self._frames[: len(part), : self.n_window] = part
            parts.append(self._levels(len(part)))
        return np.concatenate(parts)

    def _levels(self, n: int) -> np.ndarray:
        """Levels, dB, (n, n_bins), of the first `n` frames that stand ready."""
        # Sample i weighs sqrt(2 / N) sin(pi k i / N) in taper k of a window of N samples. Of the spectrum at twice as
        # many frequencies, X[j - k] - X[j + k] is that of the tapered window at j, but for a constant factor.
        n_rows = -(-n // SPAN_FRAMES) * SPAN_FRAMES  # transforms are vectorised: those left over round differently
        spectrum = scipy.fft.rfft(self._frames[:n_rows], axis=1, workers=1)[:n]
        halves = [half.of(spectrum) for half in self._halves]
        size = halves[0].size
        level = np.zeros(size, np.float32)
        for k in range(1, N_TAPERS + 1):
            first, odd = divmod(N_TAPERS - k, 2)
            half = halves[odd]
            tapered = np.abs(half[first : size - k] - half[first + k :])
            level[: len(tapered)] += tapered
        level = level.reshape(n, -1)[:, :-N_TAPERS].copy()
        level /= np.float32(N_TAPERS * np.sqrt(2 * self.n_window))
        np.maximum(level, np.sqrt(self.least_power), out=level)
        np.log(level, out=level)
        level *= DB
        return level


class _Half:
    """Every second of a range of frequencies of a spectrum, which is mirrored beyond 0 and the Nyquist frequency."""

    def __init__(self, taken: np.ndarray, nyquist: int):
        (inside,) = np.nonzero((taken >= 0) & (taken <= nyquist))
        self._size, self._inside = len(taken), slice(inside[0], inside[-1] + 1)
        self._source = slice(taken[inside[0]], taken[inside[-1]] + 1, 2)
        (self._outside,) = np.nonzero((taken < 0) | (taken > nyquist))
        self._mirrored = nyquist - np.abs(nyquist - np.abs(taken[self._outside]))

    def of(self, spectrum: np.ndarray) -> np.ndarray:
        """These frequencies of a spectrum, (n, n_window + 1), row after row, flat."""
        half = np.empty((len(spectrum), self._size), spectrum.dtype)
        half[:, self._inside] = spectrum[:, self._source]
        half[:, self._outside] = spectrum[:, self._mirrored].conj()
        return half.ravel()


@dataclass(frozen=True)
class Noise:
    """The noise of a stretch of sound in one range of bins.

    `floor_db` and `sigma_db` (n_bins,); `steady_db` (n_times, n_steady) is what tones that last add to the floor of
    the bins `steady_bins`, once a unit, from the unit `first_unit` on.
    """

    trend: np.ndarray
    floor_db: np.ndarray
    sigma_db: np.ndarray
    steady_bins: np.ndarray
    steady_db: np.ndarray
    first_unit: int

    def standardised(self, levels: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Level over the noise of the frames of `units`, (n_units, n_frames, n_bins), in noise SDs, same shape."""
        over = flattened(levels, self.floor_db, self.trend)
        if len(self.steady_bins):
            over[..., self.steady_bins] -= self.steady_db[units - self.first_unit, np.newaxis]
        over /= self.sigma_db
        return over


def fit_noise(levels: np.ndarray, *, sound: np.ndarray, inner: np.ndarray, first_unit: int, n_steady: int) -> Noise:
    """Learn the noise from one frame a unit, dB, (n_units, n_bins).

    Flags (n_units,): `sound` where there is any, `inner` where it is the stretch's own (there must be some).
    `n_steady` (odd) is the number of units whose median is the running floor of a tone.
    """
    trend = slow_waves(levels.shape[1])
    (floor_db,) = _percentiles(levels[inner], 50)
    over = flattened(levels, floor_db, trend)
    over[~sound] = 0
    low_db, rest_db = _percentiles(over[inner], LOWER_PERCENT, 50)
    floor_db, over = floor_db + rest_db, over - rest_db
    sigma_db = _sigma(median_of_five(over[inner]))
    if inner.sum() < FEWEST_FRAMES:
        sigma_db = max(sigma_db, TYPICAL_SIGMA_DB)
    # Sound only raises levels, so that the spread below the median is that of the noise.
    spread_db = rest_db - low_db
    wider = np.maximum(spread_db / max(np.median(spread_db), LEAST_SIGMA_DB) / WIDER, 1)
    bins, steady_db = _steady(over, n_steady, STEADY_SD * sigma_db)
    return Noise(trend, floor_db, (sigma_db * wider).astype(np.float32), bins, steady_db, first_unit)


def flattened(levels: np.ndarray, floor_db: np.ndarray, trend: np.ndarray) -> np.ndarray:
    """Levels over the floor without the slow part of each frame's spectrum, dB, (..., n, n_bins)."""
    over = levels - floor_db
    over -= (over @ trend) @ trend.T
    # Once more, without what stands out: loud sound must not press the noise around it down.
    limit = np.float32(CLIP_SD * TYPICAL_SIGMA_DB)
    held = np.minimum(over, limit)
    np.maximum(held, -limit, out=held)
    over -= (held @ trend) @ trend.T
    return over


def features(standardised: np.ndarray) -> np.ndarray:
    """Sounds of units' frames: levels that FEATURE_BINS adjacent bins reach, averaged over 3 frames.

    Takes (n_units, SPAN_FRAMES, n_bins), gives (n_units, UNIT_FRAMES, n_bins), noise SDs of one frame.
    """
    mean = standardised[:, :-2] + standardised[:, 1:-1]
    mean += standardised[:, 2:]
    mean *= np.float32(1 / 3)
    padded = _running_median(mean)
    _fill_edges(padded)
    # Of five: of two, of two pairs, and of the one that is left.
    flat = padded.ravel()
    pairs = np.minimum(flat[:-1], flat[1:])
    least = np.minimum(pairs[:-2], pairs[2:])
    padded = np.empty_like(padded)
    np.minimum(least[:-1], flat[4:], out=padded.ravel()[:-4])
    return padded[..., :-4]


def median_of_five(values: np.ndarray) -> np.ndarray:
    """Running median over five bins, same shape (..., n_bins)."""
    return _running_median(values)[..., 2:-2]


def _running_median(values: np.ndarray) -> np.ndarray:
    """Running median over five bins by a sorting network, exact and quick, with two bins of room on either side."""
    padded = np.empty((*values.shape[:-1], values.shape[-1] + 4), values.dtype)
    padded[..., 2:-2] = values
    _fill_edges(padded)
    flat = padded.ravel()
    lower, higher = np.minimum(flat[:-1], flat[1:]), np.maximum(flat[:-1], flat[1:])
    # Of two pairs, neither the least of the lower nor the greatest of the higher can be the median of five.
    low, high = np.maximum(lower[:-3], lower[3:]), np.minimum(higher[:-3], higher[3:])
    least, most = np.minimum(low, high), np.maximum(low, high)
    np.minimum(most, flat[2:-2], out=most)
    np.maximum(least, most, out=flat[2:-2])
    return padded


def _fill_edges(padded: np.ndarray) -> None:
    """The outermost bins, twice more on either side: np.pad takes longer than what is done with them."""
    padded[..., :2], padded[..., -2:] = padded[..., 2:3], padded[..., -3:-2]


def slow_waves(n_bins: int) -> np.ndarray:
    """Orthonormal slow cosines, shape (n_bins, order): level, tilt and bow of a spectrum; fewer for few bins."""
    order = 3 if n_bins >= 24 else 1
    waves = np.cos(np.pi * np.outer(np.arange(n_bins) + 0.5, np.arange(order)) / n_bins)
    return (waves / np.linalg.norm(waves, axis=0)).astype(np.float32)


def _percentiles(levels: np.ndarray, *percents: float) -> np.ndarray:
    """Percentiles of each bin of (n, n_bins), float32, (n_percents, n_bins): sorting is quicker than np.percentile."""
    ordered = levels.T.copy()
    ordered.sort(axis=1)
    place = np.array(percents) / 100 * (len(levels) - 1)
    low = place.astype(int)
    below, above = ordered[:, low], ordered[:, np.minimum(low + 1, len(levels) - 1)]
    return (below + (place - low) * (above - below)).T.astype(np.float32)


def _steady(over: np.ndarray, n_steady: int, least_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Bins that some tone lifts for long, and by how much at each time, dB, (n_times, n_bins of them)."""
    # Where a tone fills the running window, most levels of some half of it are raised.
    half = max(n_steady // 2, 1)
    starts = np.arange(0, len(over), half)
    raised = np.add.reduceat(over > least_db, starts, axis=0, dtype=np.int64)
    sizes = np.diff(np.append(starts, len(over)))
    bins = np.flatnonzero((2 * raised >= sizes[:, None]).any(axis=0))
    running_db = over[:, bins]
    for series in running_db.T:
        series[:] = median_filter(series.copy(), n_steady, mode="nearest")  # quick for one dimension alone
    running_db[running_db <= least_db] = 0
    # The running median knows the edges of a tone to a unit.
    return bins, maximum_filter1d(running_db, 3, axis=0, mode="nearest") if len(bins) else running_db


def _sigma(over: np.ndarray) -> float:
    """SD of the noise, dB, from the full width at half maximum of the histogram of levels over the floor, dB."""
    step = np.rint(over / np.float32(HISTOGRAM_STEP_DB)).astype(np.int32) + N_STEPS
    histogram = np.bincount(np.clip(step, 0, 2 * N_STEPS).ravel(), minlength=2 * N_STEPS + 1)[1:-1]
    # Over 1 dB: of short recordings, many levels are their bin's median themselves.
    smooth = np.convolve(histogram, np.ones(21) / 21, "same")
    above = np.flatnonzero(smooth >= smooth.max() / 2)
    return max(float(above[-1] - above[0] + 1) * HISTOGRAM_STEP_DB / FWHM_OF_SIGMA, LEAST_SIGMA_DB)
