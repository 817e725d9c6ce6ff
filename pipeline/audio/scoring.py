"""How well calls that were found agree with calls that were labelled.

A found call and a label are matched one to one under each criterion of `CRITERIA`: as many pairs as possible and,
among those, the pairs that share the most time. Times are seconds on one clock; errors are found minus labelled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from pipeline.intervals import joined

ROUNDING_S = 1e-9  # edges that differ by exactly the tolerance, or by it and a rounding error, are within it


@dataclass(frozen=True)
class Pairs:
    """All pairs of a found call and a label that share time, each array of shape (n_pairs,)."""

    found: np.ndarray
    label: np.ndarray
    overlap_s: np.ndarray
    iou: np.ndarray
    onset_error_s: np.ndarray
    offset_error_s: np.ndarray

    def edges_within(self, tolerance_s: float) -> np.ndarray:
        return np.maximum(np.abs(self.onset_error_s), np.abs(self.offset_error_s)) <= tolerance_s + ROUNDING_S


CRITERIA: dict[str, Callable[[Pairs], np.ndarray]] = {
    "overlap": lambda pairs: np.ones(len(pairs.found), bool),
    "iou50": lambda pairs: pairs.iou >= 0.5 - ROUNDING_S,
    "10ms": lambda pairs: pairs.edges_within(0.010),
    "5ms": lambda pairs: pairs.edges_within(0.005),
}


@dataclass(frozen=True)
class Comparison:
    """Found calls against labels: all that the figures need, so that several recordings can be pooled."""

    n_found: int
    n_labels: int
    n_matched: dict[str, int]  # by criterion
    n_splits: int  # labels that hold several found calls, each with at least half of its time
    n_merges: int  # found calls that hold several labels, each with at least half of its time
    n_false_alarms: int  # found calls that share time with no label
    found_time_s: float  # of the union of the found calls
    label_time_s: float
    shared_time_s: float
    call_free_s: float  # audio outside the labels; NaN where the duration is unknown
    onset_error_s: np.ndarray = field(repr=False)  # (n_matched by overlap,)
    offset_error_s: np.ndarray = field(repr=False)
    label_is_found: np.ndarray = field(repr=False)  # (n_labels,) bool, matched by overlap
    label_level_db: np.ndarray = field(repr=False)  # (n_labels,), NaN where unknown


def compare(
    *,
    found_start_s: np.ndarray,
    found_stop_s: np.ndarray,
    label_start_s: np.ndarray,
    label_stop_s: np.ndarray,
    label_level_db: np.ndarray | None = None,
    duration_s: float | None = None,
) -> Comparison:
    """Compare found calls, arrays of shape (n_found,), with labels, arrays of shape (n_labels,), in any order.

    `label_level_db` is the level or signal-to-noise ratio of each label, `duration_s` the length of the audio.
    """
    # sorted, since several matchings can be equally good and the order of a file should not choose among them
    found_start_s, found_stop_s, _ = _sorted(found_start_s, found_stop_s, None)
    label_start_s, label_stop_s, label_level_db = _sorted(label_start_s, label_stop_s, label_level_db)
    n_found, n_labels = len(found_start_s), len(label_start_s)
    pairs = overlapping(found_start_s, found_stop_s, label_start_s, label_stop_s)
    matches = {name: match(pairs, criterion(pairs)) for name, criterion in CRITERIA.items()}
    matched = matches["overlap"]

    mostly_in_label = pairs.overlap_s >= 0.5 * (found_stop_s - found_start_s)[pairs.found] - ROUNDING_S
    mostly_in_found = pairs.overlap_s >= 0.5 * (label_stop_s - label_start_s)[pairs.label] - ROUNDING_S
    found_union = joined(found_start_s, found_stop_s, tolerance_s=0.0)
    label_union = joined(label_start_s, label_stop_s, tolerance_s=0.0)
    label_time_s = _length(label_union)
    is_found = np.zeros(n_labels, bool)
    is_found[pairs.label[matched]] = True
    return Comparison(
        n_found=n_found,
        n_labels=n_labels,
        n_matched={name: len(chosen) for name, chosen in matches.items()},
        n_splits=int((np.bincount(pairs.label[mostly_in_label], minlength=n_labels) > 1).sum()),
        n_merges=int((np.bincount(pairs.found[mostly_in_found], minlength=n_found) > 1).sum()),
        n_false_alarms=n_found - len(np.unique(pairs.found)),
        found_time_s=_length(found_union),
        label_time_s=label_time_s,
        shared_time_s=float(overlapping(*found_union, *label_union).overlap_s.sum()),
        call_free_s=np.nan if duration_s is None else max(duration_s - label_time_s, 0.0),
        onset_error_s=pairs.onset_error_s[matched],
        offset_error_s=pairs.offset_error_s[matched],
        label_is_found=is_found,
        label_level_db=label_level_db,
    )


def pool(comparisons: Sequence[Comparison]) -> Comparison:
    """Several recordings as one: counts and times are summed, errors and labels joined."""

    def together(name: str):
        values = [getattr(comparison, name) for comparison in comparisons]
        if name == "n_matched":
            return {criterion: sum(value[criterion] for value in values) for criterion in CRITERIA}
        return np.concatenate(values) if isinstance(values[0], np.ndarray) else sum(values)

    return Comparison(**{name: together(name) for name in Comparison.__dataclass_fields__})


def figures(comparison: Comparison) -> dict[str, float]:
    """The figures that are reported, by name with unit; NaN where one is undefined (0 of 0).

    precision, recall and f1 by criterion; temporal_f1 = 2 shared / (found + labelled) time; median errors of the
    edges of the pairs matched by overlap, signed (negative is early) and absolute; false alarms (found calls that
    share time with no label) a minute of audio without labels.
    """
    n_found, n_labels = comparison.n_found, comparison.n_labels
    row: dict[str, float] = {"found": n_found, "labels": n_labels}
    for name, n_matched in comparison.n_matched.items():
        row[f"precision_{name}"] = _ratio(n_matched, n_found)
        row[f"recall_{name}"] = _ratio(n_matched, n_labels)
        row[f"f1_{name}"] = _ratio(2 * n_matched, n_found + n_labels)
    row["temporal_f1"] = _ratio(2 * comparison.shared_time_s, comparison.found_time_s + comparison.label_time_s)
    for edge in ("onset", "offset"):
        error_ms = 1e3 * getattr(comparison, f"{edge}_error_s")
        row[f"{edge}_error_ms"] = float(np.median(error_ms)) if len(error_ms) else np.nan
        row[f"{edge}_absolute_error_ms"] = float(np.median(np.abs(error_ms))) if len(error_ms) else np.nan
    row |= {"splits": comparison.n_splits, "merges": comparison.n_merges, "false_alarms": comparison.n_false_alarms}
    row["false_alarms_a_minute"] = _ratio(comparison.n_false_alarms, comparison.call_free_s / 60)
    return row


def recall_by_level(comparison: Comparison, *, step_db: float) -> list[dict[str, float]]:
    """Share of labels found (by overlap) in each step of level or signal-to-noise ratio that holds a label.

    Each row has level_db (lower edge of the step), labels and recall; labels of unknown level are left out.
    """
    known = np.isfinite(comparison.label_level_db)
    step = np.floor(comparison.label_level_db[known] / step_db + ROUNDING_S)
    found = comparison.label_is_found[known]
    return [
        {
            "level_db": float(value * step_db),
            "labels": int((step == value).sum()),
            "recall": float(found[step == value].mean()),
        }
        for value in np.unique(step)
    ]


def overlapping(
    found_start_s: np.ndarray, found_stop_s: np.ndarray, label_start_s: np.ndarray, label_stop_s: np.ndarray
) -> Pairs:
    """All pairs that share time; intervals that only touch share none."""
    # Of two intervals that overlap, one starts within the other. Both cases are ranges in the sorted starts, so
    # that time and memory follow the number of pairs even where one interval spans all others.
    label, found = _starting_within(found_start_s, found_stop_s, label_start_s, side="left")
    later_found, its_label = _starting_within(label_start_s, label_stop_s, found_start_s, side="right")
    found, label = np.concatenate([found, later_found]), np.concatenate([label, its_label])
    overlap_s = np.minimum(found_stop_s[found], label_stop_s[label]) - np.maximum(
        found_start_s[found], label_start_s[label]
    )
    share = overlap_s > 0  # an interval without duration starts within another, but shares no time
    found, label, overlap_s = found[share], label[share], overlap_s[share]
    onset_error_s = found_start_s[found] - label_start_s[label]
    offset_error_s = found_stop_s[found] - label_stop_s[label]
    union_s = np.maximum(found_stop_s[found], label_stop_s[label]) - np.minimum(
        found_start_s[found], label_start_s[label]
    )
    return Pairs(found, label, overlap_s, overlap_s / union_s, onset_error_s, offset_error_s)


def match(pairs: Pairs, allowed: np.ndarray) -> np.ndarray:
    """Indices into `pairs` of a one-to-one matching of `allowed` pairs, shape (n_matched,), by found call.

    The number of pairs is the largest possible, and the overlap they share the largest for that number.
    """
    candidates = np.flatnonzero(allowed)
    if not len(candidates):
        return candidates
    overlap_s = pairs.overlap_s[candidates]
    found, row = np.unique(pairs.found[candidates], return_inverse=True)
    labels, column = np.unique(pairs.label[candidates], return_inverse=True)
    # A full matching of sparse rows, where each found call may also take a column of its own: to stay unmatched
    # costs more than all overlap that could be gained by it.
    n_found, n_labels, most_s = len(found), len(labels), overlap_s.max()
    unmatched = 2 * most_s * (1 + min(n_found, n_labels))
    own = np.arange(n_found)
    cost = csr_array(
        (
            np.concatenate([2 * most_s - overlap_s, np.full(n_found, unmatched)]),
            (np.concatenate([row, own]), np.concatenate([column, n_labels + own])),
        ),
        shape=(n_found, n_labels + n_found),
    )
    rows, columns = min_weight_full_bipartite_matching(cost)
    real = columns < n_labels
    order = np.lexsort((column, row))  # to find the candidate of a (row, column)
    at = np.searchsorted(row[order] * n_labels + column[order], rows[real] * n_labels + columns[real])
    return candidates[order[at]]


def _starting_within(
    start_s: np.ndarray, stop_s: np.ndarray, other_start_s: np.ndarray, *, side: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (other, one) where `other` starts in one's [start, stop), or in (start, stop) with side 'right'."""
    order = np.argsort(other_start_s, kind="stable")
    sorted_s = other_start_s[order]
    first = np.searchsorted(sorted_s, start_s, side)
    count = np.maximum(np.searchsorted(sorted_s, stop_s, "left") - first, 0)
    one = np.repeat(np.arange(len(start_s)), count)
    within = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    return order[np.repeat(first, count) + within], one


def _sorted(
    start_s: np.ndarray, stop_s: np.ndarray, level_db: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float arrays sorted by start, then stop; levels are NaN where there are none."""
    start_s, stop_s = np.asarray(start_s, float), np.asarray(stop_s, float)
    level_db = np.full(len(start_s), np.nan) if level_db is None else np.asarray(level_db, float)
    order = np.lexsort((stop_s, start_s))
    return start_s[order], stop_s[order], level_db[order]


def _length(union: tuple[np.ndarray, np.ndarray]) -> float:
    return float((union[1] - union[0]).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else np.nan
