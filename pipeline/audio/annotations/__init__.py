"""A lab's own call labels, which replace detection: one file a format, found by its name.

A format's file holds `SUFFIXES` and `read_table(path, inside) -> Table`; the columns of all tools are in `layouts`.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.annotations.layouts import LAYOUTS, LEVELS, WITHOUT_HEADER, Columns, Table, find_columns, number
from pipeline.clock import Clock
from pipeline.discovery import load, names_in
from pipeline.errors import InputError, InputErrors, nearest
from pipeline.sessions import split_annotations

MOST_PROBLEMS = 20  # a wrong unit fails in every row; nobody reads more
ROUNDING_S = 1e-6
OVERHANG_S = 0.005  # a call may end so far outside the audio: tools round, and count in frames


@dataclass(frozen=True)
class Calls:
    """Labelled calls in the order of their starts."""

    start_s: np.ndarray  # (n_calls,)
    stop_s: np.ndarray  # (n_calls,)
    labels: list[str]
    level_db: np.ndarray  # (n_calls,) level or signal-to-noise ratio, NaN where the file tells none


def read_annotations(
    path: str | Path, *, audio_start_s: float, audio_stop_s: float, clock: Clock | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read calls from a file of any known layout; `file.nwb:/intervals/NAME` names a table in an NWB file.

    clock: from the session's clock, where the times are on it, to that of the audio.

    Returns start and stop, s on the audio clock, each of shape (n_calls,), and labels, all sorted by start.

    Raises InputError (all problems at once) where the layout is unknown, a value is no number, a call stops before
    it starts or lies outside the audio, `audio_start_s` to `audio_stop_s`. Warns of a table without calls and of
    calls that were cut at the ends of the audio.
    """
    calls = read_calls(path, audio_start_s=audio_start_s, audio_stop_s=audio_stop_s, clock=clock)
    return calls.start_s, calls.stop_s, calls.labels


def read_calls(
    path: str | Path, *, audio_start_s: float = -np.inf, audio_stop_s: float = np.inf, clock: Clock | None = None
) -> Calls:
    """As `read_annotations`, with the level of each call where the file has one."""
    file, inside = split_annotations(path)
    if clock is not None:  # judged, and told of, in the file's own times
        audio_start_s, audio_stop_s = clock.to_session([audio_start_s, audio_stop_s])
    table = _read_table(file, inside)
    columns = WITHOUT_HEADER if table.header is None else find_columns(table.header)
    if columns is None:
        raise _unknown(path, table.header)
    kept = _kept(table, columns, file)
    if not kept:
        warnings.warn(f"{path}: the annotations hold no calls", stacklevel=2)
    rows = [table.rows[row] for row in kept]
    times_s = np.array([_times(row, columns) for row in rows], float).reshape(-1, 2)
    bad, limits = _not_calls(times_s, audio_start_s=audio_start_s, audio_stop_s=audio_stop_s)
    if len(bad):
        in_ms = not len(_not_calls(times_s / 1e3, audio_start_s=audio_start_s, audio_stop_s=audio_stop_s)[0])
        raise _refused(
            [
                (table.lines[kept[row]], *(_text(rows[row], cell) for cell in (columns.start, columns.stop)))
                for row in bad
            ],
            path=path,
            limits=limits,
            in_ms=in_ms and table.header is not None,
        )
    cut_s = _cut(times_s, path=path, audio_start_s=audio_start_s, audio_stop_s=audio_stop_s)
    if clock is not None:
        cut_s = clock.to_audio(cut_s)
    order = np.lexsort((cut_s[:, 1], cut_s[:, 0]))
    label, level = columns.first(columns.layout.labels), columns.first(LEVELS)
    rows = [rows[row] for row in order]
    return Calls(
        start_s=cut_s[order, 0],
        stop_s=cut_s[order, 1],
        labels=[_text(row, label) for row in rows],
        level_db=np.array([_number(row, level) for row in rows], float),
    )


def _read_table(file: Path, inside: str | None) -> Table:
    import pipeline.audio.annotations as package

    formats = [load(package, name, what="format") for name in names_in(package, beside={"layouts"})]
    suffixes = sorted({suffix for module in formats for suffix in module.SUFFIXES})
    if not file.is_file():
        raise InputError("cannot read the annotations: no such file", where=file)
    module = next((module for module in formats if file.suffix.lower() in module.SUFFIXES), None)
    if module is None:
        raise InputError(
            "not a format of annotations that can be read",
            where=file,
            found=file.suffix or "no suffix",
            allowed=suffixes,
            mend="export the calls from your tool as CSV",
        )
    try:
        return module.read_table(file, inside)
    except OSError as error:
        raise InputError("cannot read the annotations", where=file, found=error.strerror or error) from error


def _unknown(path: object, header: list[str]) -> InputError:
    close = {name: nearest(name, map(str, header)) for name in ("start_s", "stop_s")}
    renamed = [f"{found!r} to {name}" for name, found in close.items() if found]
    return InputError(
        "the annotations have no columns of a known layout",
        where=path,
        found=", ".join(map(str, header)),
        allowed=[str(layout) for layout in LAYOUTS],
        mend=f"rename {' and '.join(renamed)}" if renamed else "call the two columns of times start_s and stop_s",
    )


def _kept(table: Table, columns: Columns, path: Path) -> list[int]:
    """Rows that are calls: without those that the tool or its user refused, and each selection of Raven once."""
    rows = range(len(table.rows))
    if columns.layout.refused:
        name, refused = columns.layout.refused
        cell = columns.names.get(name)
        rows = [row for row in rows if _text(table.rows[row], cell).lower() not in refused]
    selection, view = columns.names.get("selection"), columns.names.get("view")
    if selection is not None and view is not None:
        first: dict[str, int] = {}
        for row in rows:
            first.setdefault(_text(table.rows[row], selection) or f"row {row}", row)
        rows = list(first.values())
    file = columns.names.get("file") if columns.layout.tool == "DeepSqueak" else None
    files = {_text(table.rows[row], file) for row in rows} if file is not None else set()
    if len(files) > 1:
        raise InputError(
            "several recordings in one table of calls",
            where=path,
            found=", ".join(sorted(files)[:5]),
            mend="export each recording's calls to a file of their own",
        )
    return list(rows)


def _not_calls(times_s: np.ndarray, *, audio_start_s: float, audio_stop_s: float) -> tuple[np.ndarray, str]:
    """Rows of `times_s`, shape (n_calls, 2), that are no calls within the audio, and what is allowed."""
    start_s, stop_s = times_s.T
    fine = (
        np.isfinite(times_s).all(axis=1)
        & (start_s >= audio_start_s - OVERHANG_S)
        & (start_s < stop_s)
        & (stop_s <= audio_stop_s + OVERHANG_S)
        & (start_s < audio_stop_s)
        & (stop_s > audio_start_s)
    )
    if np.isfinite([audio_start_s, audio_stop_s]).all():
        return np.flatnonzero(~fine), f"{audio_start_s:g} <= start < stop <= {audio_stop_s:g}"
    return np.flatnonzero(~fine), "start < stop"


def _refused(rows: list[tuple[int, str, str]], *, path: object, limits: str, in_ms: bool) -> InputError:
    """What is wrong with rows (line, start, stop), the first of them one by one."""
    mend = "give seconds on the audio clock, from the start of the session's first file"
    if in_ms:
        mend = "these would fit as milliseconds: say so in the header, as start_ms,stop_ms"
    problems = [
        InputError(
            "not a call within the recording",
            where=f"{path}, line {line}",
            found=f"start {start or 'empty'}, stop {stop or 'empty'}",
            allowed=f"numbers of seconds, {limits}",
            mend=mend,
        )
        for line, start, stop in rows[:MOST_PROBLEMS]
    ]
    if len(rows) > MOST_PROBLEMS:
        problems.append(InputError(f"{len(rows) - MOST_PROBLEMS:,} more rows like these", where=path))
    return problems[0] if len(problems) == 1 else InputErrors(problems)


def _cut(times_s: np.ndarray, *, path: object, audio_start_s: float, audio_stop_s: float) -> np.ndarray:
    """Starts and stops cut at the ends of the audio, shape (n_calls, 2)."""
    cut_s = np.clip(times_s, audio_start_s, audio_stop_s)
    n_cut = int((np.abs(cut_s - times_s).max(axis=1, initial=0) > ROUNDING_S).sum())
    if n_cut:
        warnings.warn(
            f"{path}: {n_cut} of {len(times_s)} calls reach up to {1e3 * OVERHANG_S:g} ms beyond the audio; cut there",
            stacklevel=2,
        )
    return cut_s


def _times(row: Sequence, columns: Columns) -> tuple[float, float]:
    return tuple(
        _number(row, cell) * unit_s for cell, unit_s in zip((columns.start, columns.stop), columns.units_s, strict=True)
    )


def _number(row: Sequence, cell: int | None) -> float:
    """The number in a cell, NaN where there is none."""
    try:
        return number(row[cell])
    except (TypeError, ValueError, IndexError):
        return np.nan


def _text(row: Sequence, cell: int | None) -> str:
    return "" if cell is None or cell >= len(row) else str(row[cell]).strip()
