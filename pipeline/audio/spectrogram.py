"""Band-limited log power spectrograms, streamed: memory does not grow with the recording.

Power is that of scipy.signal.spectrogram(window="hann", scaling="spectrum", detrend=False): a sine of amplitude A
at the centre of a bin has the power A^2 / 2 (Heinzel, Ruediger & Schilling 2002, eq. 22), here as
10 log10, dB re 1 squared unit of the samples (sound files: of full scale).
Frame i spans the samples [i hop, i hop + window), counted from the first sample of the recording, and its time
is the middle of that span.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import get_window

from pipeline.audio.bands import band_filters
from pipeline.audio.quality import QualityWatch
from pipeline.audio.recording import Recording, check_range
from pipeline.audio.spectrogram_file import read_power_db, written_spectrogram

__all__ = ["compute_spectrogram", "read_power_db", "write_silence"]

BLOCK_FRAMES = 256  # a block's arrays stay in the cache
RESERVOIR_FRAMES = 2048  # the median over so many frames is good to about 0.1 dB


def compute_spectrogram(
    recording: Recording,
    path: str | Path,
    *,
    low_hz: float,
    high_hz: float,
    hop_s: float,
    window_s: float,
    scale: str,
    n_bands: int | None,
    block_frames: int = BLOCK_FRAMES,
) -> None:
    """Write the spectrogram of `recording` between `low_hz` and `high_hz` to `path` (netCDF4).

    `hop_s` and `window_s` are rounded to whole samples; the file holds the true values. `scale` and `n_bands` as in
    `band_filters`. The result does not depend on `block_frames`.

    Raises InputError where the range does not fit the sampling rate or the recording cannot be read.
    """
    check_range(recording, low_hz=low_hz, high_hz=high_hz, window_s=window_s)
    rate_hz = recording.rate_hz
    n_window, n_hop = max(round(window_s * rate_hz), 2), max(round(hop_s * rate_hz), 1)
    bins, weights, frequency_hz = band_filters(
        rate_hz=rate_hz, n_window=n_window, low_hz=low_hz, high_hz=high_hz, scale=scale, n_bands=n_bands
    )
    n_frames = max((recording.n_samples - n_window) // n_hop + 1, 0)
    source = recording.sources[0]
    watch = QualityWatch(
        n_frames=n_frames, n_window=n_window, n_hop=n_hop, rate_hz=rate_hz, full_scale=source.full_scale
    )
    transform = _Transform(
        n_window=n_window, n_hop=n_hop, block_frames=block_frames, bins=bins, weights=weights, quantum=source.quantum
    )
    reservoir = _Reservoir(len(frequency_hz))
    with written_spectrogram(
        path, n_frames=n_frames, frequency_hz=frequency_hz, n_files=len(recording.sources)
    ) as writer:
        for samples in _stretches(recording, watch, n_window=n_window, n_hop=n_hop, block_frames=block_frames):
            power_db = transform(samples)
            writer.append(power_db)
            reservoir.see(power_db)
        writer.finish(
            first_time_s=recording.start_s + n_window / 2 / rate_hz,
            hop_s=n_hop / rate_hz,
            usable=watch.usable,
            noise_floor_db=reservoir.median_db(watch.usable),
            file_start_s=recording.file_start_s,
            file_stop_s=recording.file_stop_s,
            attributes={
                "rate_hz": rate_hz,
                "hop_s": n_hop / rate_hz,
                "window_s": n_window / rate_hz,
                "duration_s": recording.duration_s,
                "low_hz": float(low_hz),
                "high_hz": float(high_hz),
                "scale": scale,
                "units": f"dB re 1 ({source.unit})^2",
            },
        )


def write_silence(
    path: str | Path, *, low_hz: float, high_hz: float, hop_s: float, window_s: float, scale: str
) -> None:
    """Write the spectrogram of a session without audio: no frames, no bands, no files."""
    nothing = np.empty(0)
    with written_spectrogram(path, n_frames=0, frequency_hz=nothing, n_files=0) as writer:
        writer.finish(
            first_time_s=0.0,
            hop_s=hop_s,
            usable=np.empty(0, bool),
            noise_floor_db=nothing,
            file_start_s=nothing,
            file_stop_s=nothing,
            attributes={
                "rate_hz": 0.0,
                "hop_s": hop_s,
                "window_s": window_s,
                "duration_s": 0.0,
                "low_hz": float(low_hz),
                "high_hz": float(high_hz),
                "scale": scale,
                "units": "dB",
            },
        )


def _stretches(
    recording: Recording, watch: QualityWatch, *, n_window: int, n_hop: int, block_frames: int
) -> Iterator[np.ndarray]:
    """Samples of up to `block_frames` whole frames each, with the overlap that their windows need."""
    kept = np.empty(0, np.float32)
    for block in recording.blocks(block_frames * n_hop):
        watch.see(block)
        samples = np.concatenate([kept, block])
        n_frames = min(max((len(samples) - n_window) // n_hop + 1, 0), block_frames)
        if n_frames:
            yield samples[: (n_frames - 1) * n_hop + n_window]
        kept = samples[n_frames * n_hop :]
    # Windows longer than a block leave frames behind.
    while len(kept) >= n_window:
        n_frames = min((len(kept) - n_window) // n_hop + 1, block_frames)
        yield kept[: (n_frames - 1) * n_hop + n_window]
        kept = kept[n_frames * n_hop :]


class _Transform:
    """Samples of up to `block_frames` frames -> log power, float16, shape (n, n_bands), in arrays made once."""

    def __init__(self, *, n_window, n_hop, block_frames, bins, weights, quantum):
        window = get_window("hann", n_window)
        self._window = window.astype(np.float32)
        self._n_window, self._n_hop = n_window, n_hop
        self._bins, self._weights = bins, weights
        self._frames = np.zeros((block_frames, n_window), np.float32)
        self._amplitude = np.empty((block_frames, bins.stop - bins.start), np.float32)
        # One-sided: all bins but the first and, for even windows, the last stand for two.
        sides = np.full(n_window // 2 + 1, 2.0)
        sides[0] = 1
        if n_window % 2 == 0:
            sides[-1] = 1
        self._scale = (sides[bins] ** 0.5 / window.sum()).astype(np.float32)
        # Nothing below the noise of rounding to a step q, of variance q^2 / 12, is sound.
        self._least = np.float32(2 * quantum**2 / 12 * (window**2).sum() / window.sum() ** 2)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        windows = sliding_window_view(samples, self._n_window)[:: self._n_hop]  # (n, n_window)
        n = len(windows)
        np.multiply(windows, self._window, out=self._frames[:n])
        # Always the whole block: the rounding of a row may depend on how many are transformed together.
        spectrum = scipy.fft.rfft(self._frames, axis=1, workers=1)[:, self._bins]
        np.abs(spectrum, out=self._amplitude)
        power = self._amplitude
        power *= self._scale
        np.square(power, out=power)
        if self._weights is not None:
            power = power @ self._weights  # (block_frames, n_bands)
        np.maximum(power, self._least, out=power)
        np.log10(power, out=power)
        power *= 10
        return power[:n].astype(np.float16)


class _Reservoir:
    """Evenly spaced frames of all that passed, at most 2 RESERVOIR_FRAMES: when full, every second one is dropped."""

    def __init__(self, n_bands: int):
        self._frames = np.empty((2 * RESERVOIR_FRAMES, n_bands), np.float16)
        self._stride, self._kept, self._seen = 1, 0, 0

    def see(self, power_db: np.ndarray) -> None:
        for i in range(-self._seen % self._stride, len(power_db), self._stride):
            # The stride may have doubled within this block.
            if (self._seen + i) % self._stride == 0:
                self._frames[self._kept] = power_db[i]
                self._kept += 1
            if self._kept == len(self._frames):
                self._frames[:RESERVOIR_FRAMES] = self._frames[::2]
                self._kept, self._stride = RESERVOIR_FRAMES, 2 * self._stride
        self._seen += len(power_db)

    def median_db(self, usable: np.ndarray) -> np.ndarray:
        """Median level of each band over the usable frames (over all where none is), float32, shape (n_bands,)."""
        frames = self._frames[: self._kept].astype(np.float32)
        good = usable[: self._seen : self._stride][: self._kept]
        return np.median(frames[good] if good.any() else frames, axis=0)
