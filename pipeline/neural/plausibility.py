"""Whether spike times are those of a recording: sample numbers, far-off times, coarse times."""

from typing import TYPE_CHECKING
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.recording import Units
from pipeline.neural.spikes import listed_units

if TYPE_CHECKING:
    from pipeline.neural.counting import Binned

# Rates of common acquisition systems, Hz.
RATES_HZ = (10_000, 12_500, 16_000, 20_000, 24_414.0625, 25_000, 30_000, 32_000, 32_552, 40_000, 44_100, 48_000, 50_000)
LEAST_WHOLE = 20  # spikes, before whole seconds are held to be sample numbers
SLOWEST_HZ = 0.05  # sample numbers read as seconds make units seem to fire once in many minutes
FAR_SPANS = 10  # lengths of the bulk of the recording,
FAR_S = 3600.0  # and at least so far from it
BULK = 0.01  # share of spikes at each end that do not tell where the bulk lies
PROBES = 100  # spikes a unit that do tell
COARSE = 0.1  # of a bin


def check_samples(binned: "Binned", units: Units, *, audio_s: np.ndarray, where: str) -> None:
    """Raise InputError where the times are whole numbers far beyond the recording: samples, not seconds."""
    if binned.n_whole < LEAST_WHOLE:
        return
    first, last = np.nanmin(binned.ends_s[:, 0]), np.nanmax(binned.ends_s[:, 1])
    filled = np.isfinite(binned.ends_s[:, 0]).sum()
    stated_s = [intervals.max() for intervals in units.observed_s if intervals is not None]
    known_s = max([*(audio_s.max(1) if len(audio_s) else ()), *stated_s], default=0.0)
    if binned.n_whole / filled >= SLOWEST_HZ * (last - first) or last < 100 * known_s:
        return
    if units.resolution_s:
        rate_hz, why = 1 / units.resolution_s, "by the column's resolution"
    elif known_s > 0:
        rate_hz = min((rate for rate in RATES_HZ if rate * known_s >= last), default=last / known_s)
        why = f"by the {known_s:.6g} s of the recording"
    else:
        rate_hz, why = 30_000, "a common rate"
    raise InputError(
        "spike times are sample numbers, not seconds",
        where=f"{where}, table {units.table}",
        found=f"whole numbers up to {last:.0f}: {last / rate_hz:.6g} s at {rate_hz:g} Hz ({why})",
        mend="divide the spike times by the sampling rate and write the file again",
    )


def outliers(binned: "Binned", units: Units, *, bin_width_s: float, where: str) -> np.ndarray:
    """Take single far-off times out of `binned`, with a warning. Returns how many of each unit, Shape (n_units,).

    A time is far off if it lies further from the bulk of all spikes than ten times their span, and an hour, and in no
    interval in which the unit was observed. One corrupt number must not stretch the grid over days.
    """
    n_outlier = np.zeros(len(binned.bins), int)
    probes = np.sort(np.concatenate([bins[:: max(len(bins) // PROBES, 1)] for bins in binned.bins] or [[]]))
    if len(probes) < 5:
        return n_outlier
    origin_s = binned.origin * bin_width_s
    low, high = (
        origin_s + probes[[int(np.ceil(BULK * (len(probes) - 1))), int((1 - BULK) * (len(probes) - 1))]] * bin_width_s
    )
    far_s = max(FAR_SPANS * (high - low), FAR_S)
    farthest_s = (np.nan, 0.0)
    for unit in np.flatnonzero((binned.ends_s[:, 0] < low - far_s) | (binned.ends_s[:, 1] > high + far_s)):
        times_s = origin_s + binned.bins[unit] * bin_width_s
        far = (times_s < low - far_s) | (times_s > high + far_s)
        for start_s, stop_s in units.observed_s[unit] if units.observed_s[unit] is not None else ():
            far &= (times_s < start_s) | (times_s > stop_s)
        if not far.any():
            continue
        n_outlier[unit] = np.count_nonzero(far)
        ends_s = binned.ends_s[unit]
        farthest_s = max(farthest_s, *((end, abs(end - low)) for end in ends_s), key=lambda pair: pair[1])
        kept = binned.bins[unit][~far]
        binned.bins[unit] = kept
        binned.ends_s[unit] = origin_s + (kept[[0, -1]] + 0.5) * bin_width_s if len(kept) else np.nan
    if n_outlier.any():
        warn(
            f"{where}: {n_outlier.sum()} spike times up to {farthest_s[0]:.6g} s lie far from all others "
            f"({low:.6g} to {high:.6g} s) and are left out "
            f"({listed_units(units.nwb_id, np.flatnonzero(n_outlier))})",
            stacklevel=4,
        )
    return n_outlier


def check_steps(binned: "Binned", units: Units, *, bin_width_s: float, where: str) -> None:
    """Warn where float32 times late in the session are coarser than a tenth of a bin."""
    if not units.times_are_float32 or not np.isfinite(binned.ends_s).any():
        return
    latest_s = np.nanmax(np.abs(binned.ends_s), axis=1)
    step_s = np.spacing(latest_s.astype(np.float32)).astype(float)
    coarse = np.flatnonzero(step_s > COARSE * bin_width_s)
    if len(coarse):
        warn(
            f"{where}: spike times are kept as float32, whose step at {np.nanmax(latest_s):.6g} s is "
            f"{np.nanmax(step_s) * 1e3:.3g} ms, in bins of {bin_width_s * 1e3:g} ms: spikes near the edges of bins may "
            f"count in the next one ({listed_units(units.nwb_id, coarse)})",
            stacklevel=4,
        )
