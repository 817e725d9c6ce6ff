"""Sources of audio: one file a format, found by its name.

A format's file holds `accepts(path, series) -> bool` and `open_source(path, *, series) -> AudioSource`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.discovery import load, names_in
from pipeline.errors import InputError


@dataclass(frozen=True)
class AudioSource(ABC):
    """One stretch of evenly sampled sound, described by its header alone.

    `start_s` is the time of the first sample (0 where the file knows none), `quantum` the smallest step between
    sample values, `full_scale` the largest value that can be stored, `unit` the unit of both.
    """

    path: Path
    rate_hz: float
    n_samples: int
    n_channels: int
    start_s: float
    quantum: float
    full_scale: float
    unit: str

    @abstractmethod
    def blocks(self, *, channel: int, block_samples: int) -> Iterator[np.ndarray]:
        """Yield float32 samples of one channel in order, shape (n,) with n <= `block_samples`.

        Raises InputError where the file ends before `n_samples`.
        """


def open_source(path: str | Path, *, series: str | None) -> AudioSource:
    """Read the header of a sound file, or of the series at the path `series` inside an NWB file.

    Raises InputError where the file is missing, empty, truncated, of no known format or without samples.
    """
    import pipeline.audio.formats as package

    path = Path(path)
    if not path.exists():
        raise InputError("no such audio file", where=path, mend="correct the path in the sessions sheet")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError("the audio file is empty", where=path, found="0 bytes", mend="copy it again")
    modules = [load(package, name, what="audio format") for name in names_in(package)]
    for module in modules:
        if module.accepts(path, series):
            return module.open_source(path, series=series)
    suffixes = sorted({suffix for module in modules for suffix in module.SUFFIXES})
    raise InputError("not an audio format that can be read", where=path, found=path.suffix, allowed=suffixes)
