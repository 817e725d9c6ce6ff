"""Spikes into bins: one pass over the spikes of a file, of which only the numbers of their bins are kept."""

from dataclasses import dataclass
from warnings import warn

import numpy as np
from xarray.core import indexing

from pipeline.errors import InputError
from pipeline.neural.grid import EDGE_TOLERANCE, FARTHEST_BIN, Grid, bin_index, grid_over
from pipeline.neural.lazy_counts import LazyCounts
from pipeline.neural.plausibility import check_samples, check_steps, outliers
from pipeline.neural.recording import Units
from pipeline.neural.spikes import listed_units
from pipeline.neural.unit_table import Observed

POOL_SPIKES = 2**24  # 64 MB of bin numbers at a time; what is not filled takes no memory
LOOK_S = 0.01  # bins to look for far-off spikes in
FARTHEST_S = 1e11  # 3000 years: beyond it lies no clock's zero
MAX_COUNT = np.iinfo(np.int16).max  # clips keep counts as int16
VALID, NO_AUDIO, UNOBSERVED, INVALID = range(4)


@dataclass
class Binned:
    """Spikes of all units as numbers of bins.

    `bins`         one int32 array a unit, sorted, counted from the bin `origin`.
    `ends_s`       Shape (n_units, 2): first and last spike, s; NaN where there is none.
    `n_whole`      spikes whose time is a whole number (as sample numbers are).
    `largest`      an upper bound of the counts: below 2**8, or the number of spikes of the largest unit.
    """

    bins: list[np.ndarray]
    ends_s: np.ndarray
    n_whole: int
    largest: int
    origin: int


def count_spikes(units: Units, *, audio_s: np.ndarray, bin_width_s: float, min_rate_hz: float, where: str) -> Observed:
    """Counts of the units in the bins of a grid over the audio, or, without any, over what the units were recorded.

    `audio_s`: Shape (n_files, 2), session seconds. Raises InputError where times are those of no recording, or a bin
    holds more spikes than can be kept.
    """
    binned = binned_spikes(units, bin_width_s=bin_width_s)
    check_samples(binned, units, audio_s=audio_s, where=where)
    n_spikes_read = np.array([len(bins) for bins in binned.bins])
    n_outlier = outliers(binned, units, bin_width_s=bin_width_s, where=where)
    check_steps(binned, units, bin_width_s=bin_width_s, where=where)
    recorded_s = _recorded_s(binned, units)
    ends_in_spike = recorded_s[1] in binned.ends_s[:, 1]
    grid = _grid(recorded_s, audio_s, closed=ends_in_spike, bin_width_s=bin_width_s, n_units=len(units), where=where)
    codes, code_of = _codes(units, grid, audio_s=audio_s, recorded_s=recorded_s)

    n_units = len(units)
    dropped = {"nonfinite": units.n_nonfinite, "duplicate": units.n_duplicate, "outlier": n_outlier}
    dropped |= {name: np.zeros(n_units, int) for name in ("no_audio", "unobserved", "invalid_times")}
    n_spikes = np.zeros(n_units, int)
    n_contrary = np.zeros(n_units, int)
    valid_bins = np.array([np.count_nonzero(code == VALID) for code in codes])
    whole = valid_bins == grid.n_bins
    places = binned.bins
    first_bin = int(np.clip(grid.first_bin - binned.origin, -FARTHEST_BIN, FARTHEST_BIN))
    # of the type of the bins, so that these are not converted to be searched
    ends = np.array([first_bin, first_bin + grid.n_bins], np.int32)
    for unit, bins in enumerate(binned.bins):
        low, high = np.searchsorted(bins, ends)
        dropped["no_audio" if len(audio_s) else "unobserved"][unit] += len(bins) - (high - low)
        place = bins[low:high]
        if not whole[code_of[unit]]:
            code = codes[code_of[unit]][place - first_bin]
            n = np.bincount(code, minlength=4)
            dropped["no_audio"][unit] += n[NO_AUDIO]
            dropped["unobserved"][unit] += n[UNOBSERVED]
            dropped["invalid_times"][unit] += n[INVALID]
            if n[UNOBSERVED] and units.observed_s[unit] is not None:
                away = ~grid.touched(units.observed_s[unit])
                n_contrary[unit] = np.count_nonzero(away[place[code == UNOBSERVED] - first_bin])
            place = place[code == VALID]
        places[unit] = place
        n_spikes[unit] = len(place)
    _warn_of_contrary(units, n_contrary, where)

    observed_s = valid_bins[code_of] * bin_width_s
    rate_hz = np.divide(n_spikes, observed_s, out=np.full(n_units, np.nan), where=observed_s > 0)
    reasons = [
        units.excluded[unit]
        or _exclusion(
            n_read=n_spikes_read[unit],
            n_unobserved=dropped["unobserved"][unit],
            observed_s=observed_s[unit],
            rate_hz=rate_hz[unit],
            min_rate_hz=min_rate_hz,
        )
        for unit in range(n_units)
    ]
    chosen = np.array([unit for unit in range(n_units) if not reasons[unit]], int)
    if binned.largest > MAX_COUNT:
        for unit in chosen:
            _refuse_crowded(places[unit], units.nwb_id[unit], where)
    dtype = np.uint8 if binned.largest < 2**8 else np.uint16
    counts = LazyCounts([places[unit] for unit in chosen], first_bin=first_bin, n_bins=grid.n_bins, dtype=dtype)
    return Observed(
        grid=grid,
        kind="spikes",
        unit="1",
        table=units.table,
        nwb_id=units.nwb_id,
        region=units.region,
        values=indexing.LazilyIndexedArray(counts),
        valid=_valid(codes, code_of[chosen], grid.n_bins),
        recorded_s=recorded_s,
        exclusion_reason=reasons,
        n_spikes=n_spikes,
        rate_hz=rate_hz,
        observed_s=observed_s,
        n_dropped=dropped,
    )


def first_and_last_s(units: Units, *, where: str) -> tuple[float, float]:
    """First and last spike, s, without far-off ones; NaN where there is none. Raises and warns as `count_spikes`."""
    binned = binned_spikes(units, bin_width_s=LOOK_S)
    check_samples(binned, units, audio_s=np.empty((0, 2)), where=where)
    outliers(binned, units, bin_width_s=LOOK_S, where=where)
    ends_s = binned.ends_s[np.isfinite(binned.ends_s)]
    return (float(ends_s.min()), float(ends_s.max())) if len(ends_s) else (np.nan, np.nan)


def binned_spikes(units: Units, *, bin_width_s: float) -> Binned:
    """Go through the spike times once."""
    n_units = len(units)
    bins, ends_s = [], np.full((n_units, 2), np.nan)
    n_whole, largest, all_whole, origin = 0, np.iinfo(np.uint8).max, True, 0
    # many small arrays that are kept cost more in page faults than the arithmetic: they share large ones
    free, scratch = np.empty(0, np.int32), np.empty(0)
    for unit, times_s in enumerate(units.spike_times_s):
        n = len(times_s)
        if n > len(free):
            free = np.empty(max(n, POOL_SPIKES), np.int32)
        if n > len(scratch):
            scratch = np.empty(2 * n)
        bins.append(free[:n])
        free = free[n:]
        if not n:
            continue
        ends_s[unit] = times_s[0], times_s[-1]
        # sample numbers are whole in all units: the first spikes of a unit tell that these are none
        all_whole = all_whole and bool((times_s[:16] % 1 == 0).all()) and bool((times_s % 1 == 0).all())
        n_whole += n if all_whole else 0
        if units.times_are_float32 and units.resolution_s:
            times_s = _on_steps(times_s, units.resolution_s)
        middle_s = times_s[n // 2]  # the first or last may be a corrupt number
        if not origin and FARTHEST_BIN / 2 * bin_width_s < abs(middle_s) < FARTHEST_S:
            origin = int(middle_s / bin_width_s)  # seconds since 1970, for one, are beyond int32
        _put_bins(bins[-1], times_s, scratch[:n], bin_width_s, origin)
        if largest < n and _is_crowded(bins[-1], largest):
            largest = n
    return Binned(bins, ends_s, n_whole if all_whole else 0, largest, origin)


def _on_steps(times_s: np.ndarray, step_s: float) -> np.ndarray:
    """float32 rounds times; the steps of the device's clock, where they can be told apart, give them back."""
    on_step_s = np.rint(times_s / step_s) * step_s
    return on_step_s if np.abs(on_step_s - times_s).max() < 0.1 * step_s else times_s


def _put_bins(bins: np.ndarray, times_s: np.ndarray, scratch: np.ndarray, bin_width_s: float, origin: int) -> None:
    """Numbers of bins of sorted, finite times into `bins`; times beyond any grid are held at its reach."""
    tolerance = EDGE_TOLERANCE
    if origin:
        np.divide(times_s, bin_width_s, out=scratch)
        scratch -= origin
        # far from 0 the numbers themselves are coarser than the tolerance
        tolerance = max(tolerance, 2 * float(np.spacing(float(abs(origin)))))
    else:
        np.multiply(times_s, 1 / bin_width_s, out=scratch)  # quicker, and exact within the tolerance
    if scratch[0] < -FARTHEST_BIN or scratch[-1] > FARTHEST_BIN:
        np.clip(scratch, -FARTHEST_BIN, FARTHEST_BIN, out=scratch)
    scratch += tolerance
    if scratch[0] < 0:
        np.floor(scratch, out=scratch)  # from 0 on, conversion rounds down
    bins[:] = scratch


def _is_crowded(bins: np.ndarray, most: int) -> bool:
    """Whether more than `most` of sorted numbers are the same."""
    probes = bins[:: (most + 1) // 2]  # more than that hold at least two of these
    return bool((probes[1:] == probes[:-1]).any() and (bins[most:] == bins[:-most]).any())


def _recorded_s(binned: Binned, units: Units) -> tuple[float, float]:
    """When the device ran, as far as the units tell: from the first spike or observation to the last."""
    spans = [binned.ends_s.ravel(), *(intervals.ravel() for intervals in units.observed_s if intervals is not None)]
    times_s = np.concatenate(spans)
    times_s = times_s[np.isfinite(times_s)]
    return (float(times_s.min()), float(times_s.max())) if len(times_s) else (np.nan, np.nan)


def _grid(recorded_s, audio_s: np.ndarray, *, closed: bool, bin_width_s: float, n_units: int, where: str) -> Grid:
    common = {"bin_width_s": bin_width_s, "n_units": n_units, "where": where}
    if len(audio_s):
        return grid_over(audio_s.min(), audio_s.max(), closed=False, **common)
    if not np.isfinite(recorded_s).all():
        raise InputError("neither sound nor spikes", where=where, mend="delete this row, or name other files")
    return grid_over(*recorded_s, closed=closed, **common)


def _codes(units: Units, grid: Grid, *, audio_s: np.ndarray, recorded_s) -> tuple[list[np.ndarray], np.ndarray]:
    """Why the bins of a unit are not valid, once for each set of intervals, and the number of each unit's set.

    Units of one probe mostly share their intervals.
    """
    shared = np.zeros(grid.n_bins, np.uint8)
    shared[grid.touched(units.invalid_times_s)] = INVALID
    no_audio = ~grid.inside(audio_s) if len(audio_s) else np.zeros(grid.n_bins, bool)
    codes, numbers, code_of = [], {}, np.zeros(len(units), int)
    for unit, intervals_s in enumerate(units.observed_s):
        key = None if intervals_s is None else intervals_s.tobytes()
        if key not in numbers:
            numbers[key] = len(codes)
            if intervals_s is not None:
                observed = grid.inside(intervals_s)
            else:
                observed = np.zeros(grid.n_bins, bool)
                if np.isfinite(recorded_s).all():
                    first, last = bin_index(np.array(recorded_s), bin_width_s=grid.bin_width_s) - grid.first_bin
                    observed[max(first, 0) : max(last + 1, 0)] = True
            code = np.where(observed, shared, np.uint8(UNOBSERVED))
            code[no_audio] = NO_AUDIO
            codes.append(code)
        code_of[unit] = numbers[key]
    return codes, code_of


def _refuse_crowded(place: np.ndarray, name: str, where: str) -> None:
    if _is_crowded(place, MAX_COUNT):
        raise InputError(
            "too many spikes in a bin",
            where=f"{where}, unit {name}",
            found=np.unique(place, return_counts=True)[1].max(),
            allowed=f"up to {MAX_COUNT}",
            mend="a smaller neural.bin_width_s",
        )


def _valid(codes: list[np.ndarray], code_of: np.ndarray, n_bins: int) -> np.ndarray:
    """Shape (n_bins, n_units); one set of intervals takes no memory for each unit."""
    used = np.unique(code_of)
    if len(used) == 1:
        return np.broadcast_to((codes[used[0]] == VALID)[:, np.newaxis], (n_bins, len(code_of)))
    valid = np.empty((len(code_of), n_bins), bool)
    for row, number in zip(valid, code_of, strict=True):
        np.equal(codes[number], VALID, out=row)
    return valid.T


def _warn_of_contrary(units: Units, n_contrary: np.ndarray, where: str) -> None:
    """Spikes in bins of which the file says that nothing was observed contradict it."""
    if n_contrary.any():
        warn(
            f"{where}: {n_contrary.sum()} spikes lie outside their unit's obs_intervals and are not counted "
            f"({listed_units(units.nwb_id, np.flatnonzero(n_contrary))})",
            stacklevel=4,
        )


def _exclusion(*, n_read: int, n_unobserved: int, observed_s: float, rate_hz: float, min_rate_hz: float) -> str:
    if not n_read:
        return "no spikes"
    if n_unobserved == n_read:
        return "all spikes lie outside obs_intervals"
    if not observed_s:
        return "not observed in the time that is analysed"
    if rate_hz < min_rate_hz or not rate_hz:
        return f"{rate_hz:.3g} Hz, below neural.min_rate_hz {min_rate_hz:g}"
    return ""
