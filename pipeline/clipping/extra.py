"""Further modalities of clips, in the bins of their counts: covariates, a second probe, band power."""

from collections.abc import Mapping
from pathlib import Path
from warnings import warn

import numpy as np
import xarray as xr

from pipeline.clipping.making import in_training_sds, window_counts
from pipeline.clips import MISSING_COUNT
from pipeline.covariates import read_covariates
from pipeline.errors import InputError
from pipeline.storage import read_dataset


def with_extra(clips: xr.Dataset, extra: Mapping[str, xr.Dataset | None]) -> xr.Dataset:
    """What `make_clips` returns, with a modality for each of `extra`; which clips there are does not hang on them.

    extra: by name what the session has, laid out as counts.nc (counts and valid (bin, unit), kind), or None. Traces are
    brought to their SDs over the training clips. A modality that no training clip holds is missing in all.

    Raises InputError where bins are not as wide as those of the counts.
    """
    bin_width_s = float(clips.attrs["bin_width_s"])
    first_bin = np.rint((clips["start_s"].values + clips["bin"].values[0]) / bin_width_s).astype(np.int64)
    is_training = clips["split"].values == "train"
    arrays, present = {}, [clips["present"].values]
    for name, series in extra.items():
        where = f"session {clips.attrs['session']!r}, extra.{name}"
        windows, has = np.zeros((len(first_bin), 0, clips.sizes["bin"]), np.float32), np.zeros(len(first_bin), bool)
        attributes, channels = {"kind": "traces", "units": "SD"}, np.zeros(0, str)
        if series is not None and series.sizes["unit"]:
            if not np.isclose(float(series.attrs["bin_width_s"]), bin_width_s):
                found, allowed = (f"{width:g} s" for width in (float(series.attrs["bin_width_s"]), bin_width_s))
                raise InputError("its bins are not those of the counts", where=where, found=found, allowed=allowed)
            windows = window_counts(series, first_bin, n_bins=clips.sizes["bin"])
            channels = series["unit"].values.astype(str)
            if series.attrs["kind"] == "spikes":
                missing = windows.dtype.type(MISSING_COUNT)
                attributes, known = {"kind": "spikes", "units": "1", "_FillValue": missing}, windows != missing
            else:
                windows = in_training_sds(windows, is_training)
                known = np.isfinite(windows)
            has = known.any(axis=(1, 2))
            if not has[is_training].any():
                has[:] = False
                warn(f"{where}: no training clip holds any of it; the session goes without", stacklevel=2)
        channel = f"{name}_channel"
        arrays[f"extra_{name}"] = (("clip", channel, "bin"), windows, attributes)
        arrays[channel] = (channel, channels)
        present.append(has[:, np.newaxis])
    names = [*clips["modality"].values, *extra]
    whole = clips.drop_vars(["present", "modality"]).assign(arrays)
    return whole.assign(present=(("clip", "modality"), np.hstack(present)), modality=np.array(names, str))


def read_extra(path: str | Path) -> xr.Dataset:
    """One modality of a session, laid out as counts.nc: what `duet bin-extra` wrote, opened lazily, or covariates.nc.

    Raises InputError where the file is missing or unreadable.
    """
    dataset = read_dataset(path)
    if "counts" in dataset:
        return dataset
    dataset.close()
    found = read_covariates(path)
    return xr.Dataset(
        {"counts": (("bin", "unit"), found.values), "valid": (("bin", "unit"), np.isfinite(found.values))},
        coords={"bin": found.start_s, "unit": np.array(found.names, object)},
        attrs={"kind": "traces", "bin_width_s": found.bin_width_s},
    )
