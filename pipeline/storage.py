"""Files are written whole or not at all: to a temporary neighbour that is renamed when complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` if the block succeeds.

    The yielded name keeps the suffix, since writers choose formats by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_table(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a table as Parquet, CSV or TSV, by suffix."""
    suffix = Path(path).suffix
    with written_whole(path) as partial:
        if suffix == ".parquet":
            table.to_parquet(partial, index=False)
        else:
            table.to_csv(partial, index=False, sep="\t" if suffix == ".tsv" else ",")


def read_table(path: str | Path, *, needs: str | None = None) -> "pd.DataFrame":
    """Read a table that `write_table` wrote.

    Raises InputError where the file is missing, unreadable or without the column `needs`, by which its kind is known.
    """
    import pandas as pd

    try:
        if Path(path).suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, sep="\t" if Path(path).suffix == ".tsv" else ",")
    except (OSError, ValueError) as error:
        raise InputError("cannot read this table", where=path, found=error, mend="make it again") from error
    _check_kind(path, needs, list(table.columns))
    return table


def write_dataset(dataset: "xr.Dataset", path: str | Path, *, encoding: dict | None = None) -> None:
    """Write labelled arrays as netCDF4 (HDF5)."""
    with written_whole(path) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


def read_dataset(path: str | Path, *, needs: str | None = None) -> "xr.Dataset":
    """Open labelled arrays lazily; use as a context manager or call `.load()`.

    Raises InputError where the file is missing, unreadable or without the array `needs`, by which its kind is known.
    """
    import xarray as xr

    try:
        dataset = xr.open_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise InputError("cannot read these arrays", where=path, found=error, mend="make it again") from error
    if needs is not None and needs not in dataset.variables:
        dataset.close()
    _check_kind(path, needs, list(dataset.variables))
    return dataset


def _check_kind(path: str | Path, needs: str | None, held: list) -> None:
    if needs is not None and needs not in held:
        raise InputError(
            f"this file is of another kind: it has no {needs}",
            where=path,
            found=", ".join(str(name) for name in held[:5]) + (", ..." if len(held) > 5 else ""),
            mend="give the file that the option names, or make it again",
        )
