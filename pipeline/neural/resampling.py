"""Samples in time to the bins of a grid: means where bins are longer than samples, straight lines where shorter."""

from collections.abc import Callable

import numpy as np

from pipeline.neural.grid import Grid, bin_index
from pipeline.neural.series import MAX_GAP

BLOCK_VALUES = 2**21  # 16 MB of float64 at a time


def resampled(
    read: Callable[[int, int], np.ndarray], times_s: np.ndarray, *, n_channels: int, grid: Grid
) -> np.ndarray:
    """Values in the bins of a grid. Shape (n_bins, n_channels), float32, NaN where nothing was recorded.

    `read(first, stop)` gives the values of a run of samples, Shape (stop - first, n_channels), taken at `times_s`,
    Shape (n_samples,). Samples whose time is NaN or not after all before it are left out.

    A bin's value is the mean of its samples that are numbers. Bins without a sample, and all where bins are shorter
    than samples, take the straight line between the samples round their centre, if those are numbers and no further
    apart than 1.5 sample intervals.
    """
    values = np.full((grid.n_bins, n_channels), np.nan, np.float32)
    used = _increasing(times_s)
    if len(used) == 0:
        return values
    times_s = times_s[used]
    interval_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else np.inf
    centre_s = (np.arange(grid.n_bins) + grid.first_bin + 0.5) * grid.bin_width_s
    block = max(BLOCK_VALUES // n_channels, 2)
    means = grid.bin_width_s >= interval_s * (1 - 1e-6) or len(times_s) == 1
    left = np.searchsorted(times_s, centre_s, "right") - 1  # sample before each bin's centre
    if means:
        place = bin_index(times_s, bin_width_s=grid.bin_width_s) - grid.first_bin
        starts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])  # first sample of each bin that has some
        bins = place[starts]
        filled = (bins >= 0) & (bins < grid.n_bins)
        stops = np.append(starts[1:], len(times_s))[filled]
        starts, bins = starts[filled], bins[filled]
        for a, b in _runs(starts, stops, block):
            samples = _samples(read, used, starts[a], stops[b - 1])
            values[bins[a:b]] = _means(samples, starts[a:b] - starts[a])
        left[bins] = -1
    between = np.flatnonzero((left >= 0) & (left < len(times_s) - 1))
    gap_s = times_s[left[between] + 1] - times_s[left[between]]
    between = between[gap_s <= MAX_GAP * interval_s]
    before = left[between]
    for a, b in _runs(before, before + 2, block):
        samples = _samples(read, used, before[a], before[b - 1] + 2)
        at = before[a:b]
        weight = ((centre_s[between[a:b]] - times_s[at]) / (times_s[at + 1] - times_s[at]))[:, np.newaxis]
        at = at - before[a]
        values[between[a:b]] = (1 - weight) * samples[at] + weight * samples[at + 1]
    return values


def _increasing(times_s: np.ndarray) -> np.ndarray:
    """Numbers of the samples whose time is after all before them."""
    known = np.where(np.isfinite(times_s), times_s, -np.inf)
    highest = np.maximum.accumulate(known)
    return np.flatnonzero(np.isfinite(known) & (known > np.r_[-np.inf, highest[:-1]]))


def _runs(starts: np.ndarray, stops: np.ndarray, block: int):
    """Cuts of sorted ranges of samples into runs that together span about `block` samples: (first, last + 1)."""
    first = 0
    while first < len(starts):
        last = max(int(np.searchsorted(stops, starts[first] + block, "right")), first + 1)
        yield first, last
        first = last


def _samples(read, used: np.ndarray, first: int, stop: int) -> np.ndarray:
    """Values of the used samples `first` to `stop - 1`."""
    low, high = int(used[first]), int(used[stop - 1]) + 1
    samples = read(low, high)
    return samples if high - low == stop - first else samples[used[first:stop] - low]


def _means(samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Mean of each run of samples, over those that are numbers."""
    finite = np.isfinite(samples)
    n = np.add.reduceat(finite, starts, axis=0, dtype=np.int64)
    total = np.add.reduceat(np.where(finite, samples, 0.0), starts, axis=0)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
