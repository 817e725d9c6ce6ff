import numpy as np
import pytest

from pipeline.clipping.windows import bout_spans, largest_overlap, windows_in_spans, windows_over, windows_round


@pytest.mark.parametrize("stride_s", [0.05, 0.07, 0.2])
def test_windows_cover_each_span_and_hardly_more(rng, stride_s):
    first = np.cumsum(rng.uniform(2, 4, 40))
    last = first + rng.uniform(0.01, 1.5, 40)
    start, span = windows_in_spans(first, last, duration_s=0.2, stride_s=stride_s)
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        mine = start[span == i]
        np.testing.assert_allclose(np.diff(mine), stride_s)
        assert mine[0] <= a + 1e-9 and mine[-1] + 0.2 >= b - 1e-9
        assert (mine[0] + mine[-1] + 0.2) / 2 == pytest.approx((a + b) / 2)
        if b - a > 0.2:
            assert a - mine[0] <= stride_s / 2 + 1e-9
        else:
            assert len(mine) == 1


def test_windows_over_a_recording():
    np.testing.assert_allclose(windows_over(3.0, 4.0, duration_s=0.2, stride_s=0.1), 3 + np.arange(9) / 10)
    assert len(windows_over(0.0, 0.1, duration_s=0.2, stride_s=0.1)) == 0


def test_windows_round_calls():
    np.testing.assert_allclose(windows_round(np.array([1.0, 5.0]), np.array([1.1, 5.6]), duration_s=0.2), [0.95, 5.2])


def test_spans_of_bouts_in_the_order_of_time():
    bout = np.array([4, 4, -1, 2, 4])
    names, first, last = bout_spans(bout, np.array([5.0, 6, 7, 1, 4]), np.array([5.1, 6.1, 7.1, 1.1, 6.5]))
    assert (list(names), list(first), list(last)) == ([2, 4], [1, 4], [1.1, 6.5])


def test_largest_overlap_against_a_loop(rng):
    for _ in range(10):
        start = np.sort(rng.uniform(0, 20, 60))
        stop = start + rng.uniform(0.01, 1.5, 60)  # they overlap, and some lie in others
        windows = np.sort(rng.uniform(-1, 22, 80))
        expected = []
        for w in windows:
            shared = np.minimum(stop, w + 0.4) - np.maximum(start, w)
            expected.append(int(shared.argmax()) if shared.max() > 0 else -1)
        np.testing.assert_array_equal(largest_overlap(windows, windows + 0.4, start, stop), expected)
    none = np.empty(0)
    np.testing.assert_array_equal(largest_overlap(windows, windows + 0.4, none, none), -1)
