"""What an NWB file holds: units, series and their clocks, events, tables of intervals and others.

Names as in the NWB schema: https://nwb-schema.readthedocs.io. Headers are read, and of long columns the ends alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.inspection import Section
from pipeline.neural.nwb import Nwb, check_size, neurodata_type, open_nwb, text, texts
from pipeline.neural.tables import regions_of

DEEPEST = 8
MOST_STAMPS = 10_000  # of a series, that its typical rate is taken from
MOST_ROWS = 40  # of each table; the rest is counted
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
            rows = [row(path, group) for path, group in groups if kinds[path] == kind]
            if rows:
                sections.append(Section(title, columns, _limited(rows)))
        broken = [(path,) for path in _broken(nwb.root)]
        if broken:
            sections.append(Section("broken links", ("path",), _limited(broken)))
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
    subject = nwb.root.get("general/subject") or {}
    values = {name.removeprefix("subject_"): _scalar(subject, name) for name in SUBJECT if name in subject}
    told = [f"{name} {value}" for name, value in values.items() if value]
    rows.append(("subject", ", ".join(told) or "not told"))
    return Section(nwb.where, ("what", "found"), rows)


def _units(nwb: Nwb, path: str, table: Any) -> list[Section]:
    names = _columns(table)
    n_units = _length(table)
    summary = [("units", str(n_units)), ("columns", ", ".join(names))]
    if "spike_times" not in table or "spike_times_index" not in table:
        return [Section(path, ("what", "found"), [*summary, ("spike times", "none")])]
    stops = _read(table["spike_times_index"], path).astype(np.int64)
    times = table["spike_times"]
    starts = np.concatenate([[0], stops[:-1]])[: len(stops)]
    sound = (starts >= 0) & (stops >= starts) & (stops <= times.shape[0])
    filled = sound & (stops > starts)
    counts = np.where(sound, stops - starts, 0)
    first_s, last_s = np.full(len(stops), np.nan), np.full(len(stops), np.nan)
    ends = np.unique(np.concatenate([starts[filled], stops[filled] - 1]))
    if len(ends):
        values = _at(times, ends)
        first_s[filled] = values[np.searchsorted(ends, starts[filled])]
        last_s[filled] = values[np.searchsorted(ends, stops[filled] - 1)]
    observed_s = _observed(table, path, len(stops))
    length_s = np.where(
        np.isfinite(observed_s), observed_s, np.nanmax(last_s, initial=-np.inf) - np.nanmin(first_s, initial=np.inf)
    )
    rate_hz = np.divide(counts, length_s, out=np.full(len(stops), np.nan), where=length_s > 0)
    region, damage = _regions(nwb, table, path, len(stops))
    known = rate_hz[np.isfinite(rate_hz)]
    summary += [
        ("spikes", f"{counts.sum():,}"),
        (
            "rate, lowest / median / highest",
            " / ".join(f"{v:.3g}" for v in np.quantile(known, [0, 0.5, 1])) + " Hz" if len(known) else "-",
        ),
        (
            "spikes from, to",
            f"{_seconds(np.nanmin(first_s))} to {_seconds(np.nanmax(last_s))} s" if filled.any() else "none",
        ),
        (
            "observed",
            "not told" if not np.isfinite(observed_s).any() else f"{_seconds(np.nanmedian(observed_s))} s (median)",
        ),
        ("regions", ", ".join(f"{name or 'not told'}: {n}" for name, n in _counted(region))),
    ]
    if damage:
        summary.append(("damaged", damage))
    if not sound.all():
        summary.append(("damaged", f"spike_times_index of {int((~sound).sum())} units points beyond the spike times"))
    ids = _read(table["id"], path) if "id" in table else np.arange(len(stops))
    rows = [
        (
            str(ids[i]),
            f"{counts[i]:,}",
            f"{rate_hz[i]:.3g}",
            _seconds(first_s[i]),
            _seconds(last_s[i]),
            _seconds(observed_s[i]),
            region[i],
        )
        for i in range(min(len(stops), MOST_ROWS + 1))
    ]
    rows = _limited(rows, total=len(stops))
    return [
        Section(path, ("what", "found"), summary),
        Section(f"{path}, one by one", ("id", "spikes", "rate Hz", "first s", "last s", "observed s", "region"), rows),
    ]


def _observed(table: Any, path: str, n_units: int) -> np.ndarray:
    """Seconds that each unit was observed, NaN where the file does not tell, shape (n_units,)."""
    observed_s = np.full(n_units, np.nan)
    if "obs_intervals" in table and "obs_intervals_index" in table:
        spans_s = _read(table["obs_intervals"], path).reshape(-1, 2)
        stops = _read(table["obs_intervals_index"], path).astype(np.int64)
        if len(stops) == n_units and (not n_units or stops.max() <= len(spans_s)):
            total_s = np.concatenate([[0.0], np.cumsum(spans_s[:, 1] - spans_s[:, 0])])
            observed_s = total_s[stops] - total_s[np.concatenate([[0], stops[:-1]])]
    return observed_s


def _regions(nwb: Nwb, table: Any, path: str, n_units: int) -> tuple[list[str], str]:
    """Where each unit lies, and what is wrong with the table where that cannot be told."""
    try:
        return regions_of(nwb, table, n_units, where=path), ""
    except InputError as error:
        return [""] * n_units, str(error).splitlines()[0]


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
        from_s, to_s = _seconds(first), _seconds(last)
    elif "starting_time" in group:
        start = group["starting_time"]
        rate_hz = float(start.attrs.get("rate", np.nan))
        first = float(start[()])
        n = data.shape[0] if data is not None and data.shape else 0
        clock = f"{rate_hz:.9g} Hz"
        from_s, to_s = _seconds(first), _seconds(first + n / rate_hz if n and rate_hz > 0 else np.nan)
    else:
        clock, from_s, to_s = "no times", "-", "-"
    both = "timestamps" in group and "starting_time" in group
    return path, neurodata_type(group), shape, unit, clock + (" and a rate: both" if both else ""), from_s, to_s


def _events(path: str, group: Any) -> tuple[str, ...]:
    times = group["timestamps"] if "timestamps" in group else group["timestamp"]
    n = times.shape[0] if getattr(times, "shape", ()) else 0
    return path, neurodata_type(group), f"{n:,}", *((_seconds(times[0]), _seconds(times[-1])) if n else ("-", "-"))


def _intervals(path: str, group: Any) -> tuple[str, ...]:
    start, stop = group["start_time"], group["stop_time"]
    n = start.shape[0] if start.shape else 0
    ends = (_seconds(start[0]), _seconds(stop[-1])) if n and stop.shape == start.shape else ("-", "-")
    return path, f"{n:,}", *ends, ", ".join(_columns(group))


def _table(path: str, group: Any) -> tuple[str, ...]:
    return path, f"{_length(group):,}", ", ".join(_columns(group))


def _columns(group: Any) -> list[str]:
    if "colnames" in group.attrs:
        return texts(group.attrs["colnames"])
    return [name for name in sorted(group) if not name.endswith("_index") and name != "id"]


def _length(group: Any) -> int:
    return group["id"].shape[0] if "id" in group and group["id"].shape else 0


def _at(dataset: Any, places: np.ndarray) -> np.ndarray:
    """Values at sorted `places`, each chunk of the dataset being unpacked once."""
    chunk = dataset.chunks[0] if dataset.chunks else 1
    firsts, groups = np.unique(places // chunk * chunk, return_index=True)
    within = np.split(places, groups[1:])
    pieces = [dataset[first : first + chunk][at - first] for first, at in zip(firsts, within, strict=True)]
    return np.concatenate(pieces).astype(float)


def _read(dataset: Any, path: str) -> np.ndarray:
    check_size(dataset, int(np.prod(dataset.shape, dtype=np.int64)), where=path)
    return np.asarray(dataset[:])


def _scalar(group: Any, name: str) -> str:
    told = text(group[name][()])
    return told if len(told) <= 120 else f"{told[:117]}..."


def _counted(values: list[str]) -> list[tuple[str, int]]:
    names, counts = np.unique(np.array(values, str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(str(names[i]), int(counts[i])) for i in order[:20]]


def _limited(rows: list[tuple[str, ...]], *, total: int | None = None) -> list[tuple[str, ...]]:
    total = len(rows) if total is None else total
    if total <= MOST_ROWS:
        return rows
    return [*rows[:MOST_ROWS], (f"and {total - MOST_ROWS:,} more", *[""] * (len(rows[0]) - 1))]


def _seconds(value: float) -> str:
    return f"{float(value):.6g}" if np.isfinite(value) else "-"
