"""Running of the animal: a speed that some units follow, and that may go with its singing."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from pipeline.simulation.vocal_organ import Call

SPEED_RATE_HZ = 20.0
FULL_SPEED_M_S = 0.2  # at which a movement unit fires at its gain

_MEAN_M_S, _SD_M_S = 0.1, 0.04
_TIME_CONSTANT_S = 2.0
_SINGING_SD_S = 1.0


def running_speed(
    calls: Sequence[Call],
    *,
    duration_s: float,
    offset_s: float,
    drift_ppm: float,
    correlation: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Running speed, m/s, at `SPEED_RATE_HZ` from session time 0, shape (n_samples,).

    A first-order process whose expected correlation with the animal's `singing` is `correlation`; the clocks are as
    in `Heard`.
    """
    n_samples = int(np.ceil(duration_s * SPEED_RATE_HZ)) + 1
    memory = np.exp(-1 / (SPEED_RATE_HZ * _TIME_CONSTANT_S))
    noise = generator.standard_normal(n_samples)
    noise[1:] *= np.sqrt(1 - memory**2)
    own = lfilter([1], [1, -memory], noise)
    sung = singing(calls, n_samples=n_samples, offset_s=offset_s, drift_ppm=drift_ppm)
    sung = (sung - sung.mean()) / max(sung.std(), np.finfo(float).tiny)
    speed_m_s = _MEAN_M_S + _SD_M_S * (correlation * sung + np.sqrt(1 - correlation**2) * own)
    return np.maximum(speed_m_s, 0)


def singing(calls: Sequence[Call], *, n_samples: int, offset_s: float, drift_ppm: float) -> np.ndarray:
    """Share of the time in bouts, smoothed over a second, at the samples of the speed, shape (n_samples,)."""
    inside = np.zeros(n_samples)
    bouts = np.array([call.bout for call in calls], int)
    times_s = np.array([[call.start_s, call.stop_s] for call in calls]).reshape(-1, 2)
    for bout in np.unique(bouts):
        audio_s = times_s[bouts == bout][[0, -1], [0, 1]]
        first, stop = np.rint((offset_s + (1 + drift_ppm / 1e6) * audio_s) * SPEED_RATE_HZ).astype(int)
        inside[first:stop] = 1
    return gaussian_filter1d(inside, _SINGING_SD_S * SPEED_RATE_HZ)
