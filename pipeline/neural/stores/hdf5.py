"""NWB in HDF5, on this machine or at an address (https://, s3://), of which only what is used is fetched."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from pipeline.errors import InputError

REMOTE_BLOCK_BYTES = 2**22
REMOTE_BLOCKS = 32


def reads(location: Path | str) -> bool:
    if isinstance(location, str):
        return not location.rstrip("/").endswith(".zarr")
    return location.is_file() and h5py.is_hdf5(location)


@contextmanager
def opened(location: Path | str) -> Iterator[h5py.File]:
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  registers packings beyond those of HDF5, where it is installed
    if isinstance(location, Path):
        with h5py.File(location, "r") as root:
            yield root
        return
    with _remote(location) as file, _file_over(file, location) as root:
        yield root


def transport_errors() -> tuple[type[BaseException], ...]:
    """What may be raised on the way to an address: transports have exceptions that are no OSError."""
    own = (("aiohttp", "ClientError"), ("botocore.exceptions", "BotoCoreError"))
    return (OSError, ValueError, *(getattr(sys.modules[name], error) for name, error in own if name in sys.modules))


def _remote(address: str):
    import fsspec

    try:
        return fsspec.open(
            address,
            "rb",
            block_size=REMOTE_BLOCK_BYTES,
            cache_type="blockcache",
            cache_options={"maxblocks": REMOTE_BLOCKS},
        ).open()
    except ImportError as error:
        raise InputError(
            "this kind of address needs another package",
            where=address,
            found=error,
            mend="pip install 'duet[remote]', or give the https:// address of the file",
        ) from error
    except transport_errors() as error:
        raise InputError(
            "nothing can be read at this address",
            where=address,
            found=error.__cause__ or error,
            mend="does the address open in a browser? else download the file and name it in the sheet",
        ) from error


def _file_over(file, address: str) -> h5py.File:
    try:
        return h5py.File(file, "r")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "this address holds no NWB file that can be read by parts",
            where=address,
            found=error,
            allowed="HDF5 on a server that answers range requests",
            mend="download the file and name it in the sheet",
        ) from error
