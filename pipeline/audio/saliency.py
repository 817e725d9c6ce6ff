"""How far each time and frequency stands out of the noise, in noise SDs.

After the flattening of USVSEG (Tachibana, Kanno, Okabe, Kobayasi & Okanoya 2020, PLoS ONE 15(2): e0228907):
the slow part of each frame's log spectrum and the running median of each frequency are subtracted, and the noise
SD is read from the width of the histogram of what remains. Where that paper averages tapers, power is averaged here
over neighbouring frames and bins of the stored spectrogram.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from pipeline.audio.spectrogram_file import Spectrogram

SMOOTH_S = 0.003  # averaging over time; shorter than any call
SMOOTH_BINS = 3
FEATURE_BINS = 3  # a sound fills so many adjacent smoothed bins, a noise peak does not
FLOOR_S = 30.0  # the floor of each frequency follows the recording at this pace
GROUP_FRAMES, N_GROUPS = 32, 64  # the floor of a segment is the median over 64 short stretches of it
HISTOGRAM_STEP_DB, HISTOGRAM_DB = 0.05, 20.0
LOWER_PERCENT = 16  # of a normal distribution, one SD below the median
WIDER = 1.3  # bands of equal width differ less than this by chance
LEAST_SIGMA_DB = 0.5  # digital silence has no width
FWHM_OF_SIGMA = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class Saliency:
    """The noise: `floor_db` (n_segments, n_bands) between the frames `edges`, and `sigma_db` (n_bands,)."""

    spectrogram: Spectrogram
    trend: np.ndarray
    edges: np.ndarray
    floor_db: np.ndarray
    sigma_db: np.ndarray

    def standardised(self, start: int, stop: int) -> np.ndarray:
        """Level over the noise of frames [start, stop), in noise SDs, shape (n, n_bands), float32."""
        levels = _flattened(self.spectrogram, self.trend, start, stop)
        segment = np.clip(np.searchsorted(self.edges, np.arange(start, stop), "right") - 1, 0, len(self.floor_db) - 1)
        for k in range(segment[0], segment[-1] + 1):
            levels[segment == k] -= self.floor_db[k]
        levels /= self.sigma_db
        return levels


def score(standardised: np.ndarray) -> np.ndarray:
    """Saliency of frames, shape (n,): the highest level that FEATURE_BINS adjacent bands reach, noise SDs."""
    return minimum_filter1d(standardised, FEATURE_BINS, axis=1, mode="nearest").max(axis=1)


def fit_saliency(spectrogram: Spectrogram) -> Saliency:
    """Learn the noise of a spectrogram with at least one frame, from short stretches all over it."""
    n_frames, n_bands = spectrogram.n_frames, len(spectrogram.frequency_hz)
    trend = _trend(n_bands)
    n_segments = max(1, round(n_frames * spectrogram.hop_s / FLOOR_S))
    edges = np.linspace(0, n_frames, n_segments + 1).astype(int)
    bins_db = np.arange(-HISTOGRAM_DB, HISTOGRAM_DB + HISTOGRAM_STEP_DB, HISTOGRAM_STEP_DB)
    histogram = np.zeros(len(bins_db) - 1)
    floor_db = np.empty((n_segments, n_bands), np.float32)
    spread_db = np.empty((n_segments, n_bands), np.float32)
    for k in range(n_segments):
        sample = _sample(spectrogram, trend, edges[k], edges[k + 1])
        low_db, floor_db[k] = np.percentile(sample, [LOWER_PERCENT, 50], axis=0)
        spread_db[k] = floor_db[k] - low_db
        histogram += np.histogram(sample - floor_db[k], bins_db)[0]
    # Calls only raise levels, so that the spread below the median is that of the noise. Bands that are noisier than
    # most by far (of a mel scale, the narrow ones) are held to a larger SD.
    spread_db = np.median(spread_db, axis=0)
    wider = np.maximum(spread_db / max(np.median(spread_db), LEAST_SIGMA_DB) / WIDER, 1)
    return Saliency(spectrogram, trend, edges, floor_db, (_sigma(histogram) * wider).astype(np.float32))


def odd_frames(duration_s: float, hop_s: float) -> int:
    """The odd number of frames nearest to a duration, at least 3: filters of odd length shift nothing."""
    return max(2 * int(duration_s / hop_s / 2) + 1, 3)


def _sample(spectrogram: Spectrogram, trend: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Flattened levels of up to N_GROUPS stretches of the frames [start, stop), without unusable frames."""
    step = max((stop - start) // N_GROUPS, GROUP_FRAMES)
    groups = [(i, min(i + GROUP_FRAMES, stop)) for i in range(start, stop, step)]
    sample = np.concatenate([_flattened(spectrogram, trend, i, j) for i, j in groups])
    usable = np.concatenate([spectrogram.usable[i:j] for i, j in groups])
    return sample[usable] if usable.any() else sample


def _flattened(spectrogram: Spectrogram, trend: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Smoothed log power of frames [start, stop) without its slow part along frequency, dB, (n, n_bands)."""
    width = odd_frames(SMOOTH_S, spectrogram.hop_s)
    halo = width // 2
    power = spectrogram.power_db(start - halo, stop + halo)
    power *= np.float32(np.log(10) / 10)
    np.exp(power, out=power)
    before, after = max(halo - start, 0), max(stop + halo - spectrogram.n_frames, 0)
    if before or after:
        power = np.pad(power, ((before, after), (0, 0)), mode="edge")
    n = stop - start
    smooth = power[:n].copy()
    for shift in range(1, width):
        smooth += power[shift : shift + n]
    smooth /= width
    smooth = uniform_filter1d(smooth, min(SMOOTH_BINS, smooth.shape[1]), axis=1, mode="nearest")
    # A running sum may end a rounding error below 0.
    np.maximum(smooth, np.float32(1e-30), out=smooth)
    np.log10(smooth, out=smooth)
    smooth *= 10
    smooth -= (smooth @ trend) @ trend.T
    return smooth


def _trend(n_bands: int) -> np.ndarray:
    """Orthonormal slow cosines, shape (n_bands, order): level, tilt and bow of a spectrum; fewer for few bands."""
    order = 3 if n_bands >= 24 else 1
    waves = np.cos(np.pi * np.outer(np.arange(n_bands) + 0.5, np.arange(order)) / n_bands)
    return (waves / np.linalg.norm(waves, axis=0)).astype(np.float32)


def _sigma(histogram: np.ndarray) -> float:
    """SD of the noise, dB, from the full width at half maximum of its histogram."""
    smooth = np.convolve(histogram, np.ones(9) / 9, "same")
    above = np.flatnonzero(smooth >= smooth.max() / 2)
    return max(float(above[-1] - above[0] + 1) * HISTOGRAM_STEP_DB / FWHM_OF_SIGMA, LEAST_SIGMA_DB)
