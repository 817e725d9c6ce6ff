"""spectrogram.nc: written in a stream, read in slices."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5netcdf
import h5py
import numpy as np

from pipeline.errors import InputError
from pipeline.storage import written_whole

if TYPE_CHECKING:
    import xarray as xr

CHUNK_FRAMES = 4096
SMALL_CHUNK_FRAMES = 65536  # of what has one number a frame


class SpectrogramWriter:
    """Collects frames into whole chunks, since HDF5 writes those at full speed.

    Chunks without a frame are never written and cost no disk; they read as `silence_db`, the level of digital
    silence: a finite number, so that a reader who forgets `usable` averages no not-a-number.
    """

    def __init__(
        self, file: h5netcdf.File, *, n_frames: int, frequency_hz: np.ndarray, n_files: int, silence_db: float
    ):
        n_bands = len(frequency_hz)
        file.dimensions = {"time": n_frames, "frequency": n_bands, "file": n_files}
        # Without frames (a session without audio) there is nothing to cut into chunks.
        chunks = (min(CHUNK_FRAMES, n_frames), n_bands) if n_frames and n_bands else None
        self._file, self._silence_db = file, np.float16(silence_db)
        self._power = file.create_variable(
            "power_db", ("time", "frequency"), "f2", chunks=chunks, fillvalue=self._silence_db
        )
        del self._power.attrs["_FillValue"]  # xarray would turn digital silence into not-a-number
        self._power.attrs["units"] = "dB"
        frequency = file.create_variable("frequency", ("frequency",), "f8", data=frequency_hz)
        frequency.attrs["units"] = "Hz"
        self._chunk = np.empty((CHUNK_FRAMES, n_bands), np.float16)
        self._first, self._filled = 0, 0  # frame at which the chunk starts; frames in it

    def write(self, first_frame: int, power_db: np.ndarray) -> None:
        """Write frames from `first_frame` on, shape (n, n_bands), dB; later calls must be about later frames."""
        while len(power_db):
            if first_frame >= self._first + CHUNK_FRAMES:
                self._flush()
                self._first = first_frame // CHUNK_FRAMES * CHUNK_FRAMES
            at = first_frame - self._first
            self._chunk[self._filled : at] = self._silence_db
            taken = power_db[: CHUNK_FRAMES - at]
            self._chunk[at : at + len(taken)] = taken
            self._filled, first_frame, power_db = at + len(taken), first_frame + len(taken), power_db[len(taken) :]

    def finish(
        self,
        *,
        first_time_s: float,
        hop_s: float,
        usable: np.ndarray,
        noise_floor_db: np.ndarray,
        file_start_s: np.ndarray,
        file_stop_s: np.ndarray,
        attributes: dict,
    ) -> None:
        """Write what is known only at the end, and the small arrays."""
        self._flush()
        n_frames = len(usable)
        # Even times and flags pack to a hundredth: what is left of a gap.
        packed = {"chunks": (min(SMALL_CHUNK_FRAMES, n_frames),), "compression": "gzip", "compression_opts": 1}
        packed = packed | {"shuffle": True} if n_frames else {}
        time = self._file.create_variable("time", ("time",), "f8", **packed)
        time.attrs["units"] = "s"  # no "since": xarray must not make dates of it
        for start in range(0, n_frames, SMALL_CHUNK_FRAMES):
            frames = np.arange(start, min(start + SMALL_CHUNK_FRAMES, n_frames))
            time[frames[0] : frames[-1] + 1] = first_time_s + frames * hop_s
        flags = self._file.create_variable("usable", ("time",), "i1", data=usable.view(np.int8), **packed)
        flags.attrs["dtype"] = "bool"  # how xarray writes booleans
        floor = self._file.create_variable("noise_floor_db", ("frequency",), "f4", data=noise_floor_db)
        floor.attrs["units"] = "dB"
        for name, values in (("file_start_s", file_start_s), ("file_stop_s", file_stop_s)):
            self._file.create_variable(name, ("file",), "f8", data=values).attrs["units"] = "s"
        for name, value in attributes.items():
            self._file.attrs[name] = value

    def _flush(self) -> None:
        if self._filled:
            self._power[self._first : self._first + self._filled] = self._chunk[: self._filled]
            self._filled = 0


@contextmanager
def written_spectrogram(
    path: str | Path, *, n_frames: int, frequency_hz: np.ndarray, n_files: int, silence_db: float
) -> Iterator[SpectrogramWriter]:
    """Yield a writer; the file takes its place only if the block succeeds."""
    with written_whole(path) as partial, h5netcdf.File(partial, "w") as file:
        yield SpectrogramWriter(
            file, n_frames=n_frames, frequency_hz=frequency_hz, n_files=n_files, silence_db=silence_db
        )


@dataclass(frozen=True)
class Spectrogram:
    """An open spectrogram.nc: small arrays in memory, power read by slices.

    `channel` is that of the recording; frames that are not `usable` (clipped, dropped out, in a gap between files)
    hold no sound.
    """

    frequency_hz: np.ndarray
    noise_floor_db: np.ndarray
    usable: np.ndarray
    first_time_s: float
    hop_s: float
    start_s: float
    stop_s: float
    channel: int
    _power: h5py.Dataset

    @property
    def n_frames(self) -> int:
        return self._power.shape[0]

    def power_db(self, start_frame: int, stop_frame: int) -> np.ndarray:
        """Frames [start_frame, stop_frame) within the file, float32, shape (n, n_bands), dB."""
        return self._power[max(start_frame, 0) : max(stop_frame, 0)].astype(np.float32)

    def time_s(self, frame: np.ndarray | int) -> np.ndarray | float:
        """Centre of a frame on the audio clock, s."""
        return self.first_time_s + frame * self.hop_s


@contextmanager
def open_spectrogram(path: str | Path) -> Iterator[Spectrogram]:
    """Open a spectrogram.nc for reading in slices.

    Raises InputError where it is missing or not a spectrogram.
    """
    with _opened(path) as file:
        yield Spectrogram(
            frequency_hz=file["frequency"][:],
            noise_floor_db=file["noise_floor_db"][:],
            usable=file["usable"][:].astype(bool),
            first_time_s=float(file["time"][0]) if len(file["time"]) else 0.0,
            hop_s=float(np.ravel(file.attrs["hop_s"])[0]),  # netCDF attributes are lists
            start_s=float(file["file_start_s"][0]) if len(file["file_start_s"]) else 0.0,
            stop_s=float(file["file_stop_s"][-1]) if len(file["file_stop_s"]) else 0.0,
            channel=int(np.ravel(file.attrs.get("channel", 0))[0]),
            _power=file["power_db"],
        )


def read_power_db(source: "str | Path | xr.Dataset", start_frame: int, stop_frame: int) -> np.ndarray:
    """Frames [start_frame, stop_frame) of a spectrogram.nc (path or open dataset): float32 dB, shape (n, n_bands)."""
    frames = slice(max(start_frame, 0), max(stop_frame, 0))
    if isinstance(source, str | Path):
        with _opened(source) as file:
            return file["power_db"][frames].astype(np.float32)
    return source["power_db"][frames].values.astype(np.float32)


@contextmanager
def _opened(path: str | Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError("cannot read this spectrogram", where=path, found=error, mend="make it again") from error
    with file:
        if "power_db" not in file:
            raise InputError("not a spectrogram", where=path, found=list(file), mend="make it with duet spectrogram")
        yield file
