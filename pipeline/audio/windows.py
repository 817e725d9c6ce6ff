"""Analysis windows: as scipy.signal's, whose import takes longer than the transform of minutes of sound."""

import numpy as np


def hann(n_window: int) -> np.ndarray:
    """Periodic Hann window, float64, shape (n_window,)."""
    return np.hanning(n_window + 1)[:-1]


def hann_of_unit_energy(n_window: int) -> np.ndarray:
    """The same, such that noise has the power of its variance behind it; float32, shape (n_window,)."""
    window = hann(n_window)
    return (window / np.sqrt((window**2).sum())).astype(np.float32)
