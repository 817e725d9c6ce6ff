"""NWB in HDF5: the units table, read in bulk by h5py (hundreds of units in one read, not one each).

Columns as in the NWB schema: https://nwb-schema.readthedocs.io (core.Units, hdmf-common.VectorIndex).
"""

from pathlib import Path
from warnings import warn

import h5py
import numpy as np

from pipeline.errors import InputError
from pipeline.neural.recording import Units, UnitsHeader

TABLE = "units"
ELECTRODES = "general/extracellular_ephys/electrodes"
# what h5py raises on a file that was cut short or overwritten in places
DAMAGE = (OSError, RuntimeError, KeyError, ValueError)


def reads(path: Path) -> bool:
    return path.is_file() and h5py.is_hdf5(path)


def read_units(path: Path) -> Units:
    """The units table of an NWB file.

    Raises InputError where there is none, it holds no spike times, or the file is damaged.
    """
    try:
        with h5py.File(path) as nwb:
            table = _table(nwb, path)
            return _read_table(nwb, table, path)
    except DAMAGE as error:
        raise _damaged(path, error) from error


def read_header(path: Path) -> UnitsHeader:
    """Numbers of units and spikes, and when the first and last were, without reading all spikes."""
    try:
        with h5py.File(path) as nwb:
            table = _table(nwb, path)
            stops = _stops(table, "spike_times", path)
            starts = np.r_[0, stops[:-1]]
            filled = stops > starts
            ends = np.unique(np.r_[starts[filled], stops[filled] - 1])
            times = table["spike_times"][ends].astype(float) if len(ends) else np.empty(0)
            times = times[np.isfinite(times)]
            n_spikes = int(stops[-1]) if len(stops) else 0
    except DAMAGE as error:
        raise _damaged(path, error) from error
    start_s, stop_s = (times.min(), times.max()) if len(times) else (np.nan, np.nan)
    return UnitsHeader(n_units=len(stops), n_spikes=n_spikes, start_s=float(start_s), stop_s=float(stop_s))


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError("this NWB file is damaged", where=path, found=error, mend="copy it again from where it came")


def _table(nwb: h5py.File, path: Path) -> h5py.Group:
    if TABLE not in nwb:
        found = ", ".join(sorted(nwb)) or "nothing"
        raise InputError(
            "no units table",
            where=path,
            found=f"in the file: {found}",
            mend="add the sorted units (NWBFile.add_unit), or leave nwb empty for a session of audio alone",
        )
    table = nwb[TABLE]
    missing = [name for name in ("spike_times", "spike_times_index") if name not in table]
    # pynwb writes a table without any unit as one without these columns
    if missing and len(table.get("id", ())):
        raise InputError(
            "the units have no spike times", where=f"{path}, /{TABLE}", found=", ".join(table), allowed="spike_times"
        )
    if missing or not len(table["spike_times_index"]):
        raise InputError("the units table is empty", where=f"{path}, /{TABLE}", mend="add the sorted units")
    return table


def _stops(table: h5py.Group, column: str, path: Path) -> np.ndarray:
    """Where each unit's values of a ragged column end. Shape (n_units,)."""
    stops = table[f"{column}_index"][:].astype(np.int64)
    if len(stops) and (stops[0] < 0 or (np.diff(stops) < 0).any() or stops[-1] > len(table[column])):
        raise InputError(
            f"{column}_index does not fit {column}",
            where=f"{path}, /{TABLE}",
            found=f"{len(table[column])} values, last index {stops[-1]}",
            mend="write the file again",
        )
    return stops


def _ragged(table: h5py.Group, column: str, path: Path) -> list[np.ndarray]:
    return np.split(table[column][:], _stops(table, column, path)[:-1])


def _read_table(nwb: h5py.File, table: h5py.Group, path: Path) -> Units:
    stops = _stops(table, "spike_times", path)
    spikes = np.split(table["spike_times"][: stops[-1]].astype(float), stops[:-1])
    n_units = len(spikes)
    n_unsorted = 0
    n_nonfinite = np.zeros(n_units, int)
    for unit, times in enumerate(spikes):
        finite = np.isfinite(times)
        if not finite.all():
            n_nonfinite[unit] = (~finite).sum()
            times = times[finite]
        if (np.diff(times) < 0).any():
            n_unsorted += 1
            times = np.sort(times)
        spikes[unit] = times
    if n_unsorted:
        warn(f"{path}: spike times of {n_unsorted} of {n_units} units were not in order and are sorted", stacklevel=4)
    if n_nonfinite.any():
        warn(f"{path}: {n_nonfinite.sum()} spike times that are no finite number are left out", stacklevel=4)
    return Units(
        table=TABLE,
        nwb_id=[str(name) for name in table["id"][:]] if "id" in table else [str(row) for row in range(n_units)],
        region=_regions(nwb, table, n_units, path),
        spike_times_s=spikes,
        observed_s=_observed(table, n_units, path),
        n_nonfinite=n_nonfinite,
        invalid_times_s=_invalid_times(nwb),
    )


def _observed(table: h5py.Group, n_units: int, path: Path) -> list[np.ndarray | None]:
    if "obs_intervals" not in table:
        return [None] * n_units
    intervals = [_proper(values.reshape(-1, 2)) for values in _ragged(table, "obs_intervals", path)]
    # a unit without any interval, in a table that has them, is one of which nothing is said
    return [values if len(values) else None for values in intervals]


def _invalid_times(nwb: h5py.File) -> np.ndarray:
    if "intervals/invalid_times" not in nwb:
        return np.empty((0, 2))
    table = nwb["intervals/invalid_times"]
    return _proper(np.c_[table["start_time"][:], table["stop_time"][:]])


def _proper(intervals: np.ndarray) -> np.ndarray:
    """Intervals with both ends, in the order of time."""
    intervals = np.asarray(intervals, float).reshape(-1, 2)
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]  # false for NaN as well
    return intervals[np.argsort(intervals[:, 0], kind="stable")]


def _regions(nwb: h5py.File, table: h5py.Group, n_units: int, path: Path) -> list[str]:
    """Brain region of each unit: its own column, else that of its electrodes, else of their group, else ""."""
    for column in ("location", "region", "brain_area", "brain_region"):
        if column in table and len(table[column]) == n_units and table[column].dtype.kind in "OSU":
            names = [_text(value) for value in table[column][:]]
            if any(names):
                return names
    if "electrodes" in table and f"{ELECTRODES}/location" in nwb:
        locations = np.array([_text(value) for value in nwb[f"{ELECTRODES}/location"][:]], dtype=object)
        ragged = "electrodes_index" in table
        rows = _ragged(table, "electrodes", path) if ragged else table["electrodes"][:].reshape(-1, 1)
        return ["/".join(dict.fromkeys(locations[np.asarray(row, int)])) for row in rows]
    if "electrode_group" in table:
        return [_text(nwb[group].attrs.get("location", "")) for group in table["electrode_group"][:]]
    return [""] * n_units


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
