"""What a units table holds: spikes, rates, regions and times of observation of each unit.

Of the spike times only those of each unit's first and last spike are read.
"""

from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.inspection import MOST_ROWS, Section, limited, seconds
from pipeline.neural.nwb import Nwb, check_size, numbers, texts
from pipeline.neural.tables import regions_of


def describe_units(nwb: Nwb, path: str, table: Any) -> list[Section]:
    """The table as a whole, and its units one by one."""
    columns = texts(table.attrs["colnames"]) if "colnames" in table.attrs else sorted(table)
    summary = [("columns", ", ".join(columns))]
    if "spike_times" not in table or "spike_times_index" not in table:
        return [Section(path, ("what", "found"), [*summary, ("spike times", "none")])]
    stops = read_stops(table, path)
    n_units = len(stops)
    starts = np.concatenate([[0], stops[:-1]])[:n_units]
    times = numbers(table["spike_times"], where=f"{path}/spike_times")
    sound = (starts >= 0) & (stops >= starts) & (stops <= times.shape[0])
    filled = sound & (stops > starts)
    counts = np.where(sound, stops - starts, 0)
    first_s, last_s = np.full(n_units, np.nan), np.full(n_units, np.nan)
    ends = np.unique(np.concatenate([starts[filled], stops[filled] - 1]))
    if len(ends):
        values = _at(times, ends)
        first_s[filled] = values[np.searchsorted(ends, starts[filled])]
        last_s[filled] = values[np.searchsorted(ends, stops[filled] - 1)]
    first, last = _finite(first_s).min(initial=np.inf), _finite(last_s).max(initial=-np.inf)
    observed_s, damage = _observed(table, path, n_units)
    length_s = np.where(np.isfinite(observed_s), observed_s, last - first)
    rate_hz = np.divide(counts, length_s, out=np.full(n_units, np.nan), where=length_s > 0)
    try:
        region = regions_of(nwb, table, n_units, where=path)
    except InputError as error:
        region = [""] * n_units
        damage.append(str(error).splitlines()[0])
    if not sound.all():
        damage.append(f"spike_times_index of {int((~sound).sum())} units points beyond the spike times")
    summary = [("units", str(n_units)), *summary, ("spikes", f"{counts.sum():,}")]
    known_hz = _finite(rate_hz)
    if len(known_hz):
        told = " / ".join(f"{value:.3g}" for value in np.quantile(known_hz, [0, 0.5, 1]))
        summary.append(("rate, lowest / median / highest", f"{told} Hz"))
    summary.append(("spikes from, to", f"{seconds(first)} to {seconds(last)} s" if last >= first else "none"))
    known_s = _finite(observed_s)
    summary.append(("observed", f"{seconds(np.median(known_s))} s (median)" if len(known_s) else "not told"))
    summary.append(("regions", ", ".join(f"{name or 'not told'}: {n}" for name, n in _counted(region))))
    summary += [("damaged", told) for told in damage]
    ids = texts(table["id"][: MOST_ROWS + 1]) if "id" in table else [str(i) for i in range(n_units)]
    rows = [
        (
            ids[i],
            f"{counts[i]:,}",
            f"{rate_hz[i]:.3g}",
            *(seconds(x[i]) for x in (first_s, last_s, observed_s)),
            region[i],
        )
        for i in range(min(n_units, len(ids), MOST_ROWS + 1))
    ]
    return [
        Section(path, ("what", "found"), summary),
        Section(
            f"{path}, one by one",
            ("id", "spikes", "rate Hz", "first s", "last s", "observed s", "region"),
            limited(rows, total=n_units),
        ),
    ]


def read_stops(table: Any, path: str) -> np.ndarray:
    """End of each unit in the spike times, shape (n_units,); -1 where it is no number."""
    stops = np.atleast_1d(_read(numbers(table["spike_times_index"], where=f"{path}/spike_times_index"), path))
    return np.where(np.isfinite(stops), stops, -1).astype(np.int64)


def _observed(table: Any, path: str, n_units: int) -> tuple[np.ndarray, list[str]]:
    """Seconds that each unit was observed, NaN where the file does not tell, shape (n_units,); what is wrong."""
    unknown = np.full(n_units, np.nan)
    if "obs_intervals" not in table or "obs_intervals_index" not in table:
        return unknown, []
    spans_s = _read(numbers(table["obs_intervals"], where=f"{path}/obs_intervals"), path)
    stops = _read(numbers(table["obs_intervals_index"], where=f"{path}/obs_intervals_index"), path).astype(np.int64)
    starts = np.concatenate([[0], stops[:-1]])[: len(stops)]
    fits = spans_s.ndim == 2 and spans_s.shape[1] == 2 and len(stops) == n_units
    if not fits or (np.diff(stops, prepend=0) < 0).any() or stops.max(initial=0) > len(spans_s):
        return unknown, ["obs_intervals do not fit the units"]
    total_s = np.concatenate([[0.0], np.cumsum(spans_s[:, 1] - spans_s[:, 0])])
    return total_s[stops] - total_s[starts], []


def _at(dataset: Any, places: np.ndarray) -> np.ndarray:
    """Values at sorted `places`, each chunk of the dataset being unpacked once."""
    chunk = dataset.chunks[0] if dataset.chunks else 1
    firsts, groups = np.unique(places // chunk * chunk, return_index=True)
    within = np.split(places, groups[1:])
    pieces = [dataset[first : first + chunk][at - first] for first, at in zip(firsts, within, strict=True)]
    return np.concatenate(pieces).astype(float)


def _read(dataset: Any, path: str) -> np.ndarray:
    check_size(dataset, int(np.prod(dataset.shape, dtype=np.int64)), where=path)
    return np.asarray(dataset[()] if dataset.shape == () else dataset[:])


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _counted(values: list[str]) -> list[tuple[str, int]]:
    names, counts = np.unique(np.array(values, str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(str(names[i]), int(counts[i])) for i in order[:20]]
