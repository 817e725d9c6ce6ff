"""When the samples of a TimeSeries were taken, and what its numbers stand for.

As in the NWB schema (core.TimeSeries): value = data * conversion * channel_conversion + offset; either starting_time
with its rate, or one time stamp a sample.
"""

from dataclasses import dataclass
from typing import Any
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.nwb import check_size, numbers, text

MAX_GAP = 1.5  # of a sample interval; beyond it nothing was recorded in between
MAX_DISORDER = 1e-3  # share of time stamps
BLOCK_STAMPS = 2**22


@dataclass(frozen=True)
class Scale:
    """From stored numbers to values. `channel`: Shape (n_channels,), or 1."""

    conversion: float
    offset: float
    channel: np.ndarray
    unit: str

    def __call__(self, stored: np.ndarray) -> np.ndarray:
        """Values of stored numbers, Shape (n_samples, n_channels). float64."""
        return np.asarray(stored, float) * (self.conversion * self.channel) + self.offset


@dataclass(frozen=True)
class Stretch:
    """Evenly sampled numbers `first` to `stop - 1` of a series, without a gap; the first at `start_s`."""

    first: int
    stop: int
    start_s: float
    rate_hz: float


def series_data(group: Any, *, where: str) -> Any:
    """The data of a series, one- or two-dimensional numbers. Raises InputError for anything else."""
    data = group.get("data")
    if data is None:
        raise InputError("the series has no data", where=where, found=", ".join(sorted(group)) or "nothing")
    data = numbers(data, where=f"{where}/data")
    if data.ndim not in (1, 2) or not data.size:
        raise InputError(
            "not a series of samples",
            where=f"{where}/data",
            found=f"shape {data.shape}",
            allowed="(n_samples,) or (n_samples, n_channels)",
        )
    check_size(data, data.size, where=f"{where}/data")
    return data


def scale_of(group: Any, n_channels: int, *, where: str) -> Scale:
    """Conversion, offset and unit of a series."""
    attributes = group["data"].attrs
    conversion, offset = float(attributes.get("conversion", 1.0)), float(attributes.get("offset", 0.0))
    channel = np.ones(1)
    if "channel_conversion" in group:
        channel = np.asarray(numbers(group["channel_conversion"], where=f"{where}/channel_conversion")[:], float)
    if not np.isfinite([conversion, offset]).all() or conversion == 0 or len(channel) not in (1, n_channels):
        raise InputError(
            "the conversion of the series is not usable",
            where=f"{where}/data",
            found=f"conversion {conversion:g}, offset {offset:g}, {len(channel)} channel conversions",
            allowed=f"finite, no conversion of 0, one channel conversion for each of {n_channels} channels",
        )
    return Scale(conversion, offset, channel, text(attributes.get("unit", "unknown")))


def sample_times(group: Any, n_samples: int, *, where: str) -> np.ndarray:
    """Time of each sample, Shape (n_samples,), s; NaN where a stamp is no number.

    Raises InputError where there are none, they do not fit the data, or they are not in order.
    """
    stamps = _stamps(group, n_samples, where=where)
    if stamps is None:
        start_s, rate_hz = _start_and_rate(group, where=where)
        return start_s + np.arange(n_samples) / rate_hz
    return increasing_times(np.asarray(stamps[:], float), where=f"{where}/timestamps")


def increasing_times(times_s: np.ndarray, *, where: str) -> np.ndarray:
    """`times_s` as they are, with a warning where some are no numbers or out of order.

    Raises InputError where more than 1 in 1000 are not after the one before.
    """
    finite = times_s[np.isfinite(times_s)]
    if len(finite) < len(times_s):
        warn(f"{where}: {len(times_s) - len(finite)} samples without a finite time stamp are left out", stacklevel=5)
    _refuse_disorder(np.count_nonzero(np.diff(finite) <= 0), len(finite), where=where)
    return times_s


def stretches(group: Any, n_samples: int, *, where: str) -> list[Stretch]:
    """Stretches of even sampling, found without keeping the time stamps. Raises InputError as `sample_times`."""
    stamps = _stamps(group, n_samples, where=where)
    if stamps is None:
        start_s, rate_hz = _start_and_rate(group, where=where)
        return [Stretch(0, n_samples, start_s, rate_hz)]
    found, first, start_s, last_s, interval_s, n_back = [], 0, np.nan, np.nan, np.nan, 0
    for begin in range(0, n_samples, BLOCK_STAMPS):
        times_s = np.asarray(stamps[begin : begin + BLOCK_STAMPS], float)
        if not np.isfinite(times_s).all():
            raise InputError(
                "time stamps are no finite numbers",
                where=f"{where}/timestamps",
                found=f"{np.count_nonzero(~np.isfinite(times_s))} from sample {begin} on",
                mend="write the series with starting_time and rate",
            )
        if begin == 0:
            start_s, last_s = times_s[0], times_s[0]
            interval_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
        steps_s = np.diff(times_s, prepend=last_s if begin else times_s[0] - interval_s)
        n_back += np.count_nonzero(steps_s <= 0)
        for gap in np.flatnonzero(steps_s > MAX_GAP * interval_s):
            found.append((first, begin + gap, start_s, times_s[gap - 1] if gap else last_s))
            first, start_s = begin + gap, times_s[gap]
        last_s = times_s[-1]
    _refuse_disorder(n_back, n_samples, where=f"{where}/timestamps")
    found.append((first, n_samples, start_s, last_s))
    return [
        Stretch(int(a), int(b), float(from_s), (b - a - 1) / (to_s - from_s) if b - a > 1 else 1 / interval_s)
        for a, b, from_s, to_s in found
    ]


def _stamps(group: Any, n_samples: int, *, where: str) -> Any:
    """The data set of time stamps, or None where the series has a rate instead."""
    stamps = group.get("timestamps")
    if stamps is None:
        return None
    if "starting_time" in group:
        warn(f"{where}: the series has both time stamps and a rate; its time stamps are used", stacklevel=5)
    if stamps.ndim != 1 or len(stamps) != n_samples:
        raise InputError(
            "time stamps do not fit the data",
            where=f"{where}/timestamps",
            found=f"shape {stamps.shape} for {n_samples} samples",
            mend="write the series again with one time stamp a sample",
        )
    check_size(stamps, len(stamps), where=f"{where}/timestamps")
    return numbers(stamps, where=f"{where}/timestamps")


def _start_and_rate(group: Any, *, where: str) -> tuple[float, float]:
    if "starting_time" not in group:
        raise InputError(
            "the series has neither time stamps nor a rate",
            where=where,
            found=", ".join(sorted(group)),
            allowed="timestamps, or starting_time with its attribute rate",
        )
    start_s, rate_hz = float(group["starting_time"][()]), float(group["starting_time"].attrs.get("rate", np.nan))
    if not (np.isfinite(start_s) and 0 < rate_hz < np.inf):
        raise InputError(
            "the rate of the series is not usable",
            where=f"{where}/starting_time",
            found=f"start {start_s:g} s, rate {rate_hz:g} Hz",
            allowed="a finite start, a rate above 0",
        )
    return start_s, rate_hz


def _refuse_disorder(n_back: int, n_samples: int, *, where: str) -> None:
    if n_back > MAX_DISORDER * n_samples:
        raise InputError(
            "time stamps do not increase",
            where=where,
            found=f"{n_back} of {n_samples} steps are back or zero",
            mend="write the series again with its samples in the order of time",
        )
    if n_back:
        warn(f"{where}: {n_back} time stamps are not after the one before; their samples are left out", stacklevel=5)
