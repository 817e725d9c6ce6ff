"""The columns in which laboratories and their tools keep calls.

Names are compared in lower case, with underscores as spaces and without a unit at the end: `Begin Time (s)`,
`begin_time_s` and `Begin Time (ms)` are one column; times are converted from the unit in the header (none: seconds).

Where each layout comes from:

- Duet: the column names of calls.parquet
- DAS (deep audio segmenter): `name, start_seconds, stop_seconds`
- DeepSqueak: its Excel export, `Functions/Import and Export/excel_Callback.m`
- Raven: selection tables of Raven Pro; each selection has one row a view (waveform, spectrogram)
- VocalMat: its Excel file, `vocalmat_classifier/vocalmat_classifier.m`
- MUPET: its CSV of syllables, `util/export_csv_files_syllables.m`
- USVSEG: `<recording>_dat.csv`, `#,start,end,duration,maxfreq,maxamp,...`, times in seconds
- NWB: the columns of TimeIntervals in the NWB schema
- crowsetta: the fields of its Segment, `label, onset_s, offset_s`
- WhisperSeg: the tables of its data sets, `onset, offset, cluster`
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

UNITS_S = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
}
FALSE = frozenset({"0", "false", "0.0", "no"})


@dataclass(frozen=True)
class Layout:
    """Columns of one tool. It fits a table that has `start`, `stop` and all of `needs`.

    The first of `labels` that a table has is taken; rows whose column `refused[0]` holds one of the values
    `refused[1]` are no calls.
    """

    tool: str
    start: str
    stop: str
    labels: tuple[str, ...] = ("label",)
    needs: tuple[str, ...] = ()
    refused: tuple[str, frozenset[str]] | None = None

    def __str__(self) -> str:
        return f"{self.tool} ({', '.join([self.start, self.stop, *self.needs])})"


LAYOUTS = (
    Layout("Duet or DAS", "start", "stop", labels=("label", "name")),
    Layout("DeepSqueak", "begin time", "end time", needs=("accepted",), refused=("accepted", FALSE)),
    Layout("Raven", "begin time", "end time", labels=("annotation", "annotations", "tags", "label")),
    Layout(
        "VocalMat", "start time", "end time", labels=("class", "label"), refused=("class", frozenset({"noise_dist"}))
    ),
    Layout("MUPET", "syllable start time", "syllable end time"),
    Layout("USVSEG", "start", "end"),
    Layout("NWB", "start time", "stop time", labels=("label", "labels", "annotation", "call type", "class", "type")),
    Layout("crowsetta or WhisperSeg", "onset", "offset", labels=("label", "cluster")),
)
LEVELS = ("snr db", "snr", "level db")


@dataclass(frozen=True)
class Table:
    """Cells of an annotation file: text, or what the file's own types are.

    Without a header (None) the columns are start, stop and, if any, label. `lines` number the rows in the file.
    """

    header: list[str] | None
    rows: list[Sequence]
    lines: list[int] = field(repr=False)


@dataclass(frozen=True)
class Columns:
    """Where a table holds what; `refused` and `label` are None where it does not."""

    layout: Layout
    start: int
    stop: int
    units_s: tuple[float, float]  # of start and stop
    names: dict[str, int]  # every column by its plain name

    def first(self, names: Sequence[str]) -> int | None:
        return next((self.names[name] for name in names if name in self.names), None)


def plain(name: object) -> tuple[str, float]:
    """A column's plain name and its unit of time in seconds (1 where it has none)."""
    text = re.sub(r"[_\s]+", " ", str(name)).strip().lower()
    unit = re.fullmatch(r"(.+?) ?[(\[] ?(\w+) ?[)\]]|(.+) (\w+)", text)
    if unit:
        base, symbol = (unit[1], unit[2]) if unit[1] else (unit[3], unit[4])
        if symbol in UNITS_S:
            return base, UNITS_S[symbol]
    return text, 1.0


def find_columns(header: Sequence) -> Columns | None:
    """The layout that fits a header, or None."""
    named = [plain(name) for name in header]
    names: dict[str, int] = {}
    for number, (name, _) in enumerate(named):
        names.setdefault(name, number)
    for layout in LAYOUTS:
        if all(name in names for name in (layout.start, layout.stop, *layout.needs)):
            start, stop = names[layout.start], names[layout.stop]
            return Columns(layout, start, stop, (named[start][1], named[stop][1]), names)
    return None


WITHOUT_HEADER = Columns(LAYOUTS[0], 0, 1, (1.0, 1.0), {"start": 0, "stop": 1, "label": 2})


def number(cell: object) -> float:
    """A cell as a number, with a decimal point or comma.

    Raises ValueError or TypeError where it is none.
    """
    if isinstance(cell, str) and cell.count(",") == 1 and "." not in cell:
        cell = cell.replace(",", ".")
    return float(cell)


def is_number(cell: object) -> bool:
    try:
        number(cell)
    except (TypeError, ValueError):
        return False
    return True
