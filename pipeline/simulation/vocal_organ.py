"""Mouse song from the movements of a whistle: pressure and length set the pitch, the pitch sets the sound.

The pitch follows the whistle of an air jet that strikes an edge (Mahrt et al. 2016, Current Biology 26:R880):
n / f = h / Uc + h / c, with jet length h, mode n, speed of sound c and convection speed Uc = 0.6 sqrt(2 p / rho).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.storage import written_whole

AIR_DENSITY_KG_M3 = 1.2
SOUND_SPEED_M_S = 343.0
PRESSURE_PA = (600.0, 1800.0)  # subglottal pressure of a calling mouse
LENGTH_M = (0.7e-3, 1.35e-3)  # from the glottis to the edge that the jet strikes
PITCH_LIMITS_HZ = (38_000.0, 110_000.0)  # calls that leave this range are drawn again
CONTOUR_STEP_S = 0.001

_BOUT_SD, _CALL_SD, _WITHIN_SD = 0.35, 1.0, 0.45  # of the latent trajectories, before they are squeezed into ranges
_PRESSURE_SHIFT, _LENGTH_SHIFT = -0.15, 0.4  # place the median pitch at about 68 kHz
_MEDIAN_CALL_S, _LOG_CALL_SD, _CALL_RANGE_S = 0.055, 0.4, (0.02, 0.12)
_GAP_RANGE_S = (0.03, 0.11)
_BOUT_RANGE_S = (2.0, 10.0)
_FIRST_BOUT_GAP_S, _SHORTEST_BOUT_GAP_S = 6.0, 1.5

_BLOCK_S = 1.0
_RAMP_S = 0.004
_FULL_SCALE = 32_767
_CALL_AMPLITUDE = 1_200.0  # at the middle of the pressure range, in steps of the 16-bit converter
_NOISE_AMPLITUDE = 60.0
_NOISE_POLE_HZ, _NOISE_ZERO_HZ = 3_000.0, 12_000.0  # background rises by 12 dB towards low frequencies


@dataclass(frozen=True)
class Call:
    """One vocalization on the audio clock; trajectories are sampled every `CONTOUR_STEP_S`, shape (n_points,)."""

    bout: int
    start_s: float
    duration_s: float
    pressure_pa: np.ndarray
    length_m: np.ndarray
    mode: np.ndarray
    jitter_db: float
    phase_rad: float

    @property
    def stop_s(self) -> float:
        return self.start_s + self.duration_s

    @property
    def pitch_hz(self) -> np.ndarray:
        return whistle_pitch_hz(pressure_pa=self.pressure_pa, length_m=self.length_m, mode=self.mode)

    @property
    def time_s(self) -> np.ndarray:
        return self.start_s + CONTOUR_STEP_S * np.arange(len(self.pressure_pa))

    @property
    def level_db(self) -> np.ndarray:
        """Level over that of the middle pressure: sound pressure follows the driving pressure, with jitter per call."""
        return 20 * np.log10(self.pressure_pa / np.mean(PRESSURE_PA)) + self.jitter_db


def whistle_pitch_hz(*, pressure_pa, length_m, mode):
    """Pitch of the whistle in Hz; arguments broadcast (Pa, m, and the mode n as a number)."""
    convection_m_s = 0.6 * np.sqrt(2 * np.asarray(pressure_pa) / AIR_DENSITY_KG_M3)
    return mode / (length_m / convection_m_s + length_m / SOUND_SPEED_M_S)


def sing(
    *,
    duration_s: float,
    habituation: float,
    jump_share: float,
    level_jitter_db: float,
    generator: np.random.Generator,
) -> list[Call]:
    """Draw the song of a session: calls in bouts, with silences between bouts that grow as the animal habituates.

    `habituation`: mean silence at the end over that at the start; `jump_share`: share of calls whose pitch jumps to
    another mode; `level_jitter_db`: sd of the calls' levels beside what their pressure makes.
    """
    calls: list[Call] = []
    time_s, bout = generator.uniform(1.0, 3.0), 0
    while time_s < duration_s - _BOUT_RANGE_S[0]:
        stop_s = min(time_s + generator.uniform(*_BOUT_RANGE_S), duration_s - _CALL_RANGE_S[1])
        mood = _BOUT_SD * generator.standard_normal(2)
        while time_s < stop_s:
            call = _draw_call(
                bout=bout,
                start_s=time_s,
                mood=mood,
                jump_share=jump_share,
                level_jitter_db=level_jitter_db,
                generator=generator,
            )
            calls.append(call)
            time_s = call.stop_s + _GAP_RANGE_S[0] + np.ptp(_GAP_RANGE_S) * generator.beta(1.0, 1.5)
        mean_gap_s = _FIRST_BOUT_GAP_S * (1 + (habituation - 1) * time_s / duration_s)
        time_s += max(_SHORTEST_BOUT_GAP_S, generator.gamma(4.0, mean_gap_s / 4.0))
        bout += 1
    return calls


def _draw_call(
    *,
    bout: int,
    start_s: float,
    mood: np.ndarray,
    jump_share: float,
    level_jitter_db: float,
    generator: np.random.Generator,
) -> Call:
    duration_s = 0.0
    while not _CALL_RANGE_S[0] <= duration_s <= _CALL_RANGE_S[1]:
        duration_s = _MEDIAN_CALL_S * np.exp(_LOG_CALL_SD * generator.standard_normal())
    n_points = int(np.ceil(duration_s / CONTOUR_STEP_S)) + 1
    while True:
        latent = mood[:, None] + _CALL_SD * generator.standard_normal((2, 1)) + _wander(n_points, generator)
        pressure_pa = _into(PRESSURE_PA, latent[0] + _PRESSURE_SHIFT)
        length_m = _into(LENGTH_M, latent[1] + _LENGTH_SHIFT)
        mode = np.full(n_points, 3)
        if generator.random() < jump_share:
            jump = int(n_points * generator.uniform(0.25, 0.75))
            mode[jump:] = generator.choice([2, 4], p=[0.6, 0.4])
        pitch_hz = whistle_pitch_hz(pressure_pa=pressure_pa, length_m=length_m, mode=mode)
        if pitch_hz.min() >= PITCH_LIMITS_HZ[0] and pitch_hz.max() <= PITCH_LIMITS_HZ[1]:
            return Call(
                bout=bout,
                start_s=start_s,
                duration_s=duration_s,
                pressure_pa=pressure_pa,
                length_m=length_m,
                mode=mode,
                jitter_db=level_jitter_db * generator.standard_normal(),
                phase_rad=generator.uniform(0, 2 * np.pi),
            )


def _wander(n_points: int, generator: np.random.Generator) -> np.ndarray:
    """Slope, arch and wave within a call for pressure and length, shape (2, n_points)."""
    phase = np.linspace(0, np.pi, n_points)
    shapes = np.stack([np.cos(phase), np.cos(2 * phase), np.cos(3 * phase)])
    return _WITHIN_SD * (generator.standard_normal((2, 3)) * [1.0, 0.8, 0.4]) @ shapes


def _into(limits: tuple[float, float], latent: np.ndarray) -> np.ndarray:
    return limits[0] + (limits[1] - limits[0]) / (1 + np.exp(-latent))


def write_audio(
    calls: Sequence[Call],
    path: str | Path,
    *,
    duration_s: float,
    rate_hz: int,
    harmonic_db: float,
    noise_db: float,
    generator: np.random.Generator,
) -> None:
    """Sound the calls, sorted by start, over coloured noise and write them as 16-bit WAV, a second at a time.

    `harmonic_db`: level of the second harmonic over the fundamental; `noise_db`: level of the noise over the standard.
    """
    import soundfile
    from scipy.signal import lfilter

    numerator, denominator = _noise_filter(rate_hz, _NOISE_AMPLITUDE * 10 ** (noise_db / 20))
    state = np.zeros(1, np.float32)
    n_total, n_block = round(duration_s * rate_hz), round(_BLOCK_S * rate_hz)
    starts = np.array([round(call.start_s * rate_hz) for call in calls], dtype=np.int64)
    longest = round(_CALL_RANGE_S[1] * rate_hz) + 1
    with (
        written_whole(path) as partial,
        soundfile.SoundFile(partial, "w", samplerate=rate_hz, channels=1, subtype="PCM_16", format="WAV") as file,
    ):
        for begin in range(0, n_total, n_block):
            end = min(begin + n_block, n_total)
            block = generator.standard_normal(end - begin, dtype=np.float32)
            block, state = lfilter(numerator, denominator, block, zi=state)
            for index in range(*np.searchsorted(starts, [begin - longest, end])):
                sound = _sound(calls[index], rate_hz, 10 ** (harmonic_db / 20))
                first = starts[index]
                low, high = max(first, begin), min(first + len(sound), end)
                if low < high:
                    block[low - begin : high - begin] += sound[low - first : high - first]
            file.write(np.clip(np.rint(block), -_FULL_SCALE, _FULL_SCALE).astype(np.int16))


def _sound(call: Call, rate_hz: int, second_harmonic: float) -> np.ndarray:
    """The waveform of one call in converter steps, by integrating the pitch to a phase."""
    n_samples = round(call.duration_s * rate_hz)
    time_s = np.arange(n_samples) / rate_hz
    point_s = CONTOUR_STEP_S * np.arange(len(call.mode))
    pitch_hz = np.interp(time_s, point_s, call.pitch_hz)
    amplitude = _CALL_AMPLITUDE * np.interp(time_s, point_s, 10 ** (call.level_db / 20))
    edge_s = np.minimum(time_s, time_s[-1] - time_s)
    amplitude *= np.sin(np.pi / 2 * np.minimum(edge_s / _RAMP_S, 1)) ** 2
    phase = call.phase_rad + 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    # A harmonic at the Nyquist frequency would fold back: it fades out over the last tenth below it.
    harmonic = second_harmonic * np.clip((0.5 - 2 * pitch_hz / rate_hz) / 0.05, 0, 1)
    return (amplitude * (np.sin(phase) + harmonic * np.sin(2 * phase))).astype(np.float32)


def _noise_filter(rate_hz: int, amplitude: float) -> tuple[np.ndarray, np.ndarray]:
    """First-order shelf: flat at high frequencies, louder below `_NOISE_POLE_HZ`."""
    pole, zero = np.exp(-2 * np.pi * np.array([_NOISE_POLE_HZ, _NOISE_ZERO_HZ]) / rate_hz)
    return (
        np.array([amplitude, -amplitude * zero], dtype=np.float32),
        np.array([1, -pole], dtype=np.float32),
    )
