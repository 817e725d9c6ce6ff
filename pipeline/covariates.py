"""covariates.nc: movement, breathing and the like on the bins of a session's counts.nc."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.storage import read_dataset, write_dataset


@dataclass(frozen=True)
class Covariates:
    """Time series on the grid of a session's counts.

    `values` (n_bins, n_covariates), float32, NaN where not known; `names`, `units` (n_covariates,); `start_s` (n_bins,)
    session s, exactly those of counts.nc.
    """

    names: list[str]
    units: list[str]
    values: np.ndarray
    start_s: np.ndarray
    bin_width_s: float


def write_covariates(covariates: Covariates, path: str | Path, *, session: str) -> None:
    dataset = xr.Dataset(
        {
            "values": (("bin", "covariate"), covariates.values),
            "units": ("covariate", np.array(covariates.units, object)),
        },
        coords={
            "bin": ("bin", covariates.start_s, {"units": "s"}),
            "covariate": np.array(covariates.names, object),
        },
        attrs={
            "session": session,
            "bin_width_s": covariates.bin_width_s,
            "start_s": float(covariates.start_s[0]) if len(covariates.start_s) else np.nan,
        },
    )
    write_dataset(dataset, path)


def read_covariates(path: str | Path) -> Covariates:
    """What `write_covariates` wrote. Raises InputError where the file is missing or unreadable."""
    with read_dataset(path) as dataset:
        return Covariates(
            names=[str(name) for name in dataset["covariate"].values],
            units=[str(unit) for unit in dataset["units"].values],
            values=dataset["values"].values,
            start_s=dataset["bin"].values.astype(float),
            bin_width_s=float(dataset.attrs["bin_width_s"]),
        )
