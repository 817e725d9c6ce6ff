"""The grid of bins: bin k = [k dt, (k + 1) dt) in session seconds."""

from dataclasses import dataclass

import numpy as np

from pipeline.errors import InputError
from pipeline.intervals import joined

# Of a bin: a spike time that lies on an edge but for the rounding of a double belongs to the bin that starts there
# (30 kHz sample times divided by 0.01 s land on the wrong side of half of the edges).
EDGE_TOLERANCE = 1e-6
MAX_BINS = 2**25  # 93 hours in bins of 10 ms
MAX_CELLS = 2**33  # bins times units: 24 h of 900 units in bins of 10 ms
FARTHEST_BIN = 2**30  # bins are kept as int32; no grid reaches this far


@dataclass(frozen=True)
class Grid:
    """Bins `first_bin` to `first_bin + n_bins - 1`."""

    first_bin: int
    n_bins: int
    bin_width_s: float

    @property
    def start_s(self) -> np.ndarray:
        """When each bin starts. Shape (n_bins,)."""
        return np.arange(self.first_bin, self.first_bin + self.n_bins) * self.bin_width_s

    def inside(self, intervals_s: np.ndarray) -> np.ndarray:
        """Whether each bin lies wholly in the union of intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
        return bins_inside(intervals_s, first_bin=self.first_bin, n_bins=self.n_bins, bin_width_s=self.bin_width_s)

    def touched(self, intervals_s: np.ndarray) -> np.ndarray:
        """Whether each bin has any part in the intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
        return bins_touched(intervals_s, first_bin=self.first_bin, n_bins=self.n_bins, bin_width_s=self.bin_width_s)


def bin_index(t_s: np.ndarray, *, bin_width_s: float) -> np.ndarray:
    """Number of the bin in which each time lies. int64, shape of `t_s`; finite times only."""
    return np.floor(np.asarray(t_s, float) / bin_width_s + EDGE_TOLERANCE).astype(np.int64)


def bins_inside(intervals_s: np.ndarray, *, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Whether each bin of the grid lies wholly in the union of intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
    start_s, stop_s = joined(intervals_s[:, 0], intervals_s[:, 1], tolerance_s=EDGE_TOLERANCE * bin_width_s)
    start = np.ceil(_on_grid(start_s, first_bin, n_bins, bin_width_s) - EDGE_TOLERANCE)
    stop = np.floor(_on_grid(stop_s, first_bin, n_bins, bin_width_s) + EDGE_TOLERANCE)
    return _runs(start, np.maximum(stop, start), n_bins)


def bins_touched(intervals_s: np.ndarray, *, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Whether each bin of the grid has any part in the intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
    start = np.floor(_on_grid(intervals_s[:, 0], first_bin, n_bins, bin_width_s) + EDGE_TOLERANCE)
    stop = np.ceil(_on_grid(intervals_s[:, 1], first_bin, n_bins, bin_width_s) - EDGE_TOLERANCE)
    return _runs(start, np.maximum(stop, start), n_bins)


def grid_over(start_s: float, stop_s: float, *, bin_width_s: float, n_units: int, closed: bool, where: str) -> Grid:
    """The grid from `start_s` to `stop_s`; `closed`: with the bin of `stop_s` itself (the time of a spike).

    Raises InputError where it would have more bins than any recording.
    """
    n_bins = stop_s / bin_width_s - start_s / bin_width_s + 1
    if not n_bins <= MAX_BINS or n_bins * n_units > MAX_CELLS:
        raise InputError(
            "the recording is too long for its bins",
            where=where,
            found=f"{start_s:.6g} to {stop_s:.6g} s, {n_bins:.3g} bins of {n_units} units",
            allowed=f"up to {MAX_BINS:.3g} bins, {MAX_CELLS:.3g} counts",
            mend="are spike times and obs_intervals in seconds? else a larger neural.bin_width_s",
        )
    first = int(bin_index(start_s, bin_width_s=bin_width_s))
    if closed:
        return Grid(first, int(bin_index(stop_s, bin_width_s=bin_width_s)) - first + 1, bin_width_s)
    return Grid(first, max(int(np.ceil(stop_s / bin_width_s - EDGE_TOLERANCE)) - first, 1), bin_width_s)


def _on_grid(t_s: np.ndarray, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Times in bins since the grid's start, held a bin inside reach of its ends (intervals may be infinite)."""
    return np.clip(t_s / bin_width_s - first_bin, -1.0, n_bins + 1.0)


def _runs(start: np.ndarray, stop: np.ndarray, n_bins: int) -> np.ndarray:
    """Union of runs of bins [start, stop). Shape (n_bins,), bool."""
    if not len(start):
        return np.zeros(n_bins, bool)
    steps = np.zeros(n_bins + 1, int)
    np.add.at(steps, np.clip(start, 0, n_bins).astype(int), 1)
    np.add.at(steps, np.clip(stop, 0, n_bins).astype(int), -1)
    return np.cumsum(steps[:-1]) > 0
