"""Frequency bands: which bins of a Fourier transform make up which band, and by what weight."""

import numpy as np

from pipeline.errors import InputError

FEWEST_BINS = 4


def band_filters(
    *, rate_hz: float, n_window: int, low_hz: float, high_hz: float, scale: str, n_bands: int | None
) -> tuple[slice, np.ndarray | None, np.ndarray]:
    """Bands between `low_hz` and `high_hz` of a Fourier transform over `n_window` samples.

    Returns the bins that are needed; weights, shape (n_bins, n_bands), each column summing to 1 so that white
    noise has the same level in all bands (None where every bin is a band); and band centres (Hz), shape (n_bands,).
    `scale` spaces the bands: linear (equal widths), mel (Slaney's, as librosa's) or log.

    Raises InputError where the range holds too few bins.
    """
    frequency_hz = np.arange(n_window // 2 + 1) * rate_hz / n_window
    inside = np.flatnonzero((frequency_hz >= low_hz) & (frequency_hz <= high_hz))
    needed = FEWEST_BINS if n_bands is None or scale != "linear" else n_bands
    if len(inside) < needed:
        raise InputError(
            "the analysed range holds too few frequencies",
            where="section audio of the configuration",
            found=f"{len(inside)} bins of {rate_hz / n_window:g} Hz between {low_hz:g} and {high_hz:g} Hz",
            allowed=f"at least {needed}",
            mend="raise audio.window_s, widen low_hz to high_hz or lower audio.n_bands",
        )
    if scale == "linear" and n_bands is None:
        return slice(inside[0], inside[-1] + 1), None, frequency_hz[inside]
    if scale == "linear":
        edges_hz = np.linspace(low_hz, high_hz, n_bands + 1)
        centres_hz = (edges_hz[:-1] + edges_hz[1:]) / 2
        weights = _shares(frequency_hz, edges_hz)
    else:
        corners_hz = _corners(scale, low_hz, high_hz, n_bands)
        centres_hz = corners_hz[1:-1]
        weights = _triangles(frequency_hz, corners_hz)
    used = np.flatnonzero(weights.any(axis=1))
    bins = slice(used[0], used[-1] + 1)
    return bins, (weights / weights.sum(axis=0))[bins].astype(np.float32), centres_hz


def _corners(scale: str, low_hz: float, high_hz: float, n_bands: int) -> np.ndarray:
    """Corners of overlapping triangles, Hz, shape (n_bands + 2,): start, centre and end of band k are k, k+1, k+2."""
    if scale == "mel":
        import librosa  # heavy, and only this scale needs it

        return librosa.mel_frequencies(n_bands + 2, fmin=low_hz, fmax=high_hz)
    if low_hz <= 0:
        raise InputError("a log scale needs a lower edge above 0", where="key audio.low_hz", found=low_hz)
    return np.geomspace(low_hz, high_hz, n_bands + 2)


def _shares(frequency_hz: np.ndarray, edges_hz: np.ndarray) -> np.ndarray:
    """How much of each bin lies in each band, shape (n_bins, n_bands)."""
    half_hz = (frequency_hz[1] - frequency_hz[0]) / 2
    upper = np.minimum(frequency_hz[:, None] + half_hz, edges_hz[1:])
    lower = np.maximum(frequency_hz[:, None] - half_hz, edges_hz[:-1])
    return np.maximum(upper - lower, 0)


def _triangles(frequency_hz: np.ndarray, corners_hz: np.ndarray) -> np.ndarray:
    """Triangular filters, shape (n_bins, n_bands); none is narrower than a bin, or some would hold no bin at all."""
    step_hz = frequency_hz[1] - frequency_hz[0]
    centres_hz = corners_hz[1:-1]
    rise_hz = np.maximum(centres_hz - corners_hz[:-2], step_hz)
    fall_hz = np.maximum(corners_hz[2:] - centres_hz, step_hz)
    distance_hz = frequency_hz[:, None] - centres_hz
    return np.maximum(1 - np.where(distance_hz < 0, -distance_hz / rise_hz, distance_hz / fall_hz), 0)
