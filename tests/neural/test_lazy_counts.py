import numpy as np
import pytest
import xarray as xr
from xarray.core import indexing

from pipeline.neural.lazy_counts import LazyCounts


@pytest.fixture
def both(rng):
    places = [np.sort(rng.integers(0, 50, n)).astype(np.int32) for n in (300, 0, 7)]
    dense = np.array([np.bincount(place, minlength=50) for place in places]).T
    lazy = LazyCounts([place - 7 for place in places], first_bin=-7, n_bins=50, dtype=np.uint8)
    return xr.DataArray(xr.Variable(("bin", "unit"), indexing.LazilyIndexedArray(lazy))), xr.DataArray(
        dense.astype(np.uint8), dims=("bin", "unit")
    )


@pytest.mark.parametrize(
    "key",
    [
        np.s_[:, :],
        np.s_[10:20],
        np.s_[10:20, 0],
        np.s_[7],
        np.s_[7, 2],
        np.s_[::3, 1:],
        np.s_[::-2],
        np.s_[40:10:-1, ::2],
        np.s_[[3, 9, 9, 1]],
        np.s_[[3, 9], [2, 0]],
        np.s_[60:70],
        np.s_[:, [2, 0]],
    ],
)
def test_indexed_as_the_table_of_all_bins(both, key):
    lazy, dense = both
    xr.testing.assert_identical(lazy[key].load(), dense[key])
    assert lazy.dtype == np.uint8


def test_a_run_asks_for_no_more_than_itself(both, monkeypatch):
    asked = []
    real = LazyCounts.dense
    monkeypatch.setattr(LazyCounts, "dense", lambda self, a, b, *rest: asked.append((a, b)) or real(self, a, b, *rest))
    both[0][20:24].load()
    assert asked == [(20, 24)]
