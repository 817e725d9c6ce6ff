"""Columns of the tables of an NWB file: ragged, text, references; the electrodes and regions that they point to.

Columns as in the NWB schema: https://nwb-schema.readthedocs.io (core.Units, hdmf-common.VectorIndex).
"""

from collections import Counter
from typing import Any
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.nwb import Nwb, check_size, numbers, text, texts
from pipeline.neural.spikes import listed_units
from pipeline.neural.unit_filter import excluded_by

ELECTRODES = "general/extracellular_ephys/electrodes"
REGION_COLUMNS = ("location", "region", "brain_area", "brain_region")


def stops_of(table: Any, column: str, *, where: str) -> np.ndarray:
    """Where each row's values of a ragged column end. Shape (n_rows,), int64.

    Raises InputError where the index does not fit the column.
    """
    index, values = table.get(f"{column}_index"), table[column]
    if index is None:
        raise InputError(
            f"{column} has no {column}_index: which values are of which unit?",
            where=where,
            found=", ".join(sorted(table)),
            mend="write the table with pynwb (NWBFile.add_unit)",
        )
    check_size(index, len(index), where=f"{where}/{column}_index")
    stops = numbers(index, where=f"{where}/{column}_index")[:].astype(np.int64)
    back = np.flatnonzero(np.diff(stops, prepend=0) < 0)
    if len(back) or (len(stops) and stops[-1] > len(values)):
        row = int(back[0]) if len(back) else int(np.searchsorted(stops, len(values), "right"))
        raise InputError(
            f"{column}_index does not fit {column}",
            where=f"{where}, row {row}",
            found=f"index {stops[row]}, {len(values)} values"
            + (f", index {stops[row - 1]} in the row before" if len(back) and row else ""),
            mend="write the file again: the index of a row is where its values end",
        )
    if len(stops) and stops[-1] < len(values):
        warn(
            f"{where}: {column} holds {len(values) - stops[-1]} values after those of the last unit; they are left out",
            stacklevel=5,
        )
    return stops


def names_of(table: Any, n_rows: int, *, where: str) -> list[str]:
    """Ids of the rows as text; a warning where some are the same."""
    if "id" not in table:
        return [str(row) for row in range(n_rows)]
    if len(table["id"]) != n_rows:
        raise InputError(
            "the table's columns differ in length",
            where=where,
            found=f"{len(table['id'])} ids, {n_rows} rows of spike_times_index",
            mend="write the file again",
        )
    names = texts(table["id"][:])
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        warn(
            f"{where}: {len(twice)} ids stand for several units ({', '.join(twice[:5])}); units go by their row",
            stacklevel=5,
        )
    return names


def observed_of(table: Any, names: list[str], *, where: str) -> list[np.ndarray | None]:
    """Each unit's obs_intervals, Shape (n_intervals, 2); None where the file says nothing of it."""
    if "obs_intervals" not in table:
        return [None] * len(names)
    column = table["obs_intervals"]
    if column.ndim != 2 or column.shape[1] != 2:
        raise InputError(
            "obs_intervals are no pairs of times",
            where=f"{where}/obs_intervals",
            found=f"shape {column.shape}",
            allowed="(n_intervals, 2): start and stop, s",
        )
    stops = stops_of(table, "obs_intervals", where=where)
    if len(stops) != len(names):
        raise InputError(
            "obs_intervals_index does not fit the table",
            where=where,
            found=f"{len(stops)} rows for {len(names)} units",
            mend="write the file again",
        )
    check_size(column, column.size, where=f"{where}/obs_intervals")
    every = np.asarray(numbers(column, where=f"{where}/obs_intervals")[: stops[-1] if len(stops) else 0], float)
    observed: list[np.ndarray | None] = []
    improper, overlapping = np.zeros(len(names), int), np.zeros(len(names), int)
    for row, values in enumerate(np.split(every, stops[:-1])):
        intervals = proper(values)
        improper[row] = len(values) - len(intervals)
        overlapping[row] = np.count_nonzero(intervals[1:, 0] < np.maximum.accumulate(intervals[:, 1])[:-1])
        # a unit without any interval, in a table that has them, is one of which nothing is said
        observed.append(intervals if len(intervals) else None)
    for counts, what in (
        (improper, "obs_intervals do not end after they start and are left out"),
        (overlapping, "obs_intervals overlap others of their unit; their union is taken"),
    ):
        if counts.any():
            warn(f"{where}: {counts.sum()} {what} ({listed_units(names, np.flatnonzero(counts))})", stacklevel=5)
    return observed


def invalid_times_of(nwb: Nwb) -> np.ndarray:
    """Times that the experimenter marked as bad. Shape (n_intervals, 2), s."""
    if "intervals/invalid_times" not in nwb.root:
        return np.empty((0, 2))
    table, where = nwb.root["intervals/invalid_times"], f"{nwb.where}, /intervals/invalid_times"
    start_s, stop_s = (numbers(table[name], where=f"{where}/{name}")[:] for name in ("start_time", "stop_time"))
    intervals = proper(np.c_[start_s, stop_s])
    if len(intervals) < len(start_s):
        warn(
            f"{where}: {len(start_s) - len(intervals)} intervals do not end after they start and are left out",
            stacklevel=5,
        )
    return intervals


def proper(intervals: np.ndarray) -> np.ndarray:
    """Intervals with both ends, in the order of time."""
    intervals = np.asarray(intervals, float).reshape(-1, 2)
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]  # false for NaN as well
    return intervals[np.argsort(intervals[:, 0], kind="stable")]


def regions_of(nwb: Nwb, table: Any, n_rows: int, *, where: str) -> list[str]:
    """Brain region of each unit: its own column, else that of its electrodes, else of their group, else ""."""
    for column in REGION_COLUMNS:
        if column in table and table[column].shape == (n_rows,) and table[column].dtype.kind in "OSUT":
            names = texts(table[column][:])
            if any(names):
                return names
    if "electrodes" in table:
        values = numbers(table["electrodes"], where=f"{where}/electrodes")[:]
        ragged = "electrodes_index" in table
        rows = np.split(values, stops_of(table, "electrodes", where=where)[:-1]) if ragged else values.reshape(-1, 1)
        return electrode_regions(nwb, rows, where=where)
    if "electrode_group" in table:
        groups = [nwb.follow(reference) for reference in table["electrode_group"][:]]
        return ["" if group is None else text(group.attrs.get("location", "")) for group in groups]
    return [""] * n_rows


def electrode_regions(nwb: Nwb, rows: list[np.ndarray] | np.ndarray, *, where: str) -> list[str]:
    """Regions of sets of electrodes, given by their rows in the electrodes table; several are joined by /."""
    if f"{ELECTRODES}/location" not in nwb.root:
        return [""] * len(rows)
    locations = texts(nwb.root[f"{ELECTRODES}/location"][:])
    absent = [int(e) for set_ in rows for e in np.asarray(set_, int) if not 0 <= e < len(locations)]
    if absent:
        raise InputError(
            "there is no such electrode",
            where=f"{where}/electrodes",
            found=f"row {absent[0]}",
            allowed=f"0 to {len(locations) - 1}, rows of /{ELECTRODES}",
            mend="write the file again with its electrodes table",
        )
    return ["/".join(dict.fromkeys(locations[e] for e in np.asarray(set_, int))) for set_ in rows]


def exclusions(table: Any, unit_filter: str | None, *, n_rows: int, rows: np.ndarray | None = None, where: str):
    """Why each row does not pass `neural.unit_filter` ("" if it does). `rows`: rows of the table, if not all in order.

    Raises InputError where the expression does not fit the table.
    """
    if not unit_filter:
        return [""] * n_rows
    n_table = len(table["id"]) if "id" in table else n_rows
    columns = ((name, getattr(table[name], "shape", None)) for name in sorted(table))  # a link is no column
    names = [name for name, shape in columns if shape == (n_table,) and f"{name}_index" not in table]

    def column(name: str) -> np.ndarray:
        values = table[name][:] if rows is None else table[name][:][rows]
        return np.array(texts(values), dtype=object) if values.dtype.kind in "OSUT" else values

    return excluded_by(unit_filter, column=column, names=names, n_rows=n_rows, where=where)
