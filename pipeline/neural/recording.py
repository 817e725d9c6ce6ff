"""Sorted units of a recording, whatever the file's format."""

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from pipeline.discovery import load, names_in
from pipeline.errors import InputError


@dataclass
class Units:
    """Sorted units, in the order of their table; times in session seconds.

    `spike_times_s`  one array a unit, sorted, finite.
    `observed_s`     one array a unit, Shape (n_intervals, 2): when it was observed; None: the file does not say.
    `n_nonfinite`    Shape (n_units,): spike times that were NaN or infinite and are left out.
    `invalid_times_s`  Shape (n_intervals, 2): times that the experimenter marked as bad, for all units.
    """

    table: str
    nwb_id: list[str]
    region: list[str]
    spike_times_s: list[np.ndarray]
    observed_s: list[np.ndarray | None]
    n_nonfinite: np.ndarray
    invalid_times_s: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))

    def __len__(self) -> int:
        return len(self.nwb_id)

    @property
    def recorded_s(self) -> tuple[float, float]:
        """When the device ran, as far as the units tell: from the first spike or observation to the last."""
        spans = [times[[0, -1]] for times in self.spike_times_s if len(times)]
        spans += [intervals for intervals in self.observed_s if intervals is not None and len(intervals)]
        times = np.concatenate([span.ravel() for span in spans]) if spans else np.empty(0)
        times = times[np.isfinite(times)]
        return (float(times.min()), float(times.max())) if len(times) else (np.nan, np.nan)


@dataclass(frozen=True)
class UnitsHeader:
    """What a look at the file tells without reading it: sizes, and the times of the units' first and last spikes."""

    n_units: int
    n_spikes: int
    start_s: float
    stop_s: float


def read_units(path: str | Path) -> Units:
    """All units of a recording.

    Raises InputError where no format reads the file, it has no units, or it is damaged.
    """
    return _format_of(Path(path)).read_units(Path(path))


def read_header(path: str | Path) -> UnitsHeader:
    """Sizes and times of a recording, quickly. Raises InputError as `read_units`."""
    return _format_of(Path(path)).read_header(Path(path))


def _format_of(path: Path) -> ModuleType:
    import pipeline.neural.formats as formats

    if not path.exists():
        raise InputError("no such neural recording", where=path)
    for name in names_in(formats):
        module = load(formats, name, what="format of neural recordings")
        if module.reads(path):
            return module
    raise InputError(
        "cannot read this neural recording",
        where=path,
        found="a folder" if path.is_dir() else f"a file of {path.stat().st_size} bytes in another format",
        allowed=names_in(formats),
        mend="convert it to NWB (HDF5), or copy it again if it is damaged",
    )
