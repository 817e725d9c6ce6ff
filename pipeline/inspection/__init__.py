"""What a file holds, before it stands in a sheet: sound, or a neural recording."""

import math
from dataclasses import dataclass, field

MOST_ROWS = 40  # of each table; the rest is counted


@dataclass(frozen=True)
class Section:
    """A table of what was found: a title, the names of the columns, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


def limited(rows: list[tuple[str, ...]], *, total: int | None = None) -> list[tuple[str, ...]]:
    """The first rows, and a row with the number of the others; `total` where `rows` are not all."""
    total = len(rows) if total is None else total
    if total <= MOST_ROWS:
        return rows
    return [*rows[:MOST_ROWS], (f"and {total - MOST_ROWS:,} more", *[""] * (len(rows[0]) - 1))]


def seconds(value: float) -> str:
    return f"{float(value):.6g}" if math.isfinite(value) else "-"
