"""What an NWB file holds: units, series and their clocks, events, tables of intervals and others.

Names as in the NWB schema: https://nwb-schema.readthedocs.io. Headers are read, and of long columns the ends alone.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.inspection import Section, limited, seconds
from pipeline.inspection.nwb_units import describe_units
from pipeline.neural.nwb import Nwb, neurodata_type, open_nwb, text, texts

DEEPEST = 8
MOST_STAMPS = 10_000  # of a series, that its typical rate is taken from
# what reading raises where a table holds something other than its names promise
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, InputError)
SUBJECT = ("subject_id", "species", "sex", "age", "genotype", "strain")
TOP = ("identifier", "session_description", "session_start_time", "timestamps_reference_time")
PLACES = ("acquisition", "stimulus", "processing", "intervals", "analysis", "scratch", "units", "general")


def describe_nwb(location: str | Path) -> list[Section]:
    """Tables of what an NWB file (HDF5 or Zarr) holds. Raises InputError where it cannot be read."""
    with open_nwb(location) as nwb:
        groups = list(_groups(nwb.root))
        sections = [_session(nwb)]
        kinds = {path: _kind(group) for path, group in groups}
        for path, group in groups:
            if kinds[path] == "units":
                sections += _units(nwb, path, group)
        for title, columns, kind, row in (
            ("series", ("path", "type", "shape", "unit", "clock", "from s", "to s"), "series", _series),
            ("events", ("path", "type", "number", "from s", "to s"), "events", _events),
            ("intervals", ("path", "rows", "from s", "to s", "columns"), "intervals", _intervals),
            ("other tables", ("path", "rows", "columns"), "table", _table),
        ):
            rows = [_row(row, path, group, len(columns)) for path, group in groups if kinds[path] == kind]
            if rows:
                sections.append(Section(title, columns, limited(rows)))
        broken = [(path,) for path in _broken(nwb.root)]
        if broken:
            sections.append(Section("broken links", ("path",), limited(broken)))
    return sections


def _groups(group: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name in PLACES if not path else sorted(group):
        item = group.get(name)  # a broken link is listed, but is not in the group
        if hasattr(item, "keys"):
            yield f"{path}/{name}", item
            if depth < DEEPEST:
                yield from _groups(item, f"{path}/{name}", depth + 1)


def _broken(group: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    for name in group:
        item = group.get(name)
        if item is None:
            yield f"{path}/{name}"
        elif hasattr(item, "keys") and depth < DEEPEST:
            yield from _broken(item, f"{path}/{name}", depth + 1)


def _kind(group: Any) -> str:
    """What a group is, by its type or else by what lies in it: extensions have types of their own."""
    names = set(group)
    if neurodata_type(group) == "Units" or "spike_times" in names:
        return "units"
    if {"start_time", "stop_time"} <= names:
        return "intervals"
    if names & {"data", "external_file"} and names & {"starting_time", "timestamps"}:
        return "series"
    if names & {"timestamps", "timestamp"}:
        return "events"
    return "table" if "colnames" in group.attrs else "group"


def _session(nwb: Nwb) -> Section:
    rows = [("NWB version", text(nwb.root.attrs.get("nwb_version", "not told")))]
    rows += [(name.replace("_", " "), _scalar(nwb.root, name)) for name in TOP if name in nwb.root]
    subject = nwb.root.get("general/subject")
    subject = subject if hasattr(subject, "keys") else {}
    values = {name.removeprefix("subject_"): _scalar(subject, name) for name in SUBJECT if name in subject}
    told = [f"{name} {value}" for name, value in values.items() if value]
    rows.append(("subject", ", ".join(told) or "not told"))
    return Section(nwb.where, ("what", "found"), rows)


def _units(nwb: Nwb, path: str, table: Any) -> list[Section]:
    try:
        return describe_units(nwb, path, table)
    except DAMAGE as error:
        return [Section(path, ("what", "found"), [("damaged", _first_line(error))])]


def _row(row: Callable[[str, Any], tuple[str, ...]], path: str, group: Any, n_columns: int) -> tuple[str, ...]:
    """The row of a group; a damaged group must not hide the others."""
    try:
        return row(path, group)
    except DAMAGE as error:
        return (path, f"damaged: {_first_line(error)}", *[""] * (n_columns - 2))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _series(path: str, group: Any) -> tuple[str, ...]:
    data = group.get("data")
    shape = "outside" if data is None else " x ".join(str(n) for n in data.shape) or "one value"
    unit = text(data.attrs.get("unit", "")) if data is not None else ""
    if "timestamps" in group and group["timestamps"].shape and len(group["timestamps"]):
        stamps = group["timestamps"]
        first, last = float(stamps[0]), float(stamps[-1])
        step_s = np.diff(np.asarray(stamps[-MOST_STAMPS:], float))
        typical_s = float(np.median(step_s)) if len(step_s) else np.nan
        clock = f"{len(stamps):,} timestamps" + (f", {1 / typical_s:.6g} Hz" if typical_s > 0 else "")
        clock += ", not sorted" if (step_s < 0).any() or last < first else ""
        from_s, to_s = seconds(first), seconds(last)
    elif "starting_time" in group:
        start = group["starting_time"]
        rate_hz = float(start.attrs.get("rate", np.nan))
        first = float(start[()])
        n = data.shape[0] if data is not None and data.shape else 0
        clock = f"{rate_hz:.9g} Hz"
        from_s, to_s = seconds(first), seconds(first + n / rate_hz if n and rate_hz > 0 else np.nan)
    else:
        clock, from_s, to_s = "no times", "-", "-"
    both = "timestamps" in group and "starting_time" in group
    return path, neurodata_type(group), shape, unit, clock + (" and a rate: both" if both else ""), from_s, to_s


def _events(path: str, group: Any) -> tuple[str, ...]:
    times = group["timestamps"] if "timestamps" in group else group["timestamp"]
    n = times.shape[0] if getattr(times, "shape", ()) else 0
    return path, neurodata_type(group), f"{n:,}", *((seconds(times[0]), seconds(times[-1])) if n else ("-", "-"))


def _intervals(path: str, group: Any) -> tuple[str, ...]:
    start, stop = group["start_time"], group["stop_time"]
    n = start.shape[0] if start.shape else 0
    ends = (seconds(start[0]), seconds(stop[-1])) if n and stop.shape == start.shape else ("-", "-")
    return path, f"{n:,}", *ends, ", ".join(_columns(group))


def _table(path: str, group: Any) -> tuple[str, ...]:
    return path, f"{_length(group):,}", ", ".join(_columns(group))


def _columns(group: Any) -> list[str]:
    if "colnames" in group.attrs:
        return texts(group.attrs["colnames"])
    return [name for name in sorted(group) if not name.endswith("_index") and name != "id"]


def _length(group: Any) -> int:
    return group["id"].shape[0] if "id" in group and group["id"].shape else 0


def _scalar(group: Any, name: str) -> str:
    if hasattr(group[name], "keys"):
        return "a group, not a value"
    told = text(group[name][()])
    return told if len(told) <= 120 else f"{told[:117]}..."
