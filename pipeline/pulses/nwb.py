"""Pulses in an NWB file: time stamps of events, a series of levels, or the rows of a table of events or intervals.

Names as in the NWB schema (https://nwb-schema.readthedocs.io) and in ndx-events
(https://github.com/rly/ndx-events: Events, LabeledEvents, TTLs, EventsTable).
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

import numpy as np

from pipeline.errors import InputError, nearest
from pipeline.neural.nwb import Nwb, check_size, numbers, open_nwb, texts
from pipeline.pulses import Pulses
from pipeline.pulses.detection import BLOCK_SAMPLES, pulse_onsets, spaced
from pipeline.pulses.levels import COMMON

TIME_COLUMNS = ("start_time", "timestamp", "timestamps", "event_times")
EDGES = ("rising", "falling")
STEADY = 0.01  # relative deviation from the median interval that a steady sampling rate may have
LEAST_STEADY = 0.9  # share of intervals that are steady in a series of samples
MOST_CODES = 64  # different values; more are a waveform's
MOST_STAMPS = 10_000_000
DEEPEST = 8


def pulses_in_nwb(location: Path | str, path: str, *, selection: str) -> Pulses:
    """Onsets of the pulses at a path of an NWB file, in seconds of its clock.

    `selection`: "" or, where they are several, the event code, the label or the column of the data that holds the
    pulses; of levels, "rising" or "falling". Raises InputError where nothing at the path tells times of pulses.
    """
    with open_nwb(location) as nwb:
        item = find_pulses(nwb, path)
        where = f"{nwb.where}, {path}"
        if not hasattr(item, "keys"):
            return _events(_whole(item, where), where)
        column = next((name for name in TIME_COLUMNS if name in item), None)
        if "starting_time" in item and "data" in item:
            return _sampled(item, selection, where)
        if column is not None and "data" in item:
            return _stamped(item, column, selection, where)
        if selection:
            raise _not_selected(selection, ["nothing: there are no codes here"], where)
        return _events(_whole(item[column], where), where)


def find_pulses(nwb: Nwb, path: str) -> Any:
    """The group or the array of times at a path. Raises InputError, listing what there is, where there is none."""
    name = path.strip("/")
    item = nwb.root.get(name)
    if item is not None and not hasattr(item, "keys"):
        if item.ndim == 1 and item.dtype.kind in "iuf":
            return item
    elif item is not None and _tells_times(item):
        return item
    options = list(_candidates(nwb.root, "", 0))
    close = nearest(path, options)
    raise InputError(
        "sync: nothing at this path of the NWB file tells times of pulses",
        where=nwb.where,
        found=path,
        allowed=", ".join(options) or "none in this file",
        mend=f"did you mean {close}?" if close else "a series, events, or a table with start_time or timestamp",
    )


def _tells_times(group: Any) -> bool:
    return ("starting_time" in group and "data" in group) or any(name in group for name in TIME_COLUMNS)


def _candidates(group: Any, path: str, depth: int) -> Iterable[str]:
    for name in sorted(group):
        item = group.get(name)  # a broken link is in the list, but not in the group
        if item is None or not hasattr(item, "keys") or (not path and name in ("general", "specifications")):
            continue
        if _tells_times(item):
            yield f"{path}/{name}"
        elif depth < DEEPEST:
            yield from _candidates(item, f"{path}/{name}", depth + 1)


def _whole(dataset: Any, where: str) -> np.ndarray:
    check_size(dataset, int(np.prod(dataset.shape)), where=where)
    return np.asarray(numbers(dataset, where=where)[:], float).ravel()


def _events(times_s: np.ndarray, where: str) -> Pulses:
    finite = np.isfinite(times_s)
    if not finite.all():
        warn(f"{where}: {(~finite).sum()} pulses without a finite time are left out", stacklevel=3)
    onset_s = spaced(times_s)
    # events do not tell since when and until when they were listened to
    return Pulses(onset_s, onset_s[[0, -1]][None] if len(onset_s) else np.empty((0, 2)), where)


def _sampled(group: Any, selection: str, where: str) -> Pulses:
    """A series of levels at a steady rate."""
    data, edge = _column(group["data"], selection, where)
    start_s, rate_hz = float(group["starting_time"][()]), float(group["starting_time"].attrs["rate"])
    if not (np.isfinite(start_s) and np.isfinite(rate_hz) and rate_hz > 0):
        raise InputError(
            "sync: the series has no sampling rate", where=where, found=f"{rate_hz:g} Hz from {start_s:g} s"
        )
    (places,), level = pulse_onsets([data], rate_hz=rate_hz, edge=edge, where=where)
    span_s = np.array([[start_s, start_s + len(group["data"]) / rate_hz]])
    return Pulses(spaced(start_s + places / rate_hz), span_s, where, level)


def _stamped(group: Any, column: str, selection: str, where: str) -> Pulses:
    """Time stamps with data: samples of a level, or the codes of events."""
    stamps, data = group[column], group["data"]
    if len(data) != len(stamps):
        found = f"{len(stamps)} time stamps, {len(data)} values"
        raise InputError("sync: not one time stamp for each value", where=where, found=found, mend="write it again")
    if len(stamps) > MOST_STAMPS:
        raise InputError(
            "sync: too many time stamps",
            where=where,
            found=len(stamps),
            allowed=f"up to {MOST_STAMPS}",
            mend="write sampled levels with starting_time and rate, or the times of the pulses alone",
        )
    times_s = _whole(stamps, where)
    check_size(data, int(np.prod(data.shape)), where=where)
    finite = np.isfinite(times_s)
    at = np.flatnonzero(finite)
    intervals_s = np.diff(times_s[finite])
    typical_s = float(np.median(intervals_s)) if len(intervals_s) else 0.0
    steady = np.abs(intervals_s - typical_s) <= STEADY * typical_s
    sampled = len(at) > 2 and typical_s > 0 and steady.mean() > LEAST_STEADY
    codes = np.asarray(data[:]) if data.ndim == 1 else None
    if codes is not None and codes.dtype.kind not in "iufb":
        codes, kinds = np.array(texts(codes)), None
    else:
        kinds = np.unique(codes) if codes is not None else None
    level = codes is None or (kinds is not None and len(kinds) > 1 and sampled and not _alternates(codes))
    if level or (kinds is not None and len(kinds) > MOST_CODES):
        blocks, edge = _column(data, selection, where)
        (places,), seen = pulse_onsets([blocks], rate_hz=1 / typical_s if sampled else 1.0, edge=edge, where=where)
        return Pulses(spaced(np.interp(places, at, times_s[at])), times_s[at][[0, -1]][None], where, seen)
    if not finite.all():
        warn(f"{where}: {(~finite).sum()} pulses without a finite time are left out", stacklevel=3)
    codes = codes.astype(float) if kinds is not None else codes
    labels = dict(enumerate(texts(data.attrs.get("labels", ()))))
    return _coded(times_s[finite], codes[finite], selection, labels, where)


def _coded(times_s: np.ndarray, codes: np.ndarray, selection: str, labels: dict[int, str], where: str) -> Pulses:
    """Events with codes: those chosen, the only kind, or the changes to the upper of two levels."""
    kinds, counts = np.unique(codes, return_counts=True)
    plain = [f"{kind:g}" if codes.dtype.kind == "f" else str(kind) for kind in kinds]
    names = [labels.get(int(name), name) if name.isdecimal() else name for name in plain]
    edge = selection if selection in EDGES and selection not in names else ""
    if selection and not edge:
        chosen = [selection in pair for pair in zip(names, plain, strict=True)]
        if not any(chosen):
            raise _not_selected(selection, names, where)
        return _events(times_s[codes == kinds[chosen.index(True)]], where)
    if len(kinds) == 2 and codes.dtype.kind == "f" and not labels and _alternates(codes):
        upper = codes == kinds[1]
        lower_share = np.diff(times_s)[~upper[:-1]].sum() / (times_s[-1] - times_s[0])
        falling = edge == "falling" or (not edge and lower_share <= COMMON)  # as of sampled levels
        return _events(times_s[~upper if falling else upper], where)
    if len(kinds) > 1:
        raise InputError(
            "sync: events of several kinds",
            where=where,
            found=", ".join(f"{name} ({count})" for name, count in zip(names[:MOST_CODES], counts, strict=False)),
            mend="name the one that marks the pulses after #, as in wav:1@nwb:/PATH#" + names[0],
        )
    return _events(times_s, where)


def _alternates(codes: np.ndarray) -> bool:
    """Whether two levels take turns, as where each change of a line is written."""
    return len(np.unique(codes)) == 2 and float(np.mean(codes[1:] != codes[:-1])) > LEAST_STEADY


def _column(data: Any, selection: str, where: str) -> tuple[Any, str]:
    """A function that yields the samples of a series block by block, and the edge that is asked for."""
    edge = selection if selection in EDGES else ""
    n_columns = 1 if data.ndim == 1 else data.shape[1]
    chosen = selection if not edge else ""
    columns = [str(column) for column in range(n_columns)]
    if data.ndim > 2 or (n_columns > 1 and not chosen) or (chosen and chosen not in columns):
        raise _not_selected(selection or f"data of shape {data.shape}", columns, where)
    numbers_or_bool = data.dtype.kind in "iufb"
    if not numbers_or_bool:
        raise InputError("sync: the series holds no numbers", where=where, found=str(data.dtype))
    check_size(data, int(np.prod(data.shape)), where=where)
    return partial(_blocks, data, int(chosen or 0)), edge


def _blocks(data: Any, column: int) -> Iterable[np.ndarray]:
    for first in range(0, len(data), BLOCK_SAMPLES):
        block = data[first : first + BLOCK_SAMPLES]
        yield np.asarray(block if block.ndim == 1 else block[:, column], np.float32)


def _not_selected(selection: str, options: list[str], where: str) -> InputError:
    return InputError(
        "sync: which pulses?",
        where=where,
        found=selection,
        allowed=", ".join(options),
        mend="name one of them after #, as in wav:1@nwb:/PATH#" + options[0].split(":")[0],
    )
