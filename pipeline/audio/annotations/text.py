"""Text tables: CSV, TSV, Raven selection tables, Audacity labels, segments of AVA.

The cells are divided by tabs, semicolons, commas or spaces, whichever gives a header or two numbers in the first
line. Lines that begin with a backslash (frequencies of Audacity's spectral labels) and with # and a space (AVA's
`# Onsets/offsets for ...`, `ava/segmenting/segment.py`) are left out. Audacity's labels: start, stop and label without
a header (https://manual.audacityteam.org/man/importing_and_exporting_labels.html).
"""

import csv
import io
import re
from pathlib import Path

from pipeline.audio.annotations.layouts import Table, find_columns, is_number
from pipeline.errors import InputError

SUFFIXES = (".csv", ".tsv", ".txt", ".tab", ".dat")
MOST_BYTES = 2**28
DELIMITERS = ("\t", ";", ",", " ")


def read_table(path: Path, inside: str | None) -> Table:
    """All rows. Raises InputError where the file is no text, or empty."""
    size = path.stat().st_size
    if size == 0 or size > MOST_BYTES:
        raise InputError(
            "the annotations are an empty file" if size == 0 else "too large for a table of calls",
            where=path,
            found=f"{size:,} bytes",
            allowed=None if size == 0 else f"up to {MOST_BYTES:,} bytes",
            mend="where there are no calls, write the line: start_s,stop_s" if size == 0 else None,
        )
    lines = []
    for line_number, line in enumerate(io.StringIO(_decoded(path), newline=None), 1):
        line = line.rstrip("\n")
        if line.strip(" ,;\t") and not re.match(r"\\|#\s*$|#[^,;\t\w\"]", line):
            lines.append((line_number, line))
    if not lines:
        return Table(header=None, rows=[], lines=[])
    hint = re.fullmatch(r"sep=(.)", lines[0][1].strip())  # Excel's own
    if hint:
        lines = lines[1:]
    delimiter = hint[1] if hint else _delimiter(lines[0][1])
    rows = [_cells(line, delimiter, path, line_number) for line_number, line in lines]
    numbers = [line_number for line_number, _ in lines]
    if rows and _has_no_header(rows[0]):
        _check_without_header(rows, delimiter, path)
        return Table(header=None, rows=rows, lines=numbers)
    return Table(header=rows[0] if rows else None, rows=rows[1:], lines=numbers[1:])


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif data[1:64:2].count(0) > len(data[1:64:2]) // 2:
        encodings = ["utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError("cannot read the annotations: this is no text", where=path, mend="export them as CSV")


def _delimiter(line: str) -> str:
    cells = {delimiter: _cells(line, delimiter, None, 1) for delimiter in DELIMITERS}
    for delimiter in DELIMITERS:
        if find_columns(cells[delimiter]) or _has_no_header(cells[delimiter]):
            return delimiter
    return max(DELIMITERS[:-1], key=lambda delimiter: len(cells[delimiter]))


def _cells(line: str, delimiter: str, path: Path | None, line_number: int) -> list[str]:
    # line by line, so that a stray quotation mark cannot swallow rows
    if delimiter == " ":
        return line.split(maxsplit=2)
    if delimiter == "\t":
        return [cell.strip().strip('"') for cell in line.split("\t")]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error as error:
        raise InputError("cannot read the annotations", where=f"{path}, line {line_number}", found=error) from error


def _has_no_header(cells: list[str]) -> bool:
    return len(cells) >= 2 and is_number(cells[0]) and is_number(cells[1])


def _check_without_header(rows: list[list[str]], delimiter: str, path: Path) -> None:
    """Refuse the two tables that would be read as something else."""
    mend = "begin the file with a line that names the columns, as start_s,stop_s,label"
    if delimiter == "," and len(rows[0]) >= 4 and all(cell.isdecimal() for cell in rows[0]):
        raise InputError("decimal commas in a table divided by commas", where=path, found=",".join(rows[0]), mend=mend)
    counted = [row[0] for row in rows]
    if len(rows) > 1 and counted in ([str(i + k) for i in range(len(rows))] for k in (0, 1)):
        timed = all(len(row) > 2 and is_number(row[2]) for row in rows)
        if timed:
            raise InputError("numbered rows, but no header", where=path, found=", ".join(rows[0]), mend=mend)
