"""Parquet tables, such as Duet's own calls.parquet."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from pipeline.audio.annotations.layouts import Table
from pipeline.errors import InputError

SUFFIXES = (".parquet",)


def read_table(path: Path, inside: str | None) -> Table:
    """All rows. Raises InputError where the file is no Parquet table."""
    try:
        schema = pyarrow.parquet.read_schema(path)
        names = [field.name for field in schema if not pa.types.is_nested(field.type)]
        columns = pyarrow.parquet.read_table(path, columns=names).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise InputError("cannot read this table", where=path, found=error, mend="make it again") from error
    rows = [["" if cell is None else cell for cell in row] for row in zip(*columns.values(), strict=True)]
    return Table(header=names, rows=rows, lines=list(range(1, len(rows) + 1)))
