"""The sessions sheet: one row a session, tab-separated, paths relative to the sheet.

Only the standard library is imported here, since every job of the workflow reads the sheet.
"""

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError, InputErrors, nearest
from pipeline.listing import SUFFIXES, decoded_text, files_matching, read_listing
from pipeline.sync import SYNC_FORMS, pulse_channels, sync_kind

COLUMNS = ("session", "subject", "audio", "nwb", "sync", "annotations", "covariates", "condition")
REQUIRED = ("session", "subject")


@dataclass(frozen=True)
class Session:
    """One row of the sheet, with its paths resolved.

    `audio` holds the sound files in recording order; where the sound lies inside the NWB file, `audio` is empty and
    `audio_series` its path there. Where the sheet names a listing, `audio_listing` is its path and `audio_start_s` the
    start of each file on the audio clock, s; else each file starts where the one before it stops. `nwb` is a file, a
    folder (Zarr) or, as text, an address. `sync` is "", a number (offset_s), the absolute path of a CSV, or
    "wav:1@nwb:/...". `covariates` are absolute paths of tables, or "nwb:/..." as text.
    """

    name: str
    subject: str
    audio: tuple[Path, ...]
    audio_series: str | None
    nwb: Path | str | None
    sync: str
    annotations: Path | None
    condition: str
    audio_start_s: tuple[float, ...] | None = None
    audio_listing: Path | None = None
    covariates: tuple[Path | str, ...] = ()

    @property
    def has_audio(self) -> bool:
        return bool(self.audio) or self.audio_series is not None

    @property
    def annotated_on_nwb_clock(self) -> bool:
        """Whether the annotations are a table in an NWB file, whose clock is not that of the sound."""
        inside = self.annotations is not None and split_annotations(self.annotations)[0].suffix == ".nwb"
        return inside and sync_kind(self.sync) != "none"


def read_sessions(sheet: str | Path, *, must_exist: bool = True) -> list[Session]:
    """All sessions of a sheet, in its order.

    `must_exist=False` accepts files that are yet to be made (by another rule of the workflow).

    Raises InputErrors with every problem of the sheet: columns, names, files, forms of `sync`.
    """
    sessions, problems = scan_sheet(sheet, must_exist=must_exist)
    _refuse(problems)
    return sessions


def scan_sheet(sheet: str | Path, *, must_exist: bool = True) -> tuple[list[Session], list[InputError]]:
    """The sessions of a sheet, as far as they can be told, and everything that is wrong in it.

    Raises InputError where it cannot be read as a table with the right columns.
    """
    sheet = Path(sheet)
    rows, problems = _read_rows(sheet)
    sessions = []
    for line, row in rows:
        session, row_problems = _read_row(row, sheet=sheet, line=line)
        problems += row_problems
        sessions.append(session)
        if must_exist:
            where = _place(sheet, line, session.name)
            problems += [_missing(column, path, where) for column, path in absent_files(session)]
    return sessions, problems + _duplicates(sheet, sessions)


def find_session(sheet: str | Path, name: str) -> Session:
    """The session called `name`, whose files exist.

    Raises InputError where the sheet has no such session or a file of it is missing.
    """
    sessions = {session.name: session for session in read_sessions(sheet, must_exist=False)}
    if name not in sessions:
        raise InputError("no such session", where=sheet, found=name, allowed=sessions)
    _refuse([_missing(*absent, f"{sheet}, session {name!r}") for absent in absent_files(sessions[name])])
    return sessions[name]


def split_annotations(path: str | Path) -> tuple[Path, str | None]:
    """The file that a cell of `annotations` names, and the path of the table in it ("file.nwb:/intervals/NAME")."""
    inside_nwb = re.fullmatch(r"(.+\.nwb):(/.+)", str(path))
    return (Path(inside_nwb[1]), inside_nwb[2]) if inside_nwb else (Path(path), None)


def is_address(text: object) -> bool:
    """Whether a cell of the sheet is an address (https://, s3://) and no path."""
    return bool(re.match(r"(https?|s3)://", str(text)))


def absent_files(session: Session) -> list[tuple[str, Path]]:
    """Column and path of every file of the session that is not there."""
    named = [("audio", path) for path in session.audio] + [("nwb", session.nwb)]
    if session.annotations is not None:
        named.append(("annotations", split_annotations(session.annotations)[0]))
    if sync_kind(session.sync) == "file":
        named.append(("sync", Path(session.sync)))
    named += [("covariates", entry) for entry in session.covariates if isinstance(entry, Path)]
    return [(column, path) for column, path in named if path is not None and not _is_there(column, path)]


def _is_there(column: str, path: Path | str) -> bool:
    """Addresses are asked when they are read; an NWB recording in Zarr is a folder."""
    return is_address(path) or (path.exists() if column == "nwb" else path.is_file())


def _missing(column: str, path: Path, where: object) -> InputError:
    if path.is_dir():
        return InputError(
            f"{column}: a folder, not a file", where=where, found=path, mend=f"name the files in it: {path.name}/*.wav"
        )
    if not path.parent.is_dir():
        mend = f"there is no folder {path.parent}; paths are relative to the sheet"
    else:
        close = nearest(path.name, [p.name for p in path.parent.iterdir()])
        mend = f"did you mean {close!r}?" if close else "paths are relative to the sheet"
        if column == "covariates" and "," in path.name:
            mend = "a semicolon goes between entries"
    return InputError(f"{column}: no such file", where=where, found=path, mend=mend)


def _read_rows(sheet: Path) -> tuple[list[tuple[int, dict[str, str]]], list[InputError]]:
    """Rows with their line numbers, and the problems of the header and of the rows' lengths."""
    text = decoded_text(sheet, what="the sessions sheet", mend="set `sessions` in the config")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    # line by line, so that a stray quotation mark cannot swallow rows
    cells = [next(csv.reader([line], delimiter="\t")) for _, line in lines]
    if len(cells) < 2:
        raise InputError("the sessions sheet has no row", where=sheet, mend=f"a header ({', '.join(COLUMNS)}) and rows")
    header = [name.strip() for name in cells[0]]
    if len(header) == 1 and re.search("[,;]", header[0]):
        raise InputError("the sessions sheet is not tab-separated", where=sheet, found=header[0], mend="save it as TSV")
    problems = [
        InputError(f"unknown column {name!r}", where=sheet, found=name, allowed=COLUMNS)
        for name in header
        if name not in COLUMNS
    ]
    problems += [InputError(f"column {n!r} twice", where=sheet) for n, k in Counter(header).items() if k > 1]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        problems.append(InputError("columns are missing", where=sheet, found=header, mend=f"add {', '.join(missing)}"))
        _refuse(problems)  # without them no row can be read; other problems are told together with those of the rows
    rows = []
    for (line, _), values in zip(lines[1:], cells[1:], strict=True):
        if len(values) > len(header) and any(v.strip() for v in values[len(header) :]):
            problems.append(
                InputError(
                    f"{len(values)} cells, but {len(header)} columns", where=f"{sheet}, line {line}", found=values
                )
            )
        values = values + [""] * (len(header) - len(values))  # editors drop empty cells at the end of a line
        rows.append((line, {name: value.strip() for name, value in zip(header, values, strict=False)}))
    return rows, problems


def _read_row(row: dict[str, str], *, sheet: Path, line: int) -> tuple[Session, list[InputError]]:
    name, nwb = row["session"], row.get("nwb", "")
    where = _place(sheet, line, name)
    problems = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        problems.append(
            InputError(
                "session: not a usable name", where=where, found=name, allowed="letters, digits, and _ . - after them"
            )
        )
    if not row["subject"]:
        problems.append(InputError("subject is empty", where=where, mend="name the animal: animals are the replicate"))
    audio, audio_series = row.get("audio", ""), None
    listing, start_s = None, None
    if audio.startswith("nwb:"):
        audio_series = audio.removeprefix("nwb:")
        if not audio_series.startswith("/"):
            problems.append(
                InputError("audio: no path in an NWB file", where=where, found=audio, allowed="nwb:/acquisition/NAME")
            )
        if not nwb:
            problems.append(InputError("audio lies in an NWB file, but nwb is empty", where=where, found=audio))
        if is_address(nwb):
            problems.append(InputError("audio cannot be read from an address", where=where, mend=f"download {nwb}"))
        files = ()
    elif Path(audio).suffix.lower() in SUFFIXES:
        listing = _resolve(audio, sheet)
        files = (listing,)  # where there is none, it is told like any file that is missing
        try:
            files, start_s = read_listing(listing) if listing.is_file() else (files, None)
        except InputError as problem:
            problems.append(problem)
    else:
        files = files_matching(_resolve(audio, sheet)) if audio else ()
    if not audio and not row.get("nwb"):
        problems.append(InputError("neither audio nor nwb", where=where, mend="give at least one"))
    sync, sync_problem = _read_sync(row.get("sync", ""), sheet=sheet, where=where)
    if sync_kind(sync) == "channel" and not (audio and row.get("nwb")):
        sync_problem.append(
            InputError(
                "sync: pulses are matched between sound and NWB",
                where=where,
                found=sync,
                mend="give both audio and nwb, or leave sync empty",
            )
        )
    covariates, covariates_problem = _read_covariates(row.get("covariates", ""), nwb=nwb, sheet=sheet, where=where)
    session = Session(
        name=name,
        subject=row["subject"],
        audio=files,
        audio_series=audio_series,
        nwb=nwb if is_address(nwb) else _resolve(nwb, sheet),
        sync=sync,
        annotations=_resolve(row.get("annotations", ""), sheet),
        condition=row.get("condition", ""),
        audio_start_s=start_s,
        audio_listing=listing,
        covariates=covariates,
    )
    if session.annotated_on_nwb_clock and split_annotations(session.annotations)[0] != session.nwb:
        problems.append(
            InputError(
                "annotations: this NWB file is not the session's, and sync does not tell its clock",
                where=where,
                found=f"annotations {session.annotations}, nwb {session.nwb}",
                mend="export the calls to a CSV (start_s, stop_s) on the audio clock",
            )
        )
    return session, problems + sync_problem + covariates_problem


def _read_sync(text: str, *, sheet: Path, where: object) -> tuple[str, list[InputError]]:
    kind = sync_kind(text)
    if kind == "number" and not math.isfinite(float(text)):
        return text, [InputError("sync: the offset is not finite", where=where, found=text, allowed=SYNC_FORMS)]
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        mend = f"write {text.replace(',', '.')}"
        return text, [InputError("sync: decimal comma", where=where, found=text, mend=mend)]
    if kind == "channel":
        try:
            pulse_channels(text)
        except InputError as problem:
            return text, [InputError(str(problem), where=where)]
    return (str(_resolve(text, sheet)) if kind == "file" else text), []


def _read_covariates(
    text: str, *, nwb: str, sheet: Path, where: object
) -> tuple[tuple[Path | str, ...], list[InputError]]:
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    inside = [entry for entry in entries if entry.startswith("nwb:")]
    problems = []
    if inside and not nwb:
        problems.append(InputError("covariates lie in an NWB file, but nwb is empty", where=where, found=text))
    if any(not entry.startswith("nwb:/") for entry in inside):
        allowed = "nwb:/processing/behavior/NAME"
        problems.append(InputError("covariates: no path in an NWB file", where=where, found=text, allowed=allowed))
    if len(set(entries)) < len(entries):
        problems.append(InputError("covariates: an entry twice", where=where, found=text))
    if problems:
        return (), problems
    return tuple(entry if entry in inside else _resolve(entry, sheet) for entry in entries), []


def _resolve(text: str, sheet: Path) -> Path | None:
    # joining an absolute path discards the folder of the sheet
    return (sheet.parent / Path(text).expanduser()).resolve() if text else None


def _duplicates(sheet: Path, sessions: list[Session]) -> list[InputError]:
    names = Counter(session.name.lower() for session in sessions)  # file systems that ignore case exist
    problems = [
        InputError("several rows with one session name", where=sheet, found=name, mend="session names must differ")
        for name, count in names.items()
        if count > 1
    ]
    recordings: dict[tuple, list[str]] = {}
    for session in sessions:
        recordings.setdefault((session.audio, session.audio_series, session.nwb), []).append(session.name)
    problems += [
        InputError("several sessions with the same recordings", where=sheet, found=", ".join(same))
        for same in recordings.values()
        if len(same) > 1 and len(set(same)) > 1
    ]
    return problems


def _place(sheet: Path, line: int, name: str) -> str:
    return f"{sheet}, line {line}, session {name!r}"


def _refuse(problems: list[InputError]) -> None:
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
