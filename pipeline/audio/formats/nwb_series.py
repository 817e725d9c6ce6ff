"""Audio inside an NWB file: any evenly sampled TimeSeries (AcousticWaveformSeries too), read by slices."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from pipeline.audio.formats import AudioSource
from pipeline.errors import InputError

SUFFIXES = (".nwb",)
LARGEST_JITTER = 0.1  # of a sample interval; time stamps that stray further are not those of a steady clock
N_PROBES = 1000


@dataclass(frozen=True)
class NwbSeries(AudioSource):
    """A series at the path `series` of an NWB file, scaled by its `conversion` and `offset`."""

    series: str
    conversion: float
    offset: float

    def blocks(self, *, channel: int, block_samples: int) -> Iterator[np.ndarray]:
        with h5py.File(self.path, "r") as file:
            data = file[self.series]["data"]
            for start in range(0, self.n_samples, block_samples):
                stop = min(start + block_samples, self.n_samples)
                block = data[start:stop] if data.ndim == 1 else data[start:stop, channel]
                yield (block * self.conversion + self.offset).astype(np.float32)


def accepts(path: Path, series: str | None) -> bool:
    """Whether a series inside a file is asked for."""
    return series is not None


def open_source(path: Path, *, series: str) -> NwbSeries:
    """Read what an NWB file says about the series at the path `series`, such as "/acquisition/microphone".

    Raises InputError where the file is no HDF5, the series is missing or empty, or its time stamps are uneven.
    """
    where = f"{path}, {series}"
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError("cannot read this NWB file", where=path, found=error, mend="copy it again") from error
    with file:
        group = file.get(series)
        data = group.get("data") if isinstance(group, h5py.Group) else None
        if not isinstance(data, h5py.Dataset):
            raise InputError(
                "no such series in the NWB file", where=path, found=series, allowed=_series(file) or "none"
            )
        if data.ndim not in (1, 2) or data.dtype.kind not in "iuf":
            found = f"shape {data.shape}, {data.dtype}"
            raise InputError("not a waveform", where=where, found=found, allowed="numbers (time) or (time, channel)")
        if len(data) == 0:
            raise InputError("the audio series holds no samples", where=where, found="0 samples")
        rate_hz, start_s = _clock(group, len(data), where)
        conversion = float(data.attrs.get("conversion", 1.0))
        integer = data.dtype.kind in "iu"
        largest = float(np.iinfo(data.dtype).max) if integer else 1.0
        return NwbSeries(
            path=path,
            rate_hz=rate_hz,
            n_samples=len(data),
            n_channels=1 if data.ndim == 1 else data.shape[1],
            start_s=start_s,
            quantum=abs(conversion) * (1.0 if integer else 2.0**-23),
            full_scale=abs(conversion) * largest,
            unit=str(data.attrs.get("unit", "unknown")),
            series=series,
            conversion=conversion,
            offset=float(data.attrs.get("offset", 0.0)),
        )


def _clock(group: h5py.Group, n_samples: int, where: str) -> tuple[float, float]:
    """Sampling rate (Hz) and time of the first sample (s)."""
    if "starting_time" in group:
        return float(group["starting_time"].attrs["rate"]), float(group["starting_time"][()])
    stamps = group.get("timestamps")
    if stamps is None or len(stamps) != n_samples or n_samples < 2:
        found = "no starting_time" if stamps is None else f"{len(stamps)} time stamps for {n_samples} samples"
        raise InputError(
            "the audio series has no sampling rate", where=where, found=found, allowed="starting_time, rate"
        )
    probes = np.unique(np.linspace(0, n_samples - 1, N_PROBES).astype(int))
    times_s = stamps[:][probes] if n_samples <= N_PROBES else np.array([stamps[i] for i in probes])
    interval_s = (times_s[-1] - times_s[0]) / (n_samples - 1)
    stray = np.max(np.abs(times_s - times_s[0] - probes * interval_s))
    if not interval_s > 0 or stray > max(LARGEST_JITTER * interval_s, 1e-9):
        raise InputError(
            "the audio series is not evenly sampled",
            where=where,
            found=f"time stamps stray by up to {stray:.3g} s from a steady rate",
            mend="write it with starting_time and rate, or one series for each unbroken stretch",
        )
    return 1 / float(interval_s), float(times_s[0])


def _series(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and "data" in item and ("starting_time" in item or "timestamps" in item):
            found.append(f"/{name}")

    file.visititems(visit)
    return found
