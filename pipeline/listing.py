"""Sound files by a pattern, or by a listing with their start times: TSV or CSV, columns file and start_s.

Only the standard library is imported here, since the sessions sheet reads them.
"""

import codecs
import csv
import glob
import math
import re
from collections import Counter
from pathlib import Path

from pipeline.errors import InputError, InputErrors

SUFFIXES = (".tsv", ".csv")
COLUMNS = ("file", "start_s")


def files_matching(path: Path) -> tuple[Path, ...]:
    """The file, or the files of a glob in natural order (rec_2 before rec_10)."""
    if path.is_file() or not glob.has_magic(str(path)):
        return (path,)
    found = sorted(glob.glob(str(path), recursive=True), key=_natural)
    return tuple(Path(p) for p in found if Path(p).is_file()) or (path,)


def _natural(text: str) -> list:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def read_listing(path: Path) -> tuple[tuple[Path, ...], tuple[float, ...]]:
    """Files, in the listing's order, and their starts, s on the audio clock.

    Paths are relative to the listing. Other columns are left alone.

    Raises InputError, all problems at once, where it cannot be read, a column is missing or a start is no time.
    """
    text = decoded_text(path, what="the listing of sound files")
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    if len(lines) < 2:
        raise InputError("the listing of sound files has no row", where=path, mend="a header (file, start_s) and rows")
    separator = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in lines[0][1] else ","
    header = [name.strip() for name in next(csv.reader([lines[0][1]], delimiter=separator))]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise InputError(
            "the listing of sound files lacks columns", where=path, found=header,
            mend=f"add {', '.join(missing)}; {'tabs' if separator == chr(9) else 'commas'} go between columns",
        )  # fmt: skip
    files, starts_s, problems = [], [], []
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]
        where = f"{path}, line {number}"
        if len(cells) != len(header):
            found = f"{len(cells)} cells, but {len(header)} columns"
            problems.append(InputError("a row of another length", where=where, found=found, mend="decimals take a ."))
            continue
        row = dict(zip(header, cells, strict=True))
        problems += _row_problems(row, where)
        if not problems:
            files.append((path.parent / Path(row["file"]).expanduser()).resolve())
            starts_s.append(float(row["start_s"]))
    problems += [
        InputError("a sound file is listed twice", where=path, found=file)
        for file, n in Counter(files).items()
        if n > 1
    ]
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
    return tuple(files), tuple(starts_s)


def _row_problems(row: dict[str, str], where: str) -> list[InputError]:
    problems = [] if row["file"] else [InputError("file is empty", where=where, mend="name the sound file")]
    text = row["start_s"]
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return [*problems, InputError("decimal comma", where=where, found=text, mend=f"write {text.replace(',', '.')}")]
    try:
        finite = math.isfinite(float(text))
    except ValueError:
        finite = False
    if not finite:
        allowed = "seconds on the audio clock, such as 12.5"
        problems.append(InputError("start_s is no time", where=where, found=text or "nothing", allowed=allowed))
    return problems


def decoded_text(path: Path, *, what: str, mend: str = "correct the path") -> str:
    """Text of a table: UTF-8, or what Excel calls Unicode text (UTF-16 with its mark).

    Raises InputError where the file cannot be read or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {what}", where=path, found=error.strerror, mend=mend) from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8 text", where=path, found=f"byte {content[error.start]:#04x} at {error.start}",
            mend="save it as tab-separated text in UTF-8",
        ) from error  # fmt: skip
    if "\0" in text:
        found = "a spreadsheet or other binary file" if content.startswith(b"PK") else "bytes that are 0"
        raise InputError(
            f"{what} is not UTF-8 text", where=path, found=found, mend="save it as tab-separated text in UTF-8"
        )
    return text
