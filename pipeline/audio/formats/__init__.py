"""Sources of audio: one file a format, found by its name.

A format's file holds `SUFFIXES`, `accepts(path, series) -> bool` and
`open_sources(path, *, series) -> tuple[AudioSource, ...]` (several where one file stands for several stretches of
sound that follow each other).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.discovery import load, names_in
from pipeline.errors import InputError, nearest

LOWEST_HZ, HIGHEST_HZ = 100.0, 20e6  # sampling rates outside are those of damaged headers
MOST_CHANNELS = 1024


class AudioReader(ABC):
    """An open source, for one channel: many short reads cost no new opening."""

    @abstractmethod
    def read(self, start: int, out: np.ndarray) -> None:
        """Fill `out`, shape (n,), of the source's `dtype`, with the samples from `start` on.

        Raises InputError where the file turns out to be damaged or to end before `n_samples`.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


@dataclass(frozen=True)
class AudioSource(ABC):
    """One stretch of evenly sampled sound, described by its header alone.

    `start_s` is the time of the first sample (0 where the file knows none), `quantum` the smallest step between
    sample values, `full_scale` the largest value that can be stored, `unit` the unit of both. What is read has the
    type `dtype` (int16 or float32) and becomes a sample value when multiplied by `scale`. `complete` is False where
    the file holds less sound than its header promises.
    """

    path: Path
    rate_hz: float
    n_samples: int
    n_channels: int
    start_s: float
    quantum: float
    full_scale: float
    unit: str
    dtype: str
    scale: float
    complete: bool

    @abstractmethod
    def open(self, *, channel: int) -> AudioReader:
        """Open the file for reading one channel."""


def open_sources(path: str | Path, *, series: str | None) -> tuple[AudioSource, ...]:
    """Read the header of a sound file, or of the series at the path `series` inside an NWB file.

    Raises InputError where the file is missing, empty, unreadable, of no known format or without samples.
    """
    import pipeline.audio.formats as package

    path = Path(path).expanduser()
    if series is not None and path.is_dir():
        mend = "export the series as a WAV, or the recording as NWB in HDF5"
        raise InputError("sound inside a Zarr folder cannot be read", where=path, found=series, mend=mend)
    check_readable(path, mend="correct the path in the sessions sheet")
    modules = [load(package, name, what="audio format") for name in names_in(package)]
    for module in modules:
        if module.accepts(path, series):
            sources = module.open_sources(path, series=series)
            for source in sources:
                check_sane(source)
            return sources
    suffixes = sorted({suffix for module in modules for suffix in module.SUFFIXES})
    raise InputError("not an audio format that can be read", where=path, found=path.suffix, allowed=suffixes)


def check_readable(path: Path, *, mend: str) -> None:
    """Raise InputError where there is no such file, or none that can be read, or an empty one."""
    if path.is_dir():
        raise InputError(
            "this is a folder, not an audio file", where=path, mend=f"name the files in it, such as {path.name}/*.wav"
        )
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        raise InputError("no such audio file", where=path, mend=f"did you mean {close!r}?" if close else mend)
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise InputError(
            "cannot open the audio file", where=path, found=error.strerror, mend="check its permissions"
        ) from error
    if not first:
        raise InputError("the audio file is empty", where=path, found="0 bytes", mend="copy it again")


def check_sane(source: AudioSource) -> None:
    """Raise InputError for a rate or a number of channels that no recorder has, or no sound at all."""
    if not LOWEST_HZ <= source.rate_hz <= HIGHEST_HZ:
        raise InputError(
            "an impossible sampling rate",
            where=source.path,
            found=f"{source.rate_hz:g} Hz",
            allowed=f"{LOWEST_HZ:.0f} to {HIGHEST_HZ:.0f} Hz",
            mend="correct the header of the file",
        )
    if not 1 <= source.n_channels <= MOST_CHANNELS:
        raise InputError(
            "an impossible number of channels",
            where=source.path,
            found=source.n_channels,
            allowed=f"1 to {MOST_CHANNELS}",
            mend="correct the header of the file",
        )
    if source.n_samples < 1:
        raise InputError("the audio file holds no samples", where=source.path, found="0 samples", mend="leave it out")
