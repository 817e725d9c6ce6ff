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


class SpectrogramWriter:
    """Collects frames into whole chunks, since HDF5 writes those at full speed."""

    def __init__(self, file: h5netcdf.File, *, n_frames: int, frequency_hz: np.ndarray, n_files: int):
        n_bands = len(frequency_hz)
        file.dimensions = {"time": n_frames, "frequency": n_bands, "file": n_files}
        # Without frames (a session without audio) there is nothing to cut into chunks.
        chunks = (min(CHUNK_FRAMES, n_frames), n_bands) if n_frames and n_bands else None
        self._file = file
        self._power = file.create_variable("power_db", ("time", "frequency"), "f2", chunks=chunks)
        self._power.attrs["units"] = "dB"
        frequency = file.create_variable("frequency", ("frequency",), "f8", data=frequency_hz)
        frequency.attrs["units"] = "Hz"
        self._chunk = np.empty((CHUNK_FRAMES, n_bands), np.float16)
        self._filled, self._written = 0, 0

    def append(self, power_db: np.ndarray) -> None:
        """Add frames, shape (n, n_bands), dB."""
        while len(power_db):
            taken = power_db[: CHUNK_FRAMES - self._filled]
            self._chunk[self._filled : self._filled + len(taken)] = taken
            self._filled, power_db = self._filled + len(taken), power_db[len(taken) :]
            if self._filled == CHUNK_FRAMES:
                self._flush()

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
        time = self._file.create_variable("time", ("time",), "f8")
        time.attrs["units"] = "s"  # no "since": xarray must not make dates of it
        for start in range(0, len(usable), CHUNK_FRAMES):
            frames = np.arange(start, min(start + CHUNK_FRAMES, len(usable)))
            time[frames[0] : frames[-1] + 1] = first_time_s + frames * hop_s
        flags = self._file.create_variable("usable", ("time",), "i1", data=usable.astype(np.int8))
        flags.attrs["dtype"] = "bool"  # how xarray writes booleans
        floor = self._file.create_variable("noise_floor_db", ("frequency",), "f4", data=noise_floor_db)
        floor.attrs["units"] = "dB"
        for name, values in (("file_start_s", file_start_s), ("file_stop_s", file_stop_s)):
            self._file.create_variable(name, ("file",), "f8", data=values).attrs["units"] = "s"
        for name, value in attributes.items():
            self._file.attrs[name] = value

    def _flush(self) -> None:
        if self._filled:
            self._power[self._written : self._written + self._filled] = self._chunk[: self._filled]
            self._written, self._filled = self._written + self._filled, 0


@contextmanager
def written_spectrogram(
    path: str | Path, *, n_frames: int, frequency_hz: np.ndarray, n_files: int
) -> Iterator[SpectrogramWriter]:
    """Yield a writer; the file takes its place only if the block succeeds."""
    with written_whole(path) as partial, h5netcdf.File(partial, "w") as file:
        yield SpectrogramWriter(file, n_frames=n_frames, frequency_hz=frequency_hz, n_files=n_files)


@dataclass(frozen=True)
class Spectrogram:
    """An open spectrogram.nc: small arrays in memory, power read by slices."""

    frequency_hz: np.ndarray
    noise_floor_db: np.ndarray
    usable: np.ndarray
    first_time_s: float
    hop_s: float
    start_s: float
    stop_s: float
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
