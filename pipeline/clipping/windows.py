"""Where clips lie: inside bouts, round calls, or over the whole recording."""

import numpy as np

TOUCH_S = 1e-9  # an overlap of less is rounding


def windows_in_spans(
    start_s: np.ndarray, stop_s: np.ndarray, *, duration_s: float, stride_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of `duration_s` every `stride_s` that cover each span, centred on it.

    Every moment of a span is covered; the windows stick out by less than half a stride on either side, or, where a
    span is shorter than a window, by as much as one window needs.

    Returns the start of each window and the index of its span, each Shape (n_clips,), sorted by span and time.
    """
    length = np.asarray(stop_s, float) - start_s
    n = 1 + np.ceil(np.maximum(length - duration_s, 0) / stride_s - 1e-9).astype(int)
    span = np.repeat(np.arange(len(n)), n)
    step = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    first = (np.asarray(start_s, float) + stop_s) / 2 - (duration_s + (n - 1) * stride_s) / 2
    return first[span] + step * stride_s, span


def windows_over(start_s: float, stop_s: float, *, duration_s: float, stride_s: float) -> np.ndarray:
    """Windows of `duration_s` every `stride_s` that lie inside [start_s, stop_s]. Shape (n_clips,), starts."""
    n = int(np.floor((stop_s - start_s - duration_s) / stride_s + 1e-9)) + 1
    return start_s + np.arange(max(n, 0)) * stride_s


def windows_round(start_s: np.ndarray, stop_s: np.ndarray, *, duration_s: float) -> np.ndarray:
    """One window centred on each event; of events longer than the window it holds the middle. Shape (n_events,)."""
    return (np.asarray(start_s, float) + stop_s) / 2 - duration_s / 2


def bout_spans(bout: np.ndarray, start_s: np.ndarray, stop_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bouts of a calls table: names, and the span from the start of the first call to the stop of the last.

    Calls without a bout (negative) are left out. Each Shape (n_bouts,), in the order of time.
    """
    inside = bout >= 0
    names, member = np.unique(bout[inside], return_inverse=True)
    first = np.full(len(names), np.inf)
    last = np.full(len(names), -np.inf)
    np.minimum.at(first, member, start_s[inside])
    np.maximum.at(last, member, stop_s[inside])
    order = np.argsort(first, kind="stable")
    return names[order], first[order], last[order]


def largest_overlap(
    window_start_s: np.ndarray, window_stop_s: np.ndarray, start_s: np.ndarray, stop_s: np.ndarray
) -> np.ndarray:
    """Index of the event that covers most of each window, the earlier of equals; -1 where none touches it.

    Windows: Shape (n_clips,). Events: Shape (n_events,), sorted by start; they may overlap.
    """
    best = np.full(len(window_start_s), -1)
    best_s = np.full(len(window_start_s), TOUCH_S)
    # events from `first` on may reach into the window, those from `last` on start after it
    first = np.searchsorted(np.maximum.accumulate(stop_s), window_start_s, "right")
    last = np.searchsorted(start_s, window_stop_s, "left")
    for step in range(int((last - first).max(initial=0))):
        clips = np.flatnonzero(first + step < last)
        event = first[clips] + step
        shared_s = np.minimum(window_stop_s[clips], stop_s[event]) - np.maximum(window_start_s[clips], start_s[event])
        better = shared_s > best_s[clips]
        best[clips[better]] = event[better]
        best_s[clips[better]] = shared_s[better]
    return best
