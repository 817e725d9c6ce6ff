"""What a neural recording holds, whatever the file: spikes of units, or traces (ROIs, band power)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import ModuleType

import numpy as np

from pipeline.discovery import load
from pipeline.neural.grid import Grid
from pipeline.neural.nwb import Nwb, open_nwb

AUTO = ("units", "traces")  # what `signal: auto` looks for, in this order


@dataclass(frozen=True)
class Choice:
    """What to read of a recording: the keys of the same names in the section `neural` of the configuration."""

    signal: str = "auto"
    table: str | None = None
    series: str | None = None
    unit_filter: str | None = None
    lfp_bands_hz: Sequence[tuple[float, float]] = ()

    @classmethod
    def of(cls, settings: object) -> "Choice":
        """From anything that has these attributes, such as the section of the configuration."""
        return cls(**{key.name: getattr(settings, key.name) for key in fields(cls)})


EVERYTHING = Choice()


@dataclass
class Units:
    """Units, in the order of their table; times in session seconds.

    `spike_times_s`  one array a unit, sorted, finite: a list, or a stream (SpikeStream) out of the file.
    `observed_s`     one array a unit, Shape (n_intervals, 2): when it was observed; None: the file does not say.
    `n_nonfinite`    Shape (n_units,): spike times that were NaN or infinite and are left out (a stream counts them as
                     it goes).
    `n_duplicate`    Shape (n_units,): spikes at the very time of another of the unit, left out.
    `excluded`       one text a unit: why it does not take part; "" if it may. Empty: all may.
    `invalid_times_s`  Shape (n_intervals, 2): times that the experimenter marked as bad, for all units.
    `resolution_s`   step of the device's clock, where the file tells and the times need it to be exact (float32).
    `times_are_float32`  whether times late in a session are coarse.
    """

    table: str
    nwb_id: list[str]
    region: list[str]
    spike_times_s: Iterable[np.ndarray]
    observed_s: list[np.ndarray | None]
    n_nonfinite: np.ndarray
    invalid_times_s: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    n_duplicate: np.ndarray | None = None
    excluded: list[str] = field(default_factory=list)
    resolution_s: float | None = None
    times_are_float32: bool = False

    def __post_init__(self):
        self.n_duplicate = np.zeros(len(self), int) if self.n_duplicate is None else self.n_duplicate
        self.excluded = self.excluded or [""] * len(self)

    def __len__(self) -> int:
        return len(self.nwb_id)


@dataclass
class Traces:
    """Continuous signals, one a unit: fluorescence of ROIs, band power of electrodes.

    `start_s`, `stop_s`  first and last sample, session seconds.
    `on_grid`            values in the bins of a grid: Shape (n_bins, n_units), float32, NaN where nothing was recorded.
    """

    table: str
    nwb_id: list[str]
    region: list[str]
    unit: str
    start_s: float
    stop_s: float
    on_grid: Callable[[Grid], np.ndarray]
    invalid_times_s: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))
    excluded: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.excluded = self.excluded or [""] * len(self)

    def __len__(self) -> int:
        return len(self.nwb_id)


@dataclass(frozen=True)
class UnitsHeader:
    """What a look at the file tells without reading it: sizes, and the times of the first and last spike or sample.

    Where a file holds many units in packed chunks, only some of them are asked for their first and last spikes.
    """

    n_units: int
    n_spikes: int
    start_s: float
    stop_s: float
    kind: str = "spikes"


@contextmanager
def open_recording(location: Path | str, choice: Choice = EVERYTHING) -> Iterator[Units | Traces]:
    """Open a recording (a path or an address); spikes and traces are read as they are asked for.

    Raises InputError where the file is missing, damaged or of another format, or does not hold what is chosen.
    """
    with open_nwb(location) as nwb:
        yield _signal(nwb, choice).open_signal(nwb, choice)


def read_units(location: Path | str, choice: Choice = EVERYTHING) -> Units:
    """All units of a recording, with their spikes in memory. Raises InputError as `open_recording`."""
    with open_recording(location, choice) as units:
        units.spike_times_s = [times_s.copy() for times_s in units.spike_times_s]
    return units


def read_header(location: Path | str, choice: Choice = EVERYTHING) -> UnitsHeader:
    """Sizes and times of a recording, quickly. Raises InputError as `open_recording`."""
    with open_nwb(location) as nwb:
        return _signal(nwb, choice).look(nwb, choice)


def holds(location: Path | str, choice: Choice) -> bool:
    """Whether a recording holds the kind of signal that is chosen. Raises InputError where it cannot be opened."""
    with open_nwb(location) as nwb:
        return _signal(nwb, choice).usable(nwb)


def count_channels(location: Path | str, choice: Choice) -> int:
    """Number of the units or traces that are chosen, 0 where there is no such signal. Raises as `read_header`."""
    return read_header(location, choice).n_units if holds(location, choice) else 0


def _signal(nwb: Nwb, choice: Choice) -> ModuleType:
    import pipeline.neural.signals as known

    name = choice.signal
    if name == "auto" and choice.series and not choice.table:
        name = "traces"
    if name != "auto":
        return load(known, name, what="kind of neural signal")
    modules = [load(known, name, what="kind of neural signal") for name in AUTO]
    return next((module for module in modules if module.usable(nwb)), modules[0])
