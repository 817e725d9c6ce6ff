"""A TimeIntervals table in an NWB file: `file.nwb:/intervals/NAME`, or the only one named like calls.

Columns as in the NWB schema (core.TimeIntervals): https://nwb-schema.readthedocs.io. Its times are on the NWB clock.
"""

import re
from pathlib import Path

import h5py
import numpy as np

from pipeline.audio.annotations.layouts import LAYOUTS, Table, plain
from pipeline.errors import InputError

SUFFIXES = (".nwb", ".h5", ".hdf5")
CALL_LIKE = re.compile(r"call|voc|usv|syllable|song|squeak|sound", re.IGNORECASE)
LABELS = next(layout.labels for layout in LAYOUTS if layout.tool == "NWB")
TIMES = ("start_time", "stop_time")
MOST_ROWS = 10_000_000


def read_table(path: Path, inside: str | None) -> Table:
    """All rows. Raises InputError where the file is damaged or has no such table."""
    try:
        with h5py.File(path) as nwb:
            tables = _tables(nwb)
            name = _choose(tables, path, inside)
            return _read(tables[name], f"{path}:{name}")
    # what h5py raises on a file that is not HDF5, was cut short or overwritten in places
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise InputError("cannot read this NWB file", where=path, found=error, mend="copy it again") from error


def _tables(nwb: h5py.File) -> dict[str, h5py.Group]:
    """Every table of intervals by its path."""
    found = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and all(
            isinstance(item.get(c), h5py.Dataset) for c in ("start_time", "stop_time")
        ):
            found[f"/{name}"] = item

    nwb.visititems(visit)
    return found


def _choose(tables: dict[str, h5py.Group], path: Path, inside: str | None) -> str:
    if inside is None:
        like_calls = [name for name in tables if CALL_LIKE.search(name.rsplit("/", 1)[1])]
        if len(like_calls) == 1:
            return like_calls[0]
        options = like_calls or list(tables)
        raise InputError(
            "which table of intervals holds the calls?" if options else "no table of intervals in this NWB file",
            where=path,
            allowed=options or None,
            mend=f"write {path.name}:{options[0]}" if options else "name a table of calls in the sheet",
        )
    inside = f"/{inside.strip('/')}"
    if inside not in tables:
        raise InputError("no such table of intervals", where=path, found=inside, allowed=tables)
    return inside


def _read(table: h5py.Group, where: str) -> Table:
    names = list(TIMES)
    names += [name for name in table if plain(name)[0] in LABELS and isinstance(table[name], h5py.Dataset)]
    lengths = {name: table[name].shape for name in names}
    n_rows = lengths["start_time"][0] if lengths["start_time"] else -1
    if any(shape != (n_rows,) for shape in lengths.values()) or not 0 <= n_rows <= MOST_ROWS:
        raise InputError(
            "the columns of this table do not fit together",
            where=where,
            found=", ".join(f"{name} {shape}" for name, shape in lengths.items()),
            allowed=f"one length, up to {MOST_ROWS:,} rows",
        )
    columns = [_cells(table[name]) for name in names]
    return Table(header=names, rows=list(zip(*columns, strict=True)), lines=list(range(n_rows)))


def _cells(column: h5py.Dataset) -> np.ndarray:
    return column.asstr()[:] if h5py.check_string_dtype(column.dtype) else column[:]
