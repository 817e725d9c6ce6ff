import itertools

import numpy as np
import pytest

from pipeline.audio.scoring import CRITERIA, compare, figures, match, overlapping, pool, recall_by_level


def _compare(found, labels, **more):
    found, labels = (np.array(calls, float).reshape(-1, 2) for calls in (found, labels))
    return compare(
        found_start_s=found[:, 0],
        found_stop_s=found[:, 1],
        label_start_s=labels[:, 0],
        label_stop_s=labels[:, 1],
        **more,
    )


def test_figures_of_a_case_reckoned_by_hand():
    found = [(1.004, 1.096), (2.000, 2.200), (5.0, 5.1), (3.00, 3.04), (3.05, 3.10)]
    labels = [(1.000, 1.100), (2.000, 2.080), (2.100, 2.200), (3.00, 3.10), (7.0, 7.1)]
    # matched by overlap: 1.0; 2.0 with the longer of its two labels; 3.0 with the longer of its two calls
    row = figures(_compare(found, labels, duration_s=60.48))
    assert (row["found"], row["labels"]) == (5, 5)
    assert row["f1_overlap"] == row["precision_overlap"] == row["recall_overlap"] == 3 / 5
    assert row["recall_iou50"] == 3 / 5  # 0.92, 0.5 and 0.5
    assert row["f1_10ms"] == row["f1_5ms"] == 1 / 5
    assert row["onset_error_ms"] == pytest.approx(4)  # of 4, -100 and 50
    assert row["offset_error_ms"] == pytest.approx(0)  # of -4, 0 and 0
    assert row["onset_absolute_error_ms"] == pytest.approx(50)
    assert row["offset_absolute_error_ms"] == pytest.approx(0)
    assert (row["splits"], row["merges"], row["false_alarms"]) == (1, 1, 1)
    assert row["false_alarms_a_minute"] == pytest.approx(1)  # 60 s outside the labels
    shared_s, found_s, labels_s = 0.092 + 0.18 + 0.09, 0.092 + 0.2 + 0.1 + 0.09, 0.48
    assert row["temporal_f1"] == pytest.approx(2 * shared_s / (found_s + labels_s))


def test_errors_are_found_minus_labelled_and_tolerances_include_their_edge():
    row = figures(_compare([(0.990, 1.105)], [(1.0, 1.1)]))
    assert row["onset_error_ms"] == pytest.approx(-10) and row["offset_error_ms"] == pytest.approx(5)
    assert (row["f1_10ms"], row["f1_5ms"]) == (1, 0)
    assert figures(_compare([(0.9899, 1.1)], [(1.0, 1.1)]))["f1_10ms"] == 0
    assert figures(_compare([(1.05, 1.1)], [(1.0, 1.1)]))["f1_iou50"] == 1
    assert figures(_compare([(1.051, 1.1)], [(1.0, 1.1)]))["f1_iou50"] == 0


def test_as_many_pairs_as_possible_before_the_longest_overlap():
    # the call that shares most with the first label is the only one that touches the second
    row = figures(_compare([(0.0, 0.3), (0.9, 2.2)], [(0.2, 2.0), (2.1, 2.3)]))
    assert row["f1_overlap"] == 1
    assert row["onset_error_ms"] == pytest.approx((-200 - 1200) / 2)


@pytest.mark.parametrize(
    ("found", "labels", "n_matched"),
    [
        ([], [], 0),
        ([], [(1, 2)], 0),
        ([(1, 2)], [], 0),
        ([(1, 2)], [(2, 3)], 0),  # touching
        ([(1, 4)], [(2, 3)], 1),  # nested
        ([(1, 2), (1, 2)], [(1, 2)], 1),  # duplicates
        ([(1, 2), (1, 2)], [(1, 2), (1, 2)], 2),
        ([(1, 1)], [(0, 2)], 0),  # no duration
        ([(0, 9)], [(1, 2), (3, 4), (5, 6)], 1),
    ],
)
def test_degenerate_cases(found, labels, n_matched):
    comparison = _compare(found, labels, duration_s=10)
    assert comparison.n_matched["overlap"] == n_matched == len(comparison.onset_error_s)
    row = figures(comparison)
    n = len(found) + len(labels)
    np.testing.assert_equal(row["f1_overlap"], 2 * n_matched / n if n else np.nan)
    assert np.isnan(row["onset_error_ms"]) == (n_matched == 0)
    assert np.isnan(row["precision_overlap"]) == (not found) and np.isnan(row["recall_overlap"]) == (not labels)


def _best_by_trying_all(found, labels, allowed):
    """(most pairs, largest overlap of so many) over every one-to-one matching."""
    best = (0, 0.0)
    for size in range(1, min(len(found), len(labels)) + 1):
        for rows in itertools.combinations(range(len(found)), size):
            for columns in itertools.permutations(range(len(labels)), size):
                if all((r, c) in allowed for r, c in zip(rows, columns, strict=True)):
                    shared = sum(allowed[r, c] for r, c in zip(rows, columns, strict=True))
                    best = max(best, (size, shared))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_matching_is_the_best_of_all(seed):
    random = np.random.default_rng(seed)
    found, labels = (np.sort(np.round(random.uniform(0, 1, (random.integers(1, 6), 2)) * 40), axis=1) for _ in range(2))
    pairs = overlapping(found[:, 0], found[:, 1], labels[:, 0], labels[:, 1])
    shared = {(i, j): min(f[1], g[1]) - max(f[0], g[0]) for i, f in enumerate(found) for j, g in enumerate(labels)}
    truly = {pair: value for pair, value in shared.items() if value > 0}
    assert dict(zip(zip(pairs.found, pairs.label, strict=True), pairs.overlap_s, strict=True)) == truly
    for criterion in CRITERIA.values():
        allowed = criterion(pairs)
        chosen = match(pairs, allowed)
        assert allowed[chosen].all()
        assert len(np.unique(pairs.found[chosen])) == len(np.unique(pairs.label[chosen])) == len(chosen)
        kept = {(i, j): truly[i, j] for i, j in zip(pairs.found[allowed], pairs.label[allowed], strict=True)}
        size, overlap = _best_by_trying_all(found, labels, kept)
        assert len(chosen) == size and pairs.overlap_s[chosen].sum() == pytest.approx(overlap)


def test_order_of_the_calls_does_not_matter():
    random = np.random.default_rng(1)
    found, labels = (np.sort(random.uniform(0, 3, (60, 2)), axis=1) for _ in range(2))
    once = figures(_compare(found, labels))
    again = figures(_compare(random.permutation(found), random.permutation(labels)))
    assert once == pytest.approx(again, nan_ok=True)


def test_pooling_counts_calls_not_files():
    good = _compare([(1, 2), (3, 4), (5, 6)], [(1, 2), (3, 4), (5, 6)], duration_s=33)
    bad = _compare([(1, 2)], [(3, 4)], duration_s=31)
    row = figures(pool([good, bad]))
    assert row["precision_overlap"] == row["recall_overlap"] == 3 / 4
    assert row["temporal_f1"] == pytest.approx(3 / 4)
    assert row["false_alarms_a_minute"] == pytest.approx(1)
    without_duration = figures(pool([good, _compare([(1, 2)], [])]))
    assert np.isnan(without_duration["false_alarms_a_minute"])


def test_recall_against_level():
    labels = [(i, i + 0.5) for i in range(6)]
    comparison = _compare(labels[3:], labels, label_level_db=np.array([1.0, 2, 11, 12, 19, np.nan]))
    assert recall_by_level(comparison, step_db=10) == [
        {"level_db": 0, "labels": 2, "recall": 0},
        {"level_db": 10, "labels": 3, "recall": pytest.approx(2 / 3)},
    ]


def test_one_interval_over_all_others_stays_sparse():
    start_s = np.arange(20_000) * 0.2
    comparison = compare(
        found_start_s=start_s, found_stop_s=start_s + 0.1, label_start_s=np.zeros(1), label_stop_s=np.array([1e4])
    )
    assert (comparison.n_matched["overlap"], comparison.n_splits) == (1, 1)
    pairs = overlapping(np.r_[0, start_s], np.r_[1e4, start_s + 0.1], start_s, start_s + 0.1)
    assert len(pairs.found) == 2 * len(start_s)
