"""Spike times out of a file, a slice of units at a time, in order and free of what cannot be a spike."""

from collections.abc import Iterator
from math import isfinite
from typing import Any
from warnings import warn

import numpy as np

from pipeline.errors import InputError

SLICE_SPIKES = 2**18  # 2 MB: large enough for the disk, small enough for the processor's cache
CHUNKS_A_SLICE = 16  # a slice may end within a chunk, which then is unpacked twice
MOST_SPIKES = 2**22
MAX_NONFINITE = 1e-3
# A reset is a step back over at least half of the time so far, from and to a stretch of this many spikes.
LEAST_STRETCH = 5
LEAST_RESET_S = 1.0
# Below this distance a neuron does not fire twice; coarser times can be equal for two true spikes.
REFRACTORY_S = 5e-4


class SpikeStream:
    """Spike times of the units of a table, one array a unit: sorted, finite, float64. To be gone through once.

    An array is good until the next is asked for: whoever keeps it copies it.

    `stops`: Shape (n_units,), where each unit's times end in `dataset`. `distinct`: whether two spikes of a unit at
    the very same time are one (a sorted neuron) or two (several neurons on a channel).

    Going through it counts what it leaves out in `n_nonfinite` and `n_duplicate`, Shape (n_units,), and at its end
    warns once for each kind of oddity. It raises InputError where more than 0.1 % of times are no numbers, or a unit's
    times start again midway.
    """

    def __init__(self, dataset: Any, stops: np.ndarray, *, names: list[str], where: str, distinct: bool):
        self._dataset, self._stops, self._names, self._where = dataset, stops, names, where
        self._distinct = distinct
        self.n_nonfinite = np.zeros(len(stops), int)
        self.n_duplicate = np.zeros(len(stops), int)
        self._n_unsorted = np.zeros(len(stops), int)
        self._n_negative = np.zeros(len(stops), int)

    def __len__(self) -> int:
        return len(self._stops)

    def __iter__(self) -> Iterator[np.ndarray]:
        for unit, times_s in enumerate(self._slices()):
            if len(times_s) and not self._is_clean(times_s):
                times_s = self._cleaned(times_s, unit)
            if len(times_s) and times_s[0] < 0:
                self._n_negative[unit] = np.searchsorted(times_s, 0.0)
            yield times_s
        self._report()

    def _slices(self) -> Iterator[np.ndarray]:
        """Each unit's times as they stand in the file; the memory of a slice is used again for the next."""
        chunk = (self._dataset.chunks or (0,))[0]
        least = max(SLICE_SPIKES, min(CHUNKS_A_SLICE * chunk, MOST_SPIKES))
        starts = np.r_[0, self._stops[:-1]]
        buffer = np.empty(0)
        first = 0
        while first < len(self._stops):
            begin = int(starts[first])
            last = max(int(np.searchsorted(self._stops, begin + least, "right")), first + 1)
            end = int(self._stops[last - 1])
            if hasattr(self._dataset, "read_direct") and end > begin:
                if end - begin > len(buffer):
                    buffer = np.empty(end - begin)
                values = buffer[: end - begin]
                self._dataset.read_direct(values, np.s_[begin:end])
            else:
                values = np.asarray(self._dataset[begin:end], float)
            for unit in range(first, last):
                yield values[starts[unit] - begin : self._stops[unit] - begin]
            first = last

    @staticmethod
    def _is_clean(times_s: np.ndarray) -> bool:
        # comparisons with NaN are false; infinite times can only be first or last if the rest is in order
        return isfinite(times_s[0]) and isfinite(times_s[-1]) and bool((times_s[1:] > times_s[:-1]).all())

    def _cleaned(self, times_s: np.ndarray, unit: int) -> np.ndarray:
        finite = np.isfinite(times_s)
        self.n_nonfinite[unit] = len(times_s) - np.count_nonzero(finite)
        times_s = times_s[finite]
        back = np.flatnonzero(times_s[1:] < times_s[:-1])
        if len(back):
            self._refuse_reset(times_s, back, unit)
            self._n_unsorted[unit] = len(back)
            times_s = np.sort(times_s)
        if self._distinct and len(times_s):
            again = times_s[1:] == times_s[:-1]
            if again.any() and self._step_s(times_s[-1]) < REFRACTORY_S:
                self.n_duplicate[unit] = np.count_nonzero(again)
                times_s = times_s[np.r_[True, ~again]]
        return times_s

    def _step_s(self, time_s: float) -> float:
        """Distance of neighbouring times that the file's numbers can tell apart."""
        if self._dataset.dtype.kind != "f":
            return 1.0
        return float(np.spacing(np.abs(time_s).astype(self._dataset.dtype)))

    def _refuse_reset(self, times_s: np.ndarray, back: np.ndarray, unit: int) -> None:
        """Small disorder can be sorted; blocks that were put after each other cannot, since their order is lost."""
        step_s = times_s[back] - times_s[back + 1]
        so_far_s = times_s[back] - np.minimum.accumulate(times_s)[back]
        resets = back[(step_s > LEAST_RESET_S) & (step_s >= so_far_s / 2)]
        edges = np.r_[0, resets + 1, len(times_s)]
        if not len(resets) or np.diff(edges).min() < LEAST_STRETCH or len(back) > len(times_s) / LEAST_STRETCH:
            return
        place = int(resets[0])
        raise InputError(
            "spike times start again midway",
            where=f"{self._where}, unit {self._names[unit]}",
            found=f"spike {place + 1} of {len(times_s)} at {times_s[place]:.6g} s, the next at "
            f"{times_s[place + 1]:.6g} s",
            mend="recordings were put after each other: add to each its start time, or write one file each",
        )

    def _report(self) -> None:
        n_spikes = int(self._stops[-1]) if len(self._stops) else 0
        n_bad = int(self.n_nonfinite.sum())
        if n_bad > MAX_NONFINITE * n_spikes:
            raise InputError(
                "too many spike times are no finite numbers",
                where=f"{self._where}, {self._listed(self.n_nonfinite)}",
                found=f"{n_bad} of {n_spikes}",
                allowed=f"up to {MAX_NONFINITE:.1%}",
                mend="write the spike times again without NaN and inf",
            )
        for counts, what in (
            (self.n_nonfinite, "spike times that are no finite number are left out"),
            (self._n_unsorted, "spike times were not in order and are sorted"),
            (self.n_duplicate, "spikes at the very time of another spike of the unit are left out"),
            (self._n_negative, "spike times lie before 0 s and are kept: time counts from the file's reference time"),
        ):
            if counts.any():
                warn(f"{self._where}: {counts.sum()} {what} ({self._listed(counts)})", stacklevel=4)

    def _listed(self, counts: np.ndarray) -> str:
        return listed_units(self._names, np.flatnonzero(counts))


def listed_units(names: list[str], units: np.ndarray) -> str:
    """A few units by name and how many more there are, as in "units 3, 7 and 12 more"."""
    shown = ", ".join(names[unit] for unit in units[:5])
    more = f" and {len(units) - 5} more" if len(units) > 5 else ""
    return f"unit{'s' if len(units) > 1 else ''} {shown}{more}"
