"""How a planted unit fires, as spike times or as counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.simulation.movement import FULL_SPEED_M_S, SPEED_RATE_HZ
from pipeline.simulation.neurons import Unit
from pipeline.simulation.vocal_organ import Call

SPIKE_CLOCK_HZ = 30_000

_STEP_S = 0.001
_NOISE_SHAPE, _NOISE_WINDOW_S = 2.0, 0.1  # gamma-distributed excitability makes counts negative binomial
_DRIFT_PERIOD_S, _N_DRIFTS = (120.0, 1200.0), 4


@dataclass(frozen=True)
class Heard:
    """The song of one animal as its units follow it.

    A sound at `t` on the audio clock happens at `offset_s + (1 + drift_ppm / 1e6) t` on the session clock.
    `start_s`, `stop_s` (n_calls,) and `contour_s`, `contour_hz` (n_points,) are on the audio clock.
    """

    start_s: np.ndarray
    stop_s: np.ndarray
    contour_s: np.ndarray
    contour_hz: np.ndarray
    offset_s: float
    drift_ppm: float

    @classmethod
    def of(cls, calls: Sequence[Call], *, offset_s: float, drift_ppm: float) -> "Heard":
        """The song as `calls` (one at least), sorted by start, of which no two overlap."""
        return cls(
            start_s=np.array([call.start_s for call in calls]),
            stop_s=np.array([call.stop_s for call in calls]),
            contour_s=np.concatenate([call.time_s for call in calls]),
            contour_hz=np.concatenate([call.pitch_hz for call in calls]),
            offset_s=offset_s,
            drift_ppm=drift_ppm,
        )

    def sounding_steps(self, n_steps: int, *, lag_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Which of `n_steps` milliseconds of the session follow a sound by `lag_s`, and the pitch that they follow."""
        slope = 1 + self.drift_ppm / 1e6
        first, stop = (self.offset_s + lag_s + slope * edge_s for edge_s in (self.start_s, self.stop_s))
        first = np.clip(np.floor(first / _STEP_S).astype(int), 0, n_steps)
        length = np.clip(np.ceil(stop / _STEP_S).astype(int), first, n_steps) - first
        call = np.repeat(np.arange(len(length)), length)
        steps = np.arange(len(call)) + (first - np.cumsum(length) + length)[call]
        audio_s = (_STEP_S * steps + _STEP_S / 2 - lag_s - self.offset_s) / slope
        sounding = (audio_s >= self.start_s[call]) & (audio_s < self.stop_s[call])
        return steps[sounding], np.interp(audio_s[sounding], self.contour_s, self.contour_hz)


def draw_spikes(
    unit: Unit,
    heard: Heard,
    *,
    speed_m_s: np.ndarray,
    duration_s: float,
    drift_sd: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the spike times of a unit in session seconds, shape (n_spikes,), sorted and distinct.

    `speed_m_s` (n_samples,): running speed, needed by movement units; `duration_s`: of the neural recording;
    `drift_sd`: of the log rate, which drifts slowly.
    """
    n_steps = int(duration_s / _STEP_S)
    rate_hz = _rate_hz(
        unit, heard, speed_m_s=speed_m_s, n_steps=n_steps, n_fine=1, drift_sd=drift_sd, generator=generator
    )
    n_spikes = generator.poisson(rate_hz * _STEP_S)
    times_s = np.repeat(_STEP_S * np.arange(n_steps), n_spikes) + _STEP_S * generator.random(n_spikes.sum())
    samples = np.unique(np.floor(times_s * SPIKE_CLOCK_HZ).astype(np.int64))
    return samples / SPIKE_CLOCK_HZ


def draw_counts(
    unit: Unit,
    heard: Heard,
    *,
    speed_m_s: np.ndarray,
    n_bins: int,
    bin_width_s: float,
    drift_sd: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Draw the unit's counts in bins from session time 0, shape (n_bins,): those of `draw_spikes` in distribution.

    `bin_width_s` is a whole number of milliseconds.
    """
    rate_hz = _rate_hz(
        unit,
        heard,
        speed_m_s=speed_m_s,
        n_steps=n_bins,
        n_fine=round(bin_width_s / _STEP_S),
        drift_sd=drift_sd,
        generator=generator,
    )
    return generator.poisson(rate_hz * bin_width_s)


def _rate_hz(
    unit: Unit,
    heard: Heard,
    *,
    speed_m_s: np.ndarray,
    n_steps: int,
    n_fine: int,
    drift_sd: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Mean rate in each step of `n_fine` milliseconds, shape (n_steps,)."""
    start_s = n_fine * _STEP_S * np.arange(n_steps)
    drift = _drift(start_s, sd=drift_sd, trend=unit.trend, generator=generator)
    rate_hz = unit.baseline_hz * drift * _excitability(n_steps, n_fine, generator)
    if unit.kind == "movement":
        sample_s = np.arange(len(speed_m_s)) / SPEED_RATE_HZ
        rate_hz *= 1 + (unit.gain - 1) * np.interp(start_s + n_fine * _STEP_S / 2, sample_s, speed_m_s) / FULL_SPEED_M_S
    elif unit.kind != "unrelated":
        fine, pitch_hz = heard.sounding_steps(n_steps * n_fine, lag_s=unit.lag_s)
        step = fine // n_fine
        silent = 1 - np.bincount(step, minlength=n_steps) / n_fine
        rate_hz *= silent + np.bincount(step, weights=unit.drive(pitch_hz), minlength=n_steps) / n_fine
    return rate_hz


def _excitability(n_steps: int, n_fine: int, generator: np.random.Generator) -> np.ndarray:
    n_total, window = n_steps * n_fine, round(_NOISE_WINDOW_S / _STEP_S)
    levels = generator.gamma(_NOISE_SHAPE, 1 / _NOISE_SHAPE, -(-n_total // window))
    if window % n_fine == 0:
        return np.repeat(levels, window // n_fine)[:n_steps]
    return np.repeat(levels, window)[:n_total].reshape(n_steps, n_fine).mean(axis=1)


def _drift(time_s: np.ndarray, *, sd: float, trend: float, generator: np.random.Generator) -> np.ndarray:
    """Slow change of the rate, mean 1, shape as `time_s`: waves of this sd, and a steady `trend`, of the log rate."""
    period_s = np.exp(generator.uniform(*np.log(_DRIFT_PERIOD_S), _N_DRIFTS))
    phase = generator.uniform(0, 2 * np.pi, _N_DRIFTS)
    knot_s = np.arange(0, time_s[-1] + 2.0)  # a second apart: far below every period
    waves = np.cos(2 * np.pi * knot_s[:, None] / period_s + phase).sum(axis=1)
    drift = np.exp(sd * np.sqrt(2 / _N_DRIFTS) * waves + trend * knot_s / knot_s[-1])
    return np.interp(time_s, knot_s, drift / drift.mean())
