"""Intervals of time, as sorted arrays of starts and stops."""

import numpy as np


def joined(start_s: np.ndarray, stop_s: np.ndarray, *, tolerance_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Union of intervals: those that overlap or touch (within `tolerance_s`) become one. Sorted starts and stops."""
    order = np.argsort(start_s, kind="stable")
    start_s, reach_s = start_s[order], np.maximum.accumulate(stop_s[order])
    if not len(start_s):
        return start_s, reach_s
    fresh = np.r_[True, start_s[1:] > reach_s[:-1] + tolerance_s]
    return start_s[fresh], reach_s[np.r_[fresh[1:], True]]


def inside(
    start_s: np.ndarray, stop_s: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, *, tolerance_s: float
) -> np.ndarray:
    """Whether each span [start_s, stop_s] lies in the union of the intervals [first_s, last_s]. Shape of `start_s`."""
    first_s, last_s = joined(first_s, last_s, tolerance_s=tolerance_s)
    if not len(first_s):
        return np.zeros(len(start_s), bool)
    stretch = np.searchsorted(first_s, start_s + tolerance_s, "right") - 1
    return (stretch >= 0) & (stop_s <= last_s[np.maximum(stretch, 0)] + tolerance_s)
