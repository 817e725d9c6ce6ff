"""What is where in an NWB file, in any container: groups by type, links, references, table columns.

Names and attributes as in the NWB schema: https://nwb-schema.readthedocs.io.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from warnings import warn

import h5py
import numpy as np

import pipeline.neural.stores as stores
from pipeline.discovery import load, names_in
from pipeline.errors import InputError, nearest
from pipeline.neural.stores.hdf5 import transport_errors
from pipeline.sessions import is_address

PLACES = ("acquisition", "processing", "analysis", "scratch")
DEEPEST = 6  # /processing/MODULE/INTERFACE/SERIES is 4
# what h5py and zarr raise on a file that was cut short or overwritten in places
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
STORAGE = re.compile(r"(^|[/\\])(h5py|zarr|numcodecs|fsspec|aiohttp|s3fs)[/\\]")
# Deflate packs at most about 1030 to 1: an array that claims more than its bytes can hold is corrupt.
LARGEST_COMPRESSION = 2000
SMALL_BYTES = 2**24


@dataclass
class Nwb:
    """An open NWB file. `root` is a group of h5py or zarr; `where` names the file in messages."""

    root: Any
    where: str
    broken_links: list[str] = field(default_factory=list)

    def groups(self) -> Iterator[tuple[str, Any]]:
        """Path and group of everything below the places where neural data may lie, and /units."""
        yield from self._below("", self.root, names=(*PLACES, "units"))

    def of_type(self, *types: str) -> list[str]:
        """Paths of the groups of these neurodata types."""
        return [path for path, group in self.groups() if neurodata_type(group) in types]

    def follow(self, reference: Any) -> Any:
        """What an object reference (h5py) or a description of one (hdmf-zarr) points to; None where it cannot be."""
        if isinstance(reference, h5py.Reference):
            return self.root[reference] if reference else None
        while isinstance(reference, dict) and "value" in reference:
            reference = reference["value"]
        path = reference.get("path") if isinstance(reference, dict) else reference
        if not isinstance(path, str):
            return None
        name = path.strip("/")
        return self.root[name] if name and name in self.root else None

    def missing(self, what: str, *, mend: str) -> InputError:
        """The error where nothing of a kind is in the file: a broken link may be why."""
        if self.broken_links:
            return InputError(
                f"{what}, but a link to a file that is not there",
                where=self.where,
                found="; ".join(self.broken_links),
                mend="put the linked file back beside this one, or export the NWB file with its links resolved",
            )
        found = ", ".join(sorted(self.root)) or "nothing"
        return InputError(what, where=self.where, found=f"in the file: {found}", mend=mend)

    def _below(self, path: str, group: Any, *, names: tuple[str, ...] | None = None) -> Iterator[tuple[str, Any]]:
        for name in names or sorted(group):
            item = self._child(path, group, name)
            if item is None or not hasattr(item, "keys"):
                continue
            yield f"{path}/{name}", item
            if path.count("/") < DEEPEST:
                yield from self._below(f"{path}/{name}", item)

    def _child(self, path: str, group: Any, name: str) -> Any:
        item = group.get(name)
        link = group.get(name, getlink=True) if item is None and isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.HardLink):
            return group[name]  # raises: it is there, but cannot be opened
        if link is not None:
            broken = f"{path}/{name} -> {getattr(link, 'filename', '')}:{link.path}"
            self.broken_links += [broken] if broken not in self.broken_links else []
        return item


@contextmanager
def open_nwb(location: Path | str) -> Iterator[Nwb]:
    """Open an NWB file: HDF5 or Zarr, a path or an address.

    Raises InputError where it is missing, of another format, damaged (also while it is read), or of NWB 1.x. Warns
    where its times do not count from the start of the session.
    """
    address = is_address(str(location))
    location = str(location) if address else Path(location)
    if not address and not location.exists():
        raise InputError("no such neural recording", where=location)
    try:
        with _store_of(location).opened(location) as root:
            nwb = Nwb(root, str(location))
            _check_version(nwb)
            _check_reference(nwb)
            try:
                yield nwb
            except (KeyError, OSError) as error:
                if _from_storage(error) and list(nwb.groups()) and nwb.broken_links:
                    raise nwb.missing("part of the recording is missing", mend="") from error
                raise
    except (*DAMAGE, *transport_errors()) as error:
        if not _from_storage(error):
            raise
        if address:
            what, mend = "reading from this address failed", "try again, or download the file and name it in the sheet"
        elif "filter" in str(error):
            what, mend = "part of this NWB file is packed in a way that is not installed", "pip install hdf5plugin"
        else:
            what, mend = "this NWB file is damaged", "copy it again from where it came"
        raise InputError(what, where=location, found=str(error) or type(error).__name__, mend=mend) from error


def _from_storage(error: BaseException) -> bool:
    """Whether the packages that read files raised it, so that no mistake of ours is taken for a damaged file."""
    return any(STORAGE.search(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__))


def _store_of(location: Path | str):
    for name in names_in(stores):
        module = load(stores, name, what="container of NWB files")
        if module.reads(location):
            return module
    raise InputError(
        "cannot read this neural recording",
        where=location,
        found="a folder" if location.is_dir() else f"a file of {location.stat().st_size} bytes in another format",
        allowed="NWB in HDF5 (.nwb) or Zarr (.nwb.zarr)",
        mend="convert it to NWB, or copy it again if it is damaged",
    )


def _check_version(nwb: Nwb) -> None:
    version = nwb.root.attrs.get("nwb_version")
    if version is None and "nwb_version" in nwb.root:
        version = nwb.root["nwb_version"][()]
    match = re.search(r"(\d+)\.", text(version)) if version is not None else None
    if match and int(match[1]) < 2:
        raise InputError(
            "this file is of NWB 1.x",
            where=nwb.where,
            found=text(version),
            allowed="NWB 2.0 and later",
            mend="write it again as NWB 2: pynwb's NWBFile.add_unit with the times in "
            "/processing/MODULE/UnitTimes/UNIT/times",
        )


def _check_reference(nwb: Nwb) -> None:
    """The schema: all times count from timestamps_reference_time. They are kept; whoever sets `sync` must know."""
    stamps = [nwb.root[name][()] for name in _DATES if name in nwb.root]
    try:
        start, reference = (datetime.fromisoformat(text(stamp)) for stamp in stamps)
        offset_s = (start - reference).total_seconds()
    except (ValueError, TypeError):
        return  # one of them missing, or no date: then nothing is said about an offset
    if abs(offset_s) > 1e-3:
        warn(
            f"{nwb.where}: times count from timestamps_reference_time, {abs(offset_s):.6g} s "
            f"{'before' if offset_s > 0 else 'after'} session_start_time, and are kept so; if the sound starts with "
            f"the session, the sheet's sync is {offset_s:.6g} (NWB time = audio time + offset)",
            stacklevel=4,
        )


_DATES = ("session_start_time", "timestamps_reference_time")


def text(value: Any) -> str:
    """A string out of what containers hold for one: bytes, str, arrays of one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def texts(values: Any) -> list[str]:
    return [text(value) for value in np.asarray(values).ravel()]


def neurodata_type(group: Any) -> str:
    return text(group.attrs.get("neurodata_type", ""))


def check_size(dataset: Any, n_values: int, *, where: str) -> None:
    """Raise InputError where a dataset claims more values than its bytes can hold, before any memory is asked for."""
    claimed = n_values * dataset.dtype.itemsize
    if claimed <= SMALL_BYTES:
        return
    stored = dataset.id.get_storage_size() if isinstance(dataset, h5py.Dataset) else dataset.nbytes_stored
    if 0 <= stored * LARGEST_COMPRESSION < claimed:
        raise InputError(
            "this array claims more values than the file holds",
            where=where,
            found=f"{n_values} values, {stored} bytes stored",
            mend="the file is damaged or was not written to the end: copy or write it again",
        )


def numbers(dataset: Any, *, where: str) -> Any:
    """The dataset, if it holds real numbers. Raises InputError otherwise."""
    if dataset.dtype.kind not in "iuf":
        raise InputError(
            "this column holds no numbers", where=where, found=str(dataset.dtype), allowed="floating-point numbers"
        )
    return dataset


def only_one(paths: list[str], *, nwb: Nwb, what: str, key: str) -> str:
    """The only path. Raises InputError, listing them, where there are several."""
    if len(paths) > 1:
        raise InputError(f"several {what}", where=nwb.where, found=", ".join(paths), mend=f"name one of them in {key}")
    return paths[0]


def named_or_only(nwb: Nwb, chosen: str | None, paths: list[str], *, what: str, key: str) -> str:
    """The path that the user chose, or the only one."""
    if chosen is None:
        return only_one(paths, nwb=nwb, what=what, key=key)
    path = f"/{chosen.strip('/')}"
    if path not in paths:
        close = nearest(path, paths)
        raise InputError(
            f"{key}: nothing of this kind there",
            where=nwb.where,
            found=chosen,
            allowed=", ".join(paths) or "none",
            mend=f"did you mean {close}?" if close else None,
        )
    return path
