"""A lab's own call labels, which replace detection."""

import csv
from pathlib import Path

import numpy as np

from pipeline.errors import InputError, InputErrors, nearest

COLUMNS = ("start_s", "stop_s")
MOST_PROBLEMS = 20  # a wrong unit fails in every row; nobody reads more


def read_annotations(
    path: str | Path, *, audio_start_s: float, audio_stop_s: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a CSV (or TSV, by suffix) with the columns start_s, stop_s (s, audio clock) and, if any, label.

    Returns start and stop, s, each of shape (n_calls,), and labels, all sorted by start.

    Raises InputError (all problems at once) where a column is missing, a value is no number, a call stops before
    it starts or lies outside the audio, `audio_start_s` to `audio_stop_s`.
    """
    delimiter = "\t" if Path(path).suffix == ".tsv" else ","
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter)
            columns = [name.strip() for name in reader.fieldnames or []]
            rows = [dict(zip(columns, row.values(), strict=False)) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot read the annotations", where=path, found=error) from error
    for column in COLUMNS:
        if column not in columns:
            close = nearest(column, columns)
            raise InputError(
                f"the annotations have no column {column!r}",
                where=path,
                found=", ".join(columns) or "an empty file",
                allowed="start_s, stop_s and, if any, label",
                mend=f"rename the column {close!r}" if close else "begin the file with the line: start_s,stop_s,label",
            )
    calls, problems = [], []
    for number, row in enumerate(rows, 2):
        try:
            start_s, stop_s = (float(row[column]) for column in COLUMNS)
        except (TypeError, ValueError):
            start_s = stop_s = np.nan
        if not audio_start_s - 1e-6 <= start_s < stop_s <= audio_stop_s + 1e-6:
            problems.append(
                InputError(
                    "not a call within the recording",
                    where=f"{path}, line {number}",
                    found=f"start_s {row['start_s']}, stop_s {row['stop_s']}",
                    allowed=f"numbers, {audio_start_s:g} <= start_s < stop_s <= {audio_stop_s:g}",
                    mend="give seconds on the audio clock, from the start of the session's first file",
                )
            )
        calls.append((start_s, stop_s, (row.get("label") or "").strip()))
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems[:MOST_PROBLEMS])
    calls.sort()
    times_s = np.array([call[:2] for call in calls], float).reshape(-1, 2)
    return times_s[:, 0], times_s[:, 1], [call[2] for call in calls]
