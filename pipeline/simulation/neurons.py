"""Units whose firing follows the pitch of the song, any song, or nothing at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from pipeline.simulation.vocal_organ import Call

SPIKE_CLOCK_HZ = 30_000
MEDIAN_RATE_HZ = 4.0

_STEP_S = 0.001
_LOG_RATE_SD = 0.5
_BEST_SD_HZ, _LAG_SD_S = 500.0, 0.002  # scatter of the units of one cluster
_VOCAL_LAG_S = 0.01
_NOISE_SHAPE, _NOISE_WINDOW_S = 2.0, 0.1  # gamma-distributed excitability makes counts negative binomial
_DRIFT_SD, _DRIFT_PERIOD_S, _N_DRIFTS = 0.25, (120.0, 1200.0), 4  # of the log rate


@dataclass(frozen=True)
class Band:
    """Frequencies that a cluster stands for: its tuning is above half of its peak from `low_hz` to `high_hz`."""

    low_hz: float
    high_hz: float
    lag_s: float

    @property
    def best_hz(self) -> float:
        return (self.low_hz + self.high_hz) / 2


CLUSTERS = (
    Band(45_000, 54_000, -0.02),
    Band(57_000, 66_000, 0.01),
    Band(69_000, 79_000, 0.03),
    Band(82_000, 93_000, 0.0),
)
CONTINUUM = Band(45_000, 93_000, 0.01)


@dataclass(frozen=True)
class Unit:
    """A planted unit; a positive lag is a response after the sound. Only tuned units have a band."""

    kind: Literal["tuned", "vocal", "unrelated"]
    baseline_hz: float
    gain: float = 1.0
    lag_s: float = 0.0
    cluster: int = -1
    band: Band | None = None

    def drive(self, pitch_hz: np.ndarray) -> np.ndarray:
        """Firing over the baseline rate while this pitch sounds, from 1 to `gain`; shape as `pitch_hz`."""
        if self.band is None:
            return np.full_like(pitch_hz, self.gain)
        offset = (pitch_hz - self.band.best_hz) / (self.band.high_hz - self.band.low_hz)
        return 1 + (self.gain - 1) * np.exp2(-4 * offset**2)  # half of the peak at both edges of the band


def planted_bands(*, tuning: Literal["bands", "continuum"], gain: float) -> list[Band]:
    """What there is to find: one band a cluster, the whole range for a continuum, nothing at gain 1."""
    if gain == 1:
        return []
    return list(CLUSTERS) if tuning == "bands" else [CONTINUUM]


def draw_units(
    *,
    tuning: Literal["bands", "continuum"],
    gain: float,
    units_per_band: int,
    n_vocal: int,
    n_unrelated: int,
    generator: np.random.Generator,
) -> list[Unit]:
    """Draw the units of a session in random order.

    `units_per_band` counts per element of `CLUSTERS`; a continuum has as many units in all, with best frequencies
    spread evenly. At gain 1 every unit is unrelated.
    """
    units = []
    for cluster, band in enumerate(CLUSTERS):
        for index, rate_hz in enumerate(_rates_hz(units_per_band, generator)):
            if tuning == "continuum":
                share = (cluster + (index + generator.random()) / units_per_band) / len(CLUSTERS)
                best_hz = CONTINUUM.low_hz + share * (CONTINUUM.high_hz - CONTINUUM.low_hz)
                member, lag_s = 0, CONTINUUM.lag_s
            else:
                best_hz = band.best_hz + _BEST_SD_HZ * generator.standard_normal()
                member, lag_s = cluster, band.lag_s
            half_hz = (band.high_hz - band.low_hz) / 2
            lag_s += _LAG_SD_S * generator.standard_normal()
            own = Band(best_hz - half_hz, best_hz + half_hz, lag_s)
            units.append(Unit("tuned", rate_hz, gain, lag_s, member, own) if gain > 1 else Unit("unrelated", rate_hz))
    for rate_hz in _rates_hz(n_vocal, generator):
        units.append(Unit("vocal", rate_hz, gain, _VOCAL_LAG_S) if gain > 1 else Unit("unrelated", rate_hz))
    units += [Unit("unrelated", rate_hz) for rate_hz in _rates_hz(n_unrelated, generator)]
    return [units[index] for index in generator.permutation(len(units))]


def _rates_hz(n_units: int, generator: np.random.Generator) -> np.ndarray:
    """Log-normal rates, one from each n-th part of the distribution, so that small clusters are alike."""
    shares = (np.arange(n_units) + generator.random(n_units)) / max(n_units, 1)
    return MEDIAN_RATE_HZ * np.exp(_LOG_RATE_SD * norm.ppf(generator.permutation(shares)))


def draw_spikes(
    unit: Unit,
    calls: Sequence[Call],
    *,
    duration_s: float,
    offset_s: float,
    drift_ppm: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the spike times of a unit in session seconds, shape (n_spikes,), sorted and distinct.

    `duration_s` is that of the neural recording; a sound at `t` on the audio clock happens at
    `offset_s + (1 + drift_ppm / 1e6) t` on the session clock.
    """
    n_steps = int(duration_s / _STEP_S)
    start_s = _STEP_S * np.arange(n_steps)
    rate_hz = unit.baseline_hz * _drift(start_s, generator) * _excitability(n_steps, generator)
    if unit.kind != "unrelated":
        audio_s = (start_s + _STEP_S / 2 - unit.lag_s - offset_s) / (1 + drift_ppm / 1e6)
        sounding, pitch_hz = pitch_at(calls, audio_s)
        rate_hz[sounding] *= unit.drive(pitch_hz)
    n_spikes = generator.poisson(rate_hz * _STEP_S)
    times_s = np.repeat(start_s, n_spikes) + _STEP_S * generator.random(n_spikes.sum())
    samples = np.unique(np.floor(times_s * SPIKE_CLOCK_HZ).astype(np.int64))
    return samples / SPIKE_CLOCK_HZ


def pitch_at(calls: Sequence[Call], audio_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a call sounds at each time, shape as `audio_s`, and the pitch in Hz at the times where one does."""
    starts = np.array([call.start_s for call in calls])
    stops = np.array([call.stop_s for call in calls])
    index = np.searchsorted(starts, audio_s, side="right") - 1
    sounding = (index >= 0) & (audio_s < stops[np.maximum(index, 0)])
    contour_s = np.concatenate([call.time_s for call in calls])
    contour_hz = np.concatenate([call.pitch_hz for call in calls])
    return sounding, np.interp(audio_s[sounding], contour_s, contour_hz)


def _excitability(n_steps: int, generator: np.random.Generator) -> np.ndarray:
    window = round(_NOISE_WINDOW_S / _STEP_S)
    levels = generator.gamma(_NOISE_SHAPE, 1 / _NOISE_SHAPE, -(-n_steps // window))
    return np.repeat(levels, window)[:n_steps]


def _drift(time_s: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    period_s = np.exp(generator.uniform(*np.log(_DRIFT_PERIOD_S), _N_DRIFTS))
    phase = generator.uniform(0, 2 * np.pi, _N_DRIFTS)
    knot_s = np.arange(0, time_s[-1] + 2.0)  # a second apart: far below every period
    waves = np.cos(2 * np.pi * knot_s[:, None] / period_s + phase).sum(axis=1)
    drift = np.exp(_DRIFT_SD * np.sqrt(2 / _N_DRIFTS) * waves)
    return np.interp(time_s, knot_s, drift / drift.mean())
