"""What a file holds, before it stands in a sheet: sound, or a neural recording."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Section:
    """A table of what was found: a title, the names of the columns, and rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
