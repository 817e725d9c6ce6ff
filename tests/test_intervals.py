import numpy as np

from pipeline.intervals import inside, joined


def test_union_and_containment_against_a_fine_grid():
    rng = np.random.default_rng(5)
    for _ in range(30):
        edges = np.sort(rng.integers(0, 100, (7, 2)), axis=1)
        edges = edges[edges[:, 0] < edges[:, 1]]
        cells = np.zeros(100, bool)
        for a, b in edges:
            cells[a:b] = True
        first, last = joined(edges[:, 0].astype(float), edges[:, 1].astype(float), tolerance_s=1e-6)
        steps = np.diff(np.r_[0, cells.astype(int), 0])
        np.testing.assert_array_equal(first, np.flatnonzero(steps == 1))
        np.testing.assert_array_equal(last, np.flatnonzero(steps == -1))
        spans = np.sort(rng.integers(0, 101, (50, 2)), axis=1)
        spans = spans[spans[:, 0] < spans[:, 1]]
        found = inside(spans[:, 0] * 1.0, spans[:, 1] * 1.0, edges[:, 0] * 1.0, edges[:, 1] * 1.0, tolerance_s=1e-6)
        np.testing.assert_array_equal(found, [cells[a:b].all() for a, b in spans])


def test_no_intervals():
    none = np.empty(0)
    assert joined(none, none, tolerance_s=0.0)[0].size == 0
    assert not inside(np.array([1.0]), np.array([2.0]), none, none, tolerance_s=0.0).any()
