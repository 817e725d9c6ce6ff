"""Sorted units: the units table of an NWB file, /units or one in a processing module."""

from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.counting import first_and_last_s
from pipeline.neural.nwb import Nwb, check_size, named_or_only, neurodata_type, numbers
from pipeline.neural.recording import Choice, Units, UnitsHeader
from pipeline.neural.spikes import SpikeStream
from pipeline.neural.tables import exclusions, invalid_times_of, names_of, observed_of, regions_of, stops_of
from pipeline.sessions import is_address

# Packed chunks have to be unpacked whole for one value: of so many units, evenly chosen, the ends are looked at.
MOST_ENDS = 64
MOST_READ = 2**22  # spikes, 32 MB


def usable(nwb: Nwb) -> bool:
    """Whether there is a units table with spike times."""
    return any(_has_spikes(nwb.root[path]) for path in _tables(nwb))


def open_signal(nwb: Nwb, choice: Choice, *, distinct: bool = True) -> Units:
    """The units of a table; their spikes are read when they are gone through."""
    return _opened(nwb, choice, distinct)[0]


def look(nwb: Nwb, choice: Choice, *, distinct: bool = True) -> UnitsHeader:
    """Numbers of units and spikes, and when the first and last were.

    Short recordings on this machine are read through, so that all that is wrong with their spikes is told.
    """
    units, dataset, stops, where = _opened(nwb, choice, distinct)
    n_spikes = int(stops[-1])
    if n_spikes <= MOST_READ and not is_address(nwb.where):
        start_s, stop_s = first_and_last_s(units, where=where)
        return UnitsHeader(n_units=len(stops), n_spikes=n_spikes, start_s=start_s, stop_s=stop_s)
    starts = np.r_[0, stops[:-1]]
    filled = np.flatnonzero(stops > starts)
    if dataset.chunks:
        filled = filled[np.unique(np.linspace(0, len(filled) - 1, min(MOST_ENDS, len(filled))).astype(int))]
    ends = np.unique(np.r_[starts[filled], stops[filled] - 1])
    times_s = np.array([dataset[int(end)] for end in ends], float)
    times_s = times_s[np.isfinite(times_s)]
    start_s, stop_s = (times_s.min(), times_s.max()) if len(times_s) else (np.nan, np.nan)
    return UnitsHeader(n_units=len(stops), n_spikes=n_spikes, start_s=float(start_s), stop_s=float(stop_s))


def _opened(nwb: Nwb, choice: Choice, distinct: bool) -> tuple[Units, Any, np.ndarray, str]:
    """The units, the column of all spike times, where each unit's end, and the place for messages."""
    path, table = _table(nwb, choice)
    where = f"{nwb.where}, {path}"
    dataset, stops = _spikes(table, where)
    names = names_of(table, len(stops), where=where)
    stream = SpikeStream(dataset, stops, names=names, where=where, distinct=distinct)
    units = Units(
        table=path.rsplit("/", 1)[-1],
        nwb_id=names,
        region=regions_of(nwb, table, len(stops), where=where),
        spike_times_s=stream,
        observed_s=observed_of(table, names, where=where),
        n_nonfinite=stream.n_nonfinite,
        n_duplicate=stream.n_duplicate,
        invalid_times_s=invalid_times_of(nwb),
        excluded=exclusions(table, choice.unit_filter, n_rows=len(stops), where=where),
        resolution_s=_resolution_s(dataset),
        times_are_float32=dataset.dtype.itemsize < 8,
    )
    return units, dataset, stops, where


def _tables(nwb: Nwb) -> list[str]:
    """Paths of the units tables: by type, or (a type of an extension) by their columns."""
    return [
        path
        for path, group in nwb.groups()
        if neurodata_type(group) == "Units" or path == "/units" or _has_spikes(group)
    ]


def _has_spikes(table: Any) -> bool:
    return "spike_times" in table and "id" in table and len(table["id"]) > 0


def _table(nwb: Nwb, choice: Choice) -> tuple[str, Any]:
    paths = _tables(nwb)
    if not paths:
        raise nwb.missing(
            "no units table",
            mend="add the sorted units (NWBFile.add_unit), or leave nwb empty for a session of audio alone",
        )
    # pynwb writes a table without any unit as one without spike times
    filled = [path for path in paths if _has_spikes(nwb.root[path])] or paths
    path = named_or_only(nwb, choice.table, paths if choice.table else filled, what="units tables", key="neural.table")
    return path, nwb.root[path]


def _spikes(table: Any, where: str) -> tuple[Any, np.ndarray]:
    """The column of all spike times, and where each unit's end."""
    if "spike_times" not in table:
        if len(table.get("id", ())):
            raise InputError(
                "the units have no spike times",
                where=where,
                found=", ".join(sorted(table)),
                allowed="spike_times",
                mend="add them (NWBFile.add_unit(spike_times=...)), or name another table in neural.table",
            )
        raise InputError("the units table is empty", where=where, mend="add the sorted units")
    dataset = numbers(table["spike_times"], where=f"{where}/spike_times")
    if dataset.ndim != 1:
        raise InputError(
            "spike_times is no list of times", where=where, found=f"shape {dataset.shape}", allowed="(n_spikes,)"
        )
    stops = stops_of(table, "spike_times", where=where)
    if not len(stops):
        raise InputError("the units table is empty", where=where, mend="add the sorted units")
    check_size(dataset, int(stops[-1]), where=f"{where}/spike_times")
    return dataset, stops


def _resolution_s(dataset: Any) -> float | None:
    """Step of the clock that the times were taken by, if the file tells."""
    value = dataset.attrs.get("resolution", np.nan)
    try:
        step_s = float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return None
    return step_s if 0 < step_s < 1 else None
