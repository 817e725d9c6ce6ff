"""Excel workbooks, as DeepSqueak and VocalMat export them: the first sheet whose first row is a known header."""

import warnings
import zipfile
from pathlib import Path

from pipeline.audio.annotations.layouts import Table, find_columns
from pipeline.errors import InputError

SUFFIXES = (".xlsx", ".xlsm")


def read_table(path: Path, inside: str | None) -> Table:
    """All rows. Raises InputError where the file is no workbook."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that do not matter here
            workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = [_rows(sheet) for sheet in workbook.worksheets]
            workbook.close()
    except (zipfile.BadZipFile, InvalidFileException, OSError, KeyError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(
            "cannot read this workbook", where=path, found=error, mend="save the table as CSV and name that"
        ) from error
    sheets = [sheet for sheet in sheets if sheet[0]]
    if not sheets:
        raise InputError("the annotations are an empty workbook", where=path)
    rows, lines = next((sheet for sheet in sheets if find_columns(sheet[0][0])), sheets[0])
    return Table(header=[str(cell) for cell in rows[0]], rows=rows[1:], lines=lines[1:])


def _rows(sheet) -> tuple[list[list], list[int]]:
    """Rows that hold something, with their numbers; empty cells are empty text."""
    rows, lines = [], []
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if any(cell is not None for cell in row):
            rows.append(["" if cell is None else cell for cell in row])
            lines.append(number)
    return rows, lines
