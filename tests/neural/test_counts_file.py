import numpy as np
import pytest
import xarray as xr

from pipeline.neural.counts_file import TILE, write_counts
from pipeline.storage import read_dataset


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(3 * TILE[0] + 7, TILE[1] + 3), (5, 1), (9, 0)])
def test_what_is_written_is_what_xarray_would_write(tmp_path, rng, kind, shape):
    values = rng.integers(0, 200, shape[::-1]).astype(kind).T  # unit by unit in memory
    valid = np.broadcast_to(rng.random((shape[0], 1)) < 0.9, shape)
    if kind == np.float32:
        values[~valid] = np.nan
    counts = xr.Dataset(
        {
            "counts": (("bin", "unit"), values, {"units": "1"}),
            "valid": (("bin", "unit"), valid),
            "covered": ("bin", valid[:, 0] if shape[1] else np.ones(shape[0], bool)),
        },
        coords={
            "bin": ("bin", np.arange(shape[0]) * 0.01, {"units": "s"}),
            "unit": ("unit", np.array([f"s1|units|{row}" for row in range(shape[1])], dtype=str)),
        },
        attrs={"kind": "spikes", "bin_width_s": 0.01},
    )
    write_counts(counts, tmp_path / "counts.nc")
    counts.to_netcdf(tmp_path / "plain.nc", engine="h5netcdf")
    with read_dataset(tmp_path / "counts.nc") as found, xr.open_dataset(tmp_path / "plain.nc") as plain:
        xr.testing.assert_identical(found.load(), plain.load())
        assert found["counts"].dtype == kind and found["valid"].dtype == bool
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
