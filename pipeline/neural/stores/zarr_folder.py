"""NWB in Zarr, as hdmf-zarr writes it: a folder (or an address) that ends in .zarr."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

MARKS = (".zgroup", ".zmetadata", "zarr.json")


def reads(location: Path | str) -> bool:
    if isinstance(location, str):
        return location.rstrip("/").endswith(".zarr")
    return location.is_dir() and any((location / mark).is_file() for mark in MARKS)


@contextmanager
def opened(location: Path | str) -> Iterator[Any]:
    try:
        import zarr
    except ImportError as error:
        raise InputError(
            "reading Zarr needs another package", where=location, found=error, mend="pip install 'duet[zarr]'"
        ) from error
    try:
        # consolidated metadata is one file instead of one request for each group
        root = zarr.open_consolidated(str(location), mode="r")
    except (KeyError, ValueError):
        root = zarr.open_group(str(location), mode="r")
    yield root
