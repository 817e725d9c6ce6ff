"""Band-limited log power spectrograms, streamed: memory does not grow with the recording.

Power is that of scipy.signal.spectrogram(window="hann", scaling="spectrum", detrend=False): a sine of amplitude A
at the centre of a bin has the power A^2 / 2 (Heinzel, Ruediger & Schilling 2002, eq. 22), here as
10 log10, dB re 1 squared unit of the samples (sound files: of full scale).
Frame i spans the samples [i hop, i hop + window), counted from the first sample of the recording, and its time
is the middle of that span. Frames lie on this grid across all files of a recording; a frame that touches a gap between
two files is not usable, and not written.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.audio.bands import band_filters
from pipeline.audio.half import HalfPrecision
from pipeline.audio.noise_floor import Reservoir
from pipeline.audio.quality import QualityWatch
from pipeline.audio.recording import Recording, check_range
from pipeline.audio.spectrogram_file import read_power_db, written_spectrogram
from pipeline.audio.windows import hann
from pipeline.errors import InputError

__all__ = ["compute_spectrogram", "read_power_db", "write_silence"]

BLOCK_FRAMES = 256  # a block's arrays stay in the cache
LARGEST_BLOCK = 1 << 20  # samples of all windows of a block; for long windows, fewer frames
ROWS_AT_ONCE = 16  # transforms are vectorised over so many rows, and those that are left over round differently
DB = 20 / np.log(10)
MUCH = 0.01  # a smaller share of unusable frames is nothing to warn of


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

    Warns, once, of samples that are no numbers and of many unusable frames. Raises InputError where the range does
    not fit the sampling rate, the recording cannot be read or nothing of it can be analysed.
    """
    transform = BandPower(
        recording, low_hz=low_hz, high_hz=high_hz, hop_s=hop_s, window_s=window_s, scale=scale, n_bands=n_bands,
        block_frames=block_frames,
    )  # fmt: skip
    watch, rate_hz = transform.watch, recording.rate_hz
    reservoir = Reservoir(len(transform.frequency_hz))
    with (
        recording,
        written_spectrogram(
            path,
            n_frames=transform.n_frames,
            frequency_hz=transform.frequency_hz,
            n_files=len(recording.sources),
            silence_db=transform.silence_db,
        ) as writer,
    ):
        for first_frame, power_db in transform.blocks():
            writer.write(first_frame, power_db)
            reservoir.see(first_frame, power_db, silence_db=transform.silence_db)
        transform.report()
        writer.finish(
            first_time_s=recording.start_s + transform.n_window / 2 / rate_hz,
            hop_s=transform.n_hop / rate_hz,
            usable=watch.usable,
            noise_floor_db=reservoir.median_db(watch.usable, silence_db=transform.silence_db),
            file_start_s=recording.file_start_s,
            file_stop_s=recording.file_stop_s,
            attributes={
                "rate_hz": rate_hz,
                "hop_s": transform.n_hop / rate_hz,
                "window_s": transform.n_window / rate_hz,
                "duration_s": recording.duration_s,
                "low_hz": float(low_hz),
                "high_hz": float(high_hz),
                "scale": scale,
                "units": f"dB re 1 ({recording.sources[0].unit})^2",
                "channel": recording.channel,
            },
        )


def write_silence(
    path: str | Path, *, low_hz: float, high_hz: float, hop_s: float, window_s: float, scale: str
) -> None:
    """Write the spectrogram of a session without audio: no frames, no bands, no files."""
    nothing = np.empty(0)
    with written_spectrogram(path, n_frames=0, frequency_hz=nothing, n_files=0, silence_db=0.0) as writer:
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
                "channel": 0,
            },
        )


class BandPower:
    """The log power of a recording, block by block, in arrays made once.

    `n_frames`, `n_window` and `n_hop` (samples) describe the grid, `frequency_hz`, shape (n_bands,), the bands;
    `silence_db` is the level of rounding, below which nothing is sound; `watch` knows which frames are usable, once
    the blocks have passed.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        low_hz: float,
        high_hz: float,
        hop_s: float,
        window_s: float,
        scale: str,
        n_bands: int | None,
        block_frames: int = BLOCK_FRAMES,
    ):
        check_range(recording, low_hz=low_hz, high_hz=high_hz, window_s=window_s)
        rate_hz = recording.rate_hz
        self.n_window, self.n_hop = max(round(window_s * rate_hz), 2), max(round(hop_s * rate_hz), 1)
        self._bins, self._weights, self.frequency_hz = band_filters(
            rate_hz=rate_hz, n_window=self.n_window, low_hz=low_hz, high_hz=high_hz, scale=scale, n_bands=n_bands
        )
        block_frames = max(min(block_frames, LARGEST_BLOCK // self.n_window), 1)
        self.n_frames = max((recording.n_samples - self.n_window) // self.n_hop + 1, 0)
        self._recording, self._block_frames, self._n_seen = recording, block_frames, 0
        dtype, value = recording.raw_format
        self.watch = QualityWatch(
            n_frames=self.n_frames,
            n_window=self.n_window,
            n_hop=self.n_hop,
            rate_hz=rate_hz,
            full_scale=min(source.full_scale for source in recording.sources) / abs(value),
        )
        self._samples = np.empty((block_frames - 1) * self.n_hop + self.n_window, dtype)
        self._windows = sliding_window_view(self._samples, self.n_window)[:: self.n_hop]  # (block_frames, n_window)
        rows = -(-block_frames // ROWS_AT_ONCE) * ROWS_AT_ONCE
        self._frames = np.zeros((rows, self.n_window), np.float32)
        self._amplitude = np.zeros((rows, self._bins.stop - self._bins.start), np.float32)
        # What is done in place stays in the cache.
        whole = self._weights is None
        self._levels = self._amplitude if whole else np.empty((rows, len(self.frequency_hz)), np.float32)
        self._half = HalfPrecision(self._levels.shape)

        window = hann(self.n_window)
        # One-sided: all bins but the first and, for even windows, the last stand for two. The unit of the samples
        # and all other factors go into the window, which is multiplied anyway.
        self._window = (window * (abs(value) * 2**0.5 / window.sum())).astype(np.float32)
        single = {0} | ({self.n_window // 2} if self.n_window % 2 == 0 else set())
        self._single = [k - self._bins.start for k in single if self._bins.start <= k < self._bins.stop]
        # Nothing below the noise of rounding to a step q, of variance q^2 / 12, is sound.
        quantum = min(source.quantum for source in recording.sources)
        least = np.float32((2 * quantum**2 / 12 * (window**2).sum()) ** 0.5 / window.sum())
        self.silence_db = float(np.float16(DB * np.log(least)))
        # A row, since numpy is slower with a single number.
        self._least = np.full(len(self.frequency_hz), least if self._weights is None else least**2)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first frame and the levels (dB, float16, shape (n, n_bands)) of up to `block_frames` frames.

        The array is overwritten with the next block. Frames that touch a gap are passed over.
        """
        n_window, n_hop, samples = self.n_window, self.n_hop, self._samples
        covered = 0
        for start, stop in self._recording.stretches:
            frame, end = -(-start // n_hop), (stop - n_window) // n_hop + 1
            if end <= frame:
                continue
            self.watch.usable[covered:frame] = False
            covered, kept = end, 0
            while frame < end:
                n = min(self._block_frames, end - frame)
                needed, place = (n - 1) * n_hop + n_window, frame * n_hop + kept
                fresh = samples[kept:needed]
                self._recording.read_raw(place, fresh)
                self.watch.see(fresh, place)
                yield frame, self._levels_db(n)
                kept = max(needed - n * n_hop, 0)
                samples[:kept] = samples[needed - kept : needed]
                frame += n
                self._n_seen += n
        self.watch.usable[covered:] = False

    def _levels_db(self, n: int) -> np.ndarray:
        """Levels of the first `n` frames in the samples that were read."""
        np.multiply(self._windows[:n], self._window, out=self._frames[:n])
        rows = -(-n // ROWS_AT_ONCE) * ROWS_AT_ONCE
        spectrum = scipy.fft.rfft(self._frames[:rows], axis=1, workers=1)
        amplitude = np.abs(spectrum[:n, self._bins], out=self._amplitude[:n])
        for k in self._single:
            amplitude[:, k] *= np.float32(0.5**0.5)
        if self._weights is None:
            levels = np.maximum(amplitude, self._least, out=self._levels[:n])
            np.log(levels, out=levels)
            return self._half(levels, DB)
        np.square(amplitude, out=amplitude)
        # Always the whole block: the rounding of a row may depend on how many there are.
        np.matmul(self._amplitude, self._weights, out=self._levels)
        levels = np.maximum(self._levels[:n], self._least, out=self._levels[:n])
        np.log(levels, out=levels)
        return self._half(levels, DB / 2)

    def report(self) -> None:
        """Warn, once, of what is wrong with the blocks that passed; raise InputError where nothing can be analysed."""
        watch, where = self.watch, _name(self._recording)
        unusable = self._n_seen - int(watch.usable.sum())
        share = unusable / max(self._n_seen, 1)
        if unusable == self._n_seen and (watch.clipped or watch.n_invalid):
            raise InputError(
                "no sound is left for analysis",
                where=where,
                found=f"{unusable} frames, all of them {watch.reasons}",
                mend="choose another audio.channel, or leave the session's audio empty",
            )
        if watch.n_invalid or share >= MUCH:
            invalid = f"{watch.n_invalid} samples are not numbers; " if watch.n_invalid else ""
            warnings.warn(
                f"{where}: {invalid}{unusable} of {self._n_seen} frames ({share:.2%}) are not analysed "
                f"({watch.reasons})",
                stacklevel=3,
            )


def _name(recording: Recording) -> str:
    more = len(recording.sources) - 1
    return f"{recording.sources[0].path}" + (f" and {more} more file(s)" if more else "")
