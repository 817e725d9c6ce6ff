"""What is measured of each call, from one fixed analysis of the sound.

Tools differ in these definitions; these are Duet's. Where sound is comes from the multitaper saliency
(`pipeline.audio.saliency`); frequencies, levels and spectra come from a Hann window of the same length at the same
frames, since tapers blur frequency. Power counts above the mean noise power of each frequency. None of it depends on
the spectrogram that is stored and shown.
"""

import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.audio.contours import trace_contour
from pipeline.audio.saliency import UNIT_FRAMES
from pipeline.audio.scan import MEAN_AMPLITUDE, Scan
from pipeline.audio.spectrogram_file import Spectrogram
from pipeline.audio.windows import hann_of_unit_energy
from pipeline.storage import written_whole

NOISE_SDS = 3.0  # above which a bin counts as part of a call's spectrum
KHZ_PER_MS = 1e6  # sinuosity is measured where 1 ms is as long as 1 kHz, as calls are commonly drawn
LONGEST_S = 10.0  # of an annotation that is measured: bounds the memory

DEFINITIONS = {
    "call": "number of the call in the session, from 0",
    "bout": "number of its bout, from 0; a silence longer than calls.bout_gap_s ends a bout",
    "start_s": "first frame centre of the call (annotations: as given), s on the audio clock",
    "stop_s": "last frame centre of the call (annotations: as given), s on the audio clock",
    "duration_s": "stop_s - start_s, s",
    "contour_duration_s": "from the first to the last point of the contour, s",
    "peak_hz": "frequency of the contour where it is loudest, Hz",
    "mean_hz": "mean frequency of the contour, Hz",
    "median_hz": "median frequency of the contour (also called principal frequency), Hz",
    "centroid_hz": "mean frequency of the contour weighted by its amplitude, Hz",
    "low_hz": "lowest frequency of the contour, Hz",
    "high_hz": "highest frequency of the contour, Hz",
    "delta_hz": "high_hz - low_hz, Hz",
    "bandwidth_hz": "width that holds 5 to 95 % of the call's energy, of the bins that exceed the noise by 3 SD, Hz",
    "slope_hz_s": "slope of the contour by least squares, Hz/s; empty for a contour of one point",
    "sinuosity": "length of the contour over the distance of its ends, with 1 ms as long as 1 kHz; 1 is straight",
    "n_jumps": "places where the contour breaks off and goes on more than 5 % higher or lower",
    "level_db": "mean level of the contour over the mean noise power of its frequency, dB",
    "entropy": "Shannon entropy of that energy over frequency, 0 (one bin) to 1 (all bins alike)",
    "tonality": "1 - geometric / arithmetic mean of the amplitude over frequency, mean over frames; 1 is a pure tone",
    "confidence": "highest saliency of its frames, noise SDs; only calls above calls.peak_threshold are found",
    "clipped": "share of its frames in spectrogram.nc that are not usable (clipped, dropped out), 0 to 1",
    "label": "label of the annotation; empty for detected calls",
    "contour_s": "times of the contour, s on the audio clock",
    "contour_hz": "frequency of the contour at those times, Hz",
    "contour_db": "level of the contour at those times over the mean noise power of its frequency, dB",
}
_TYPES = {"call": pa.int64(), "bout": pa.int64(), "n_jumps": pa.int64(), "label": pa.string()}
_LISTS = ("contour_s", "contour_hz", "contour_db")
SCHEMA = pa.schema(
    [
        pa.field(
            name,
            pa.list_(pa.float64()) if name in _LISTS else _TYPES.get(name, pa.float64()),
            metadata={"description": definition},
        )
        for name, definition in DEFINITIONS.items()
    ]
)


def measure_calls(
    scan: Scan | None,
    calls: Iterable[tuple[float, float, str]],
    *,
    spectrogram: Spectrogram | None,
    bout_gap_s: float,
) -> pa.Table:
    """Measure calls, each its start and stop (s, audio clock) and label, in the order of their starts.

    Returns a table with the columns of `DEFINITIONS`, one row a call; what lies where there is no sound, in gaps
    between files, has empty features and a warning. `scan` may be None where there are no calls. `spectrogram` tells
    which frames are usable; without it `clipped` stays empty.
    """
    measure = _Measure(scan) if scan is not None else None
    rows: list[dict] = []
    for start_s, stop_s, label in calls:
        row = {"call": len(rows), "label": label, "start_s": start_s, "stop_s": stop_s, "duration_s": stop_s - start_s}
        rows.append(row | measure(start_s, min(stop_s, start_s + LONGEST_S)))
    start_s, stop_s = (np.array([row[name] for row in rows], float) for name in ("start_s", "stop_s"))
    for row, bout in zip(rows, number_bouts(start_s, stop_s, bout_gap_s), strict=True):
        row["bout"] = int(bout)
    if spectrogram is not None and rows:
        for row, share in zip(rows, clipped_shares(spectrogram, start_s, stop_s), strict=True):
            row["clipped"] = float(share)
    n_silent = sum(row.get("peak_hz") is None for row in rows)
    if n_silent:
        warnings.warn(f"{n_silent} of {len(rows)} calls lie where there is no sound: not measured", stacklevel=2)
    n_long = int((stop_s - start_s > LONGEST_S).sum())
    if n_long:
        warnings.warn(f"{n_long} calls last longer than {LONGEST_S:g} s: measured up to there", stacklevel=2)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_calls(table: pa.Table, path: str | Path) -> None:
    """Write calls.parquet; unlike a DataFrame, an Arrow table keeps the types of empty columns and of lists."""
    with written_whole(path) as partial:
        pyarrow.parquet.write_table(table, partial, use_dictionary=["label"])  # numbers hardly repeat


def number_bouts(start_s: np.ndarray, stop_s: np.ndarray, bout_gap_s: float) -> np.ndarray:
    """Bout of each call, shape (n_calls,): a new one begins after a silence longer than `bout_gap_s`."""
    silence_s = np.asarray(start_s)[1:] - np.maximum.accumulate(stop_s)[:-1]
    return np.concatenate([[0], np.cumsum(silence_s > bout_gap_s)])[: len(start_s)]


def clipped_shares(spectrogram: Spectrogram, start_s: np.ndarray, stop_s: np.ndarray) -> np.ndarray:
    """Share of each call's frames of the stored spectrogram that are not usable, shape (n_calls,)."""
    bad = np.concatenate([[0], np.cumsum(~spectrogram.usable)])
    times = (spectrogram.first_time_s, spectrogram.hop_s, spectrogram.n_frames)
    spans = [_frames(*span, *times) for span in zip(start_s.tolist(), stop_s.tolist(), strict=True)]
    first, stop = np.array(spans, int).reshape(-1, 2).T
    return (bad[stop] - bad[first]) / np.maximum(stop - first, 1)


def _frames(start_s: float, stop_s: float, first_s: float, hop_s: float, n_frames: int) -> tuple[int, int]:
    """Frames whose centres lie in [start_s, stop_s], at least the nearest one, as [first, stop)."""
    first = math.ceil((start_s - first_s) / hop_s - 1e-6)
    last = math.floor((stop_s - first_s) / hop_s + 1e-6)
    if last < first:
        first = last = round(((start_s + stop_s) / 2 - first_s) / hop_s)
    first = min(max(first, 0), n_frames - 1)
    return first, min(max(last, first), n_frames - 1) + 1


class _Measure:
    """Measures one call after the other."""

    def __init__(self, scan: Scan):
        self._scan = scan
        tool = scan.multitaper
        self._frequency_hz = tool.frequency_hz[tool.band]
        # Each bin spans to the middle of its neighbours.
        ends_hz, middle_hz = self._frequency_hz[[0, -1]], (self._frequency_hz[1:] + self._frequency_hz[:-1]) / 2
        self._edges_hz = np.concatenate([ends_hz[:1], middle_hz, ends_hz[1:]])
        self._window = hann_of_unit_energy(tool.n_window)

    def __call__(self, start_s: float, stop_s: float) -> dict:
        scan, frequency_hz = self._scan, self._frequency_hz
        first, stop = _frames(start_s, stop_s, scan.first_s, scan.hop_s, scan.n_frames)
        kept, saliency, power, noise = self._analysed(first, stop)
        if not len(kept):
            return {}
        excess = np.maximum(power - noise, 0)
        frames, contour_hz, n_jumps = trace_contour(saliency=saliency, excess=excess, frequency_hz=frequency_hz)
        contour_s = scan.first_s + (first + kept[frames]) * scan.hop_s
        bins = np.rint((contour_hz - frequency_hz[0]) / (frequency_hz[1] - frequency_hz[0])).astype(int)
        contour_db = 10 * np.log10(power[frames, bins] / noise[bins])
        amplitude = 10 ** (contour_db / 20)
        # The mean of n exponential draws has a relative SD of n^-1/2; overlapping frames make it a little larger.
        spread = NOISE_SDS / np.sqrt(len(power))
        profile = np.maximum(power.mean(axis=0) - (1 + spread) * noise, 0)
        magnitude = np.sqrt(power)
        low_hz, high_hz = contour_hz.min(), contour_hz.max()
        return {
            "contour_duration_s": contour_s[-1] - contour_s[0],
            "peak_hz": contour_hz[contour_db.argmax()],
            "mean_hz": contour_hz.mean(),
            "median_hz": _median(contour_hz),
            "centroid_hz": (amplitude * contour_hz).sum() / amplitude.sum(),
            "low_hz": low_hz,
            "high_hz": high_hz,
            "delta_hz": high_hz - low_hz,
            "bandwidth_hz": _bandwidth(profile, self._edges_hz),
            "slope_hz_s": _slope(contour_s, contour_hz),
            "sinuosity": _sinuosity(contour_s, contour_hz),
            "n_jumps": n_jumps,
            "level_db": contour_db.mean(),
            "entropy": _entropy(profile),
            "tonality": (1 - np.exp(np.log(magnitude).mean(axis=1)) / magnitude.mean(axis=1)).mean(),
            "confidence": float(saliency.max()),
            "contour_s": contour_s,
            "contour_hz": contour_hz,
            "contour_db": contour_db,
        }

    def _analysed(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of the frames [first, stop) those that hold sound, counted from `first`; their saliency, power and noise.

        Saliency and power have the shape (n_frames, n_bins), noise (n_bins,): that of where the call begins. Power and
        noise are of a window of unit energy.
        """
        scan, tool = self._scan, self._scan.multitaper
        units = range(first // UNIT_FRAMES, (stop - 1) // UNIT_FRAMES + 1)
        noises = [scan.segment_of(unit).noise for unit in units]
        inner = slice(first - units[0] * UNIT_FRAMES, stop - units[0] * UNIT_FRAMES)
        sound = scan.has_sound(np.arange(first, stop))
        if any(noise is None for noise in noises):
            sound &= np.repeat([noise is not None for noise in noises], UNIT_FRAMES)[inner]
        kept = np.flatnonzero(sound)
        if not len(kept):
            return kept, *(3 * [np.empty(0)])
        blank = np.zeros((UNIT_FRAMES, len(self._frequency_hz)), np.float32)
        saliency = [blank if noise is None else scan.features(unit) for unit, noise in zip(units, noises, strict=True)]
        windows = sliding_window_view(scan.samples(units[0], units[-1] + 1), tool.n_window)
        windows = windows[tool.n_hop :: tool.n_hop][inner]
        spectrum = scipy.fft.rfft(windows * self._window, axis=1, workers=1)[kept, tool.bins.start :]
        power = np.abs(spectrum[:, tool.band]) ** 2
        # Digital silence must have a logarithm.
        np.maximum(power, tool.least_power, out=power)
        floor_db = next(noise.floor_db for noise in noises if noise is not None)
        noise = np.float32(1 / MEAN_AMPLITUDE**2) * 10 ** (floor_db / 10)
        return kept, np.concatenate(saliency)[inner][kept], power, noise


def _median(values: np.ndarray) -> float:
    """That of few values, in a tenth of the time that np.median takes."""
    ordered = np.sort(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _bandwidth(profile: np.ndarray, edges_hz: np.ndarray) -> float:
    share = np.zeros(len(edges_hz))
    profile.cumsum(out=share[1:])
    if share[-1] <= 0:
        return 0.0
    # Energy is spread evenly within a bin.
    low_hz, high_hz = np.interp((0.05 * share[-1], 0.95 * share[-1]), share, edges_hz)
    return float(high_hz - low_hz)


def _entropy(profile: np.ndarray) -> float:
    total = profile.sum()
    if total <= 0:
        return 1.0
    share = profile[profile > 0] / total
    return float(-(share * np.log(share)).sum() / np.log(len(profile)))


def _slope(contour_s: np.ndarray, contour_hz: np.ndarray) -> float | None:
    """Least squares, Hz/s; None for a contour of one point."""
    if len(contour_s) < 2:
        return None
    time_s = contour_s - contour_s.mean()
    return float((time_s * contour_hz).sum() / (time_s**2).sum())


def _sinuosity(contour_s: np.ndarray, contour_hz: np.ndarray) -> float:
    """Contour length over the distance of its ends; 1 for a contour of one point."""
    time_hz = contour_s * KHZ_PER_MS  # s -> Hz
    distance = np.hypot(time_hz[-1] - time_hz[0], contour_hz[-1] - contour_hz[0])
    return float(np.hypot(np.diff(time_hz), np.diff(contour_hz)).sum() / distance) if distance > 0 else 1.0
