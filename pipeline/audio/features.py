"""What is measured of each call, all from the stored spectrogram.

Tools differ in these definitions; these are Duet's. The contour is that of `trace_contour`; power is counted above
the mean noise of each band, with the stored noise floor (a median) raised by 1.6 dB to the mean of the exponential
distribution that noise power has.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from pipeline.audio.contours import trace_contour
from pipeline.audio.saliency import Saliency, fit_saliency, score
from pipeline.audio.spectrogram_file import Spectrogram, open_spectrogram
from pipeline.storage import written_whole

MEAN_OVER_MEDIAN = 1 / np.log(2)
NOISE_SDS = 3.0  # above which a band counts as part of a call's spectrum
KHZ_PER_MS = 1e6  # sinuosity is measured where 1 ms is as long as 1 kHz, as calls are commonly drawn

DEFINITIONS = {
    "call": "number of the call in the session, from 0",
    "bout": "number of its bout, from 0; a silence longer than calls.bout_gap_s ends a bout",
    "start_s": "first frame centre of the call (annotations: as given), s on the audio clock",
    "stop_s": "last frame centre of the call (annotations: as given), s on the audio clock",
    "duration_s": "stop_s - start_s, s",
    "peak_hz": "frequency of the contour where it is loudest, Hz",
    "mean_hz": "mean frequency of the contour, Hz",
    "low_hz": "lowest frequency of the contour, Hz",
    "high_hz": "highest frequency of the contour, Hz",
    "bandwidth_hz": "width that holds 5 to 95 % of the call's energy, of the bands that exceed the noise by 3 SD, Hz",
    "slope_hz_s": "slope of the contour by least squares, Hz/s; empty for a contour of one frame",
    "sinuosity": "length of the contour over the distance of its ends, with 1 ms as long as 1 kHz; 1 is straight",
    "level_db": "mean level of the contour over the noise floor of its frequency, dB",
    "entropy": "Shannon entropy of that energy over frequency, 0 (one band) to 1 (all bands alike)",
    "tonality": "1 - geometric / arithmetic mean of the amplitude over frequency, mean over frames; 1 is a pure tone",
    "confidence": "highest saliency of its frames, noise SDs",
    "label": "label of the annotation; empty for detected calls",
    "contour_s": "times of the contour, s on the audio clock",
    "contour_hz": "frequency of the contour at those times, Hz",
    "contour_db": "level of the contour at those times over the noise floor, dB",
}
_TYPES = {"call": pa.int64(), "bout": pa.int64(), "label": pa.string()}
SCHEMA = pa.schema(
    [
        (name, pa.list_(pa.float64()) if name.startswith("contour_") else _TYPES.get(name, pa.float64()))
        for name in DEFINITIONS
    ]
)


def measure_calls(
    spectrogram_path: str | Path,
    *,
    start_s: np.ndarray,
    stop_s: np.ndarray,
    labels: list[str],
    bout_gap_s: float,
) -> pa.Table:
    """Measure calls that start and stop at `start_s` and `stop_s` (s, audio clock, sorted by start), shape (n_calls,).

    Returns a table with the columns of `DEFINITIONS`, one row a call.
    """
    rows: list[dict] = []
    with open_spectrogram(spectrogram_path) as spectrogram:
        saliency = fit_saliency(spectrogram) if len(start_s) else None
        for start, stop, label in zip(start_s, stop_s, labels, strict=True):
            rows.append(_measure(spectrogram, saliency, float(start), float(stop)) | {"label": label})
    for number, (row, bout) in enumerate(zip(rows, number_bouts(start_s, stop_s, bout_gap_s), strict=True)):
        row |= {"call": number, "bout": int(bout)}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_calls(table: pa.Table, path: str | Path) -> None:
    """Write calls.parquet; unlike a DataFrame, an Arrow table keeps the types of empty columns and of lists."""
    with written_whole(path) as partial:
        pyarrow.parquet.write_table(table, partial)


def number_bouts(start_s: np.ndarray, stop_s: np.ndarray, bout_gap_s: float) -> np.ndarray:
    """Bout of each call, shape (n_calls,): a new one begins after a silence longer than `bout_gap_s`."""
    silence_s = np.asarray(start_s)[1:] - np.maximum.accumulate(stop_s)[:-1]
    return np.concatenate([[0], np.cumsum(silence_s > bout_gap_s)])[: len(start_s)]


def _measure(spectrogram: Spectrogram, saliency: Saliency, start_s: float, stop_s: float) -> dict:
    first, stop = _frames(spectrogram, start_s, stop_s)
    frequency_hz, floor_db = spectrogram.frequency_hz, spectrogram.noise_floor_db
    level_db = spectrogram.power_db(first, stop)  # (n_frames, n_bands)
    power = 10 ** (level_db.astype(np.float64) / 10)
    excess = np.maximum(power - MEAN_OVER_MEDIAN * 10 ** (floor_db / 10), 0)
    salience = saliency.standardised(first, stop)
    frames, contour_hz = trace_contour(saliency=salience, excess=excess, frequency_hz=frequency_hz)
    contour_s = spectrogram.time_s(first + frames)
    bins = np.abs(contour_hz[:, None] - frequency_hz).argmin(axis=1)
    contour_db = (level_db[frames, bins] - floor_db[bins]).astype(np.float64)
    profile = _profile(power, floor_db)
    amplitude = np.sqrt(power)
    return {
        "start_s": start_s,
        "stop_s": stop_s,
        "duration_s": stop_s - start_s,
        "peak_hz": contour_hz[contour_db.argmax()],
        "mean_hz": contour_hz.mean(),
        "low_hz": contour_hz.min(),
        "high_hz": contour_hz.max(),
        "bandwidth_hz": _bandwidth(profile, frequency_hz),
        "slope_hz_s": np.polyfit(contour_s - contour_s[0], contour_hz, 1)[0] if len(frames) > 1 else None,
        "sinuosity": _sinuosity(contour_s, contour_hz),
        "level_db": contour_db.mean(),
        "entropy": _entropy(profile),
        "tonality": np.mean(1 - np.exp(np.log(amplitude).mean(axis=1)) / amplitude.mean(axis=1)),
        "confidence": float(score(salience).max()),
        "contour_s": contour_s,
        "contour_hz": contour_hz,
        "contour_db": contour_db,
    }


def _frames(spectrogram: Spectrogram, start_s: float, stop_s: float) -> tuple[int, int]:
    """Frames whose centres lie in [start_s, stop_s], at least the nearest one, as [first, stop)."""
    position = (np.array([start_s, stop_s]) - spectrogram.first_time_s) / spectrogram.hop_s
    first = int(np.ceil(position[0] - 1e-6))
    last = int(np.floor(position[1] + 1e-6))
    if last < first:
        first = last = round(position.mean())
    first = int(np.clip(first, 0, spectrogram.n_frames - 1))
    return first, int(np.clip(last, first, spectrogram.n_frames - 1)) + 1


def _profile(power: np.ndarray, floor_db: np.ndarray) -> np.ndarray:
    """Mean power over frames above what noise alone reaches in so short a mean, shape (n_bands,)."""
    # The mean of n exponential draws has a relative SD of n^-1/2; overlapping frames make it a little larger.
    highest = 1 + NOISE_SDS / np.sqrt(len(power))
    return np.maximum(power.mean(axis=0) - MEAN_OVER_MEDIAN * highest * 10 ** (floor_db / 10), 0)


def _bandwidth(profile: np.ndarray, frequency_hz: np.ndarray) -> float:
    total = profile.sum()
    if total <= 0:
        return 0.0
    share = np.cumsum(profile) / total
    # Each band spans to the middle of its neighbours; energy is spread evenly within it.
    edges_hz = np.concatenate([[frequency_hz[0]], (frequency_hz[1:] + frequency_hz[:-1]) / 2, [frequency_hz[-1]]])
    low_hz, high_hz = np.interp([0.05, 0.95], np.concatenate([[0], share]), edges_hz)
    return float(high_hz - low_hz)


def _entropy(profile: np.ndarray) -> float:
    total = profile.sum()
    if total <= 0:
        return 1.0
    share = profile[profile > 0] / total
    return float(-(share * np.log(share)).sum() / np.log(len(profile)))


def _sinuosity(contour_s: np.ndarray, contour_hz: np.ndarray) -> float:
    """Contour length over the distance of its ends; 1 for a contour of one frame."""
    time_hz = contour_s * KHZ_PER_MS  # s -> Hz
    distance = np.hypot(time_hz[-1] - time_hz[0], contour_hz[-1] - contour_hz[0])
    return float(np.hypot(np.diff(time_hz), np.diff(contour_hz)).sum() / distance) if distance > 0 else 1.0
