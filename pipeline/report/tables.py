"""Tables as the report shows them: rounded for reading, exact for sorting, the first rows only."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.report.style import cluster_colour

MAX_ROWS = 200


@dataclass(frozen=True)
class Cell:
    text: str
    exact: str  # what the column is sorted by; numbers unrounded
    colour: str | None = None  # of a cluster


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    description: str
    is_number: bool


@dataclass(frozen=True)
class TableView:
    name: str
    columns: list[Column]
    rows: list[list[Cell]]
    n_rows: int  # of the whole table
    csv: str | None  # link, relative to the report

    @property
    def shows_all(self) -> bool:
        return len(self.rows) == self.n_rows


def view(
    table: pd.DataFrame,
    name: str,
    *,
    descriptions: dict[str, str],
    csv: str | None,
    labels: dict[str, str] | None = None,
    intervals: dict[str, tuple[str, str]] | None = None,
) -> TableView:
    """The first rows of `table`; `labels` chooses, orders and names columns, those that are absent are left out.

    intervals: by column, the columns of its interval's ends, which are shown beside its values.
    """
    labels = {c: c for c in table.columns} if labels is None else labels
    heads = [Column(c, labels[c], descriptions.get(c, ""), _is_number(table[c])) for c in labels if c in table.columns]
    shown = table.head(MAX_ROWS)
    series = [[_cell(head.name, value) for value in shown[head.name]] for head in heads]
    for head, cells in zip(heads, series, strict=True):
        ends = (intervals or {}).get(head.name, ())
        if ends and set(ends) <= set(shown.columns):
            for row, (low, high) in enumerate(shown[list(ends)].itertuples(index=False)):
                if _present(low) and _present(high):
                    text = f"{cells[row].text} ({rounded(head.name, low)}–{rounded(head.name, high)})"
                    cells[row] = replace(cells[row], text=text)
    rows = [list(cells) for cells in zip(*series, strict=True)]
    return TableView(name=name, columns=heads, rows=rows, n_rows=len(table), csv=csv)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _cell(column: str, value: object) -> Cell:
    if column == "cluster" and _present(value):
        return Cell("none" if value < 0 else str(int(value)), str(int(value)), cluster_colour(int(value)))
    if isinstance(value, (list, tuple, np.ndarray)):
        text = ", ".join(rounded(column, item) for item in value)
        return Cell(text or "–", text)
    return Cell(rounded(column, value), str(value) if _present(value) else "")


def rounded(column: str, value: object) -> str:
    """A value as text: enough digits to judge by its column's unit, a dash where it is missing."""
    if not _present(value):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if not isinstance(value, (float, np.floating)):
        return str(value)
    if not np.isfinite(value):
        return "∞" if value > 0 else "-∞"
    parts = column.split("_")
    if parts[0] in ("p", "q"):
        return f"{value:.2g}"
    if "khz" in parts or ("ms" in parts and (abs(value) >= 1 or value == 0)):
        return f"{value:.1f}"
    if float(value).is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _present(value: object) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return False
    return not (isinstance(value, (float, np.floating)) and np.isnan(value))
