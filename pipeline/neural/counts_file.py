"""counts.nc, written a run of bins at a time: its arrays lie unit by unit in memory, and tile by tile in the file.

Tiles in which all is valid are never written: they read as the fill value, which is true.
"""

from pathlib import Path

import h5netcdf
import numpy as np
import xarray as xr

from pipeline.storage import written_whole

TILE = (8192, 32)  # bins, units: readers take runs of bins of all units
RUN = 4 * TILE[0]
PACKING = {"compression": "gzip", "compression_opts": 1}


def write_counts(counts: xr.Dataset, path: str | Path) -> None:
    """Write what `bin_session` returns as netCDF4 (HDF5), without a second copy of it in memory."""
    names = [name for name in ("counts", "valid") if counts[name].size]
    with written_whole(path) as partial:
        counts.drop_vars(names).to_netcdf(partial, engine="h5netcdf")
        with h5netcdf.File(partial, "a") as file:
            for name in names:
                _write(file, name, counts[name])


def _write(file: h5netcdf.File, name: str, array: xr.DataArray) -> None:
    dtype, attributes, fill = array.dtype, dict(array.attrs), None
    is_flags = dtype.kind == "b"
    if is_flags:
        dtype, attributes, fill = np.dtype(np.int8), attributes | {"dtype": "bool"}, 1  # as xarray keeps bool in netCDF
    if dtype.kind == "f":
        fill = dtype.type(np.nan)
    n_bins, n_units = array.shape
    chunks = (min(n_bins, TILE[0]), min(n_units, TILE[1]))
    variable = file.create_variable(name, array.dims, dtype, chunks=chunks, fillvalue=fill, **PACKING)
    if is_flags:
        del variable.attrs["_FillValue"]  # true is no missing value
    for key, value in attributes.items():
        variable.attrs[key] = value
    for first in range(0, n_bins, RUN):
        run = slice(first, first + RUN)
        values = array[run].values
        if not (is_flags and values.all()):
            variable[run] = np.ascontiguousarray(values.view(dtype))
