"""Audio inside an NWB file: any evenly sampled TimeSeries (AcousticWaveformSeries too), read by slices.

The samples may also lie outside: in sound files that the series names (`external_file`), or behind an HDF5 link.
"""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from pipeline.audio.formats import AudioReader, AudioSource, check_readable, sound_file
from pipeline.errors import InputError

SUFFIXES = (".nwb",)
LARGEST_JITTER = 0.1  # of a sample interval; time stamps that stray further are not those of a steady clock
N_PROBES = 1000
SMALL_INTEGERS = ("int8", "uint8", "int16")
SCRATCH_VALUES = 1 << 20  # of all channels, read at once


@dataclass(frozen=True)
class NwbSeries(AudioSource):
    """A series at the path `series` of an NWB file, with its `offset`; `transposed`: stored as (channel, time)."""

    series: str
    offset: float
    transposed: bool

    def open(self, *, channel: int) -> "NwbSeriesReader":
        return NwbSeriesReader(self, channel)


class NwbSeriesReader(AudioReader):
    def __init__(self, source: NwbSeries, channel: int):
        self._source, self._channel = source, channel
        with _damage_told(f"{source.path}, {source.series}"):
            self._file = h5py.File(source.path, "r")
            self._data = self._file[source.series]["data"]

    def read(self, start: int, out: np.ndarray) -> None:
        source, step = self._source, max(SCRATCH_VALUES // self._source.n_channels, 1)
        with _damage_told(f"{source.path}, {source.series}/data"):
            for first in range(0, len(out), step):
                span = slice(start + first, min(start + first + step, start + len(out)))
                values = out[first : first + step]
                if self._data.ndim == 1:
                    values[:] = self._data[span]
                elif source.transposed:
                    values[:] = self._data[self._channel, span]
                else:
                    values[:] = self._data[span, self._channel]
                if source.offset:
                    values += np.float32(source.offset / source.scale)

    def close(self) -> None:
        self._file.close()


def accepts(path: Path, series: str | None) -> bool:
    """Whether a series inside a file is asked for."""
    return series is not None


def open_sources(path: Path, *, series: str) -> tuple[AudioSource, ...]:
    """Read what an NWB file says about the series at the path `series`, such as "/acquisition/microphone".

    Raises InputError where the file is no HDF5, the series is missing or empty, a link leads nowhere, or the time
    stamps are uneven.
    """
    where = f"{path}, {series}"
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError("cannot read this NWB file", where=path, found=error, mend="copy it again") from error
    with file, _damage_told(where):
        _check_links(file, f"{series}/data", path)
        group = file.get(series)
        if isinstance(group, h5py.Group) and "external_file" in group:
            return _external_files(group, path, where)
        data = group.get("data") if isinstance(group, h5py.Group) else None
        if not isinstance(data, h5py.Dataset):
            raise InputError(
                "no such series in the NWB file", where=path, found=series, allowed=_series(file) or "none"
            )
        return (_series_source(group, data, path, series),)


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    """What HDF5 says of damage within a file, as one message; it has many exceptions for it."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            "the NWB file is damaged", where=where, found=error, mend="copy the file again, or write it anew"
        ) from error


def _series_source(group: h5py.Group, data: h5py.Dataset, path: Path, series: str) -> NwbSeries:
    where = f"{path}, {series}"
    if data.ndim not in (1, 2) or data.dtype.kind not in "iuf":
        found = f"shape {data.shape}, {data.dtype}"
        raise InputError("not a waveform", where=where, found=found, allowed="numbers (time) or (time, channel)")
    if data.size == 0:
        raise InputError("the audio series holds no samples", where=where, found="0 samples")
    _check_stored(data, path, where)
    transposed = data.ndim == 2 and data.shape[0] < data.shape[1]
    if transposed:
        warnings.warn(
            f"{where}: the samples have the shape {data.shape}, NWB wants (time, channel); they are read as "
            f"{data.shape[0]} channel(s) of {data.shape[1]} samples",
            stacklevel=2,
        )
    n_samples = data.shape[1] if transposed else data.shape[0]
    rate_hz, start_s = _clock(group, n_samples, where)
    conversion, offset = (float(data.attrs.get(name, value)) for name, value in (("conversion", 1.0), ("offset", 0.0)))
    if not np.isfinite([conversion, offset]).all() or conversion == 0:
        found = f"conversion {conversion:g}, offset {offset:g}"
        raise InputError("the samples cannot be scaled", where=f"{where}/data", found=found, mend="correct them")
    integer = data.dtype.kind in "iu"
    return NwbSeries(
        path=path,
        rate_hz=rate_hz,
        n_samples=n_samples,
        n_channels=1 if data.ndim == 1 else data.shape[0 if transposed else 1],
        start_s=start_s,
        quantum=abs(conversion) * (1.0 if integer else 2.0**-23),
        full_scale=abs(conversion) * (float(np.iinfo(data.dtype).max) if integer else 1.0),
        unit=_text(data.attrs.get("unit", "unknown")),
        dtype="int16" if data.dtype.name in SMALL_INTEGERS and offset == 0 else "float32",
        scale=conversion,
        complete=True,
        series=series,
        offset=offset,
        transposed=transposed,
    )


def _external_files(group: h5py.Group, path: Path, where: str) -> tuple[AudioSource, ...]:
    """The sound files that a series names, relative to the NWB file, in their order."""
    names = [_text(name) for name in np.ravel(group["external_file"][()])]
    start = group.get("starting_time")
    start_s = float(start[()]) if start is not None else 0.0
    if not names:
        raise InputError("external_file names no file", where=where, mend="name the sound files in it")
    sources: list[AudioSource] = []
    for name in names:
        target = (path.parent / name).resolve()
        if not target.is_file():
            raise InputError(
                "broken link to an external file", where=f"{where}/external_file", found=f"{name}, that is {target}",
                mend="put the sound file there, or correct external_file",
            )  # fmt: skip
        check_readable(target, mend="copy it again")
        if not sound_file.accepts(target, None):
            raise InputError(
                "the external file is no sound file", where=f"{where}/external_file", found=name,
                allowed=sound_file.SUFFIXES,
            )  # fmt: skip
        sources += sound_file.open_sources(target)
    rate_hz = float(start.attrs.get("rate", np.nan)) if start is not None else np.nan
    if np.isfinite(rate_hz) and abs(rate_hz / sources[0].rate_hz - 1) > 1e-6:
        raise InputError(
            "the series and its external file differ in sampling rate",
            where=where,
            found=f"{rate_hz:g} Hz in the NWB file, {sources[0].rate_hz:g} Hz in {names[0]}",
            mend="correct the one that is wrong",
        )
    return (dataclasses.replace(sources[0], start_s=start_s), *sources[1:])


def _check_links(file: h5py.File, target: str, path: Path) -> None:
    """Raise InputError where a link on the way to `target` leads nowhere."""
    parts = [part for part in target.split("/") if part]
    for n in range(1, len(parts) + 1):
        place = "/" + "/".join(parts[:n])
        link = file.get(place, getlink=True)
        if link is None:
            return  # it is not there at all, which is told with the names that are
        try:
            file[place]
        except (KeyError, OSError) as error:
            if isinstance(link, h5py.ExternalLink):
                found = f"{link.path} in {link.filename}, that is {(path.parent / link.filename).resolve()}"
            else:
                found = getattr(link, "path", error)
            raise InputError(
                "broken link in the NWB file", where=f"{path}, {place}", found=found,
                mend="put the file that it names back, or write the samples into the NWB file",
            ) from error  # fmt: skip


def _check_stored(data: h5py.Dataset, path: Path, where: str) -> None:
    """Raise InputError where the shape promises samples that were never written."""
    for name, _, _ in data.external or ():
        if not any((folder / name).is_file() for folder in (Path.cwd(), path.parent)):
            raise InputError("broken link to external storage", where=f"{where}/data", found=name, mend="put it back")
    if data.id.get_storage_size() == 0:
        found = f"shape {data.shape}, 0 bytes stored"
        raise InputError("the audio series holds no samples", where=where, found=found, mend="write them")


def _clock(group: h5py.Group, n_samples: int, where: str) -> tuple[float, float]:
    """Sampling rate (Hz) and time of the first sample (s)."""
    stamps = group.get("timestamps")
    if "starting_time" in group and "rate" in group["starting_time"].attrs:
        rate_hz, start_s = float(group["starting_time"].attrs["rate"]), float(group["starting_time"][()])
        if not (np.isfinite(rate_hz) and rate_hz > 0 and np.isfinite(start_s)):
            found = f"rate {rate_hz:g} Hz, starting_time {start_s:g} s"
            raise InputError("an impossible sampling rate", where=where, found=found, mend="correct it in the file")
        if stamps is not None and len(stamps) == n_samples:
            ends_s = start_s, start_s + (n_samples - 1) / rate_hz
            if np.abs(np.subtract(ends_s, (stamps[0], stamps[-1]))).max() > 1 / rate_hz:
                raise InputError(
                    "the audio series has two clocks that disagree",
                    where=where,
                    found=f"{ends_s[0]:.9g} to {ends_s[1]:.9g} s by starting_time and rate, "
                    f"{stamps[0]:.9g} to {stamps[-1]:.9g} s by timestamps",
                    mend="remove the one that is wrong",
                )
        return rate_hz, start_s
    if stamps is None or len(stamps) != n_samples or n_samples < 2:
        found = "no starting_time" if stamps is None else f"{len(stamps)} time stamps for {n_samples} samples"
        raise InputError(
            "the audio series has no sampling rate", where=where, found=found, allowed="starting_time, rate"
        )
    probes = np.unique(np.linspace(0, n_samples - 1, N_PROBES).astype(int))
    times_s = stamps[:][probes] if n_samples <= N_PROBES else np.array([stamps[i] for i in probes])
    interval_s = (times_s[-1] - times_s[0]) / (n_samples - 1)
    stray_s = np.abs(times_s - times_s[0] - probes * interval_s)
    # Written so that times that are not a number are refused, too.
    if not (interval_s > 0 and stray_s.max() <= max(LARGEST_JITTER * interval_s, 1e-9)):
        worst = int(stray_s.argmax())
        raise InputError(
            "the audio series is not evenly sampled",
            where=f"{where}/timestamps",
            found=f"time stamps stray by up to {stray_s[worst]:.3g} s from a steady rate (near sample {probes[worst]}, "
            f"{times_s[worst]:.6g} s)",
            mend="write it with starting_time and rate, or one series for each unbroken stretch",
        )
    return 1 / float(interval_s), float(times_s[0])


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _series(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and "data" in item and ("starting_time" in item or "timestamps" in item):
            found.append(f"/{name}")

    file.visititems(visit)
    return found
