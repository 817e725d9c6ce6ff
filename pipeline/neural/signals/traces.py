"""Imaging: the traces of regions of interest (RoiResponseSeries), in Fluorescence, DfOverF or loose."""

from typing import Any
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.neural.nwb import Nwb, named_or_only, neurodata_type, text, texts
from pipeline.neural.recording import Choice, Traces, UnitsHeader
from pipeline.neural.resampling import resampled
from pipeline.neural.series import sample_times, scale_of, series_data
from pipeline.neural.tables import exclusions, invalid_times_of

TYPE = "RoiResponseSeries"


def usable(nwb: Nwb) -> bool:
    """Whether there are traces of regions of interest."""
    return bool(_series(nwb))


def open_signal(nwb: Nwb, choice: Choice) -> Traces:
    """The traces of a series; their values are read when they are put on a grid."""
    path, group, where = _chosen(nwb, choice)
    data = series_data(group, where=where)
    n_samples, n_rois, transposed = _shape(group, data, where=where)
    if transposed:
        warn(
            f"{where}: the data are (ROI, time), {data.shape}, instead of (time, ROI); all {n_rois} traces are turned",
            stacklevel=4,
        )
    times_s = sample_times(group, n_samples, where=where)
    finite_s = times_s[np.isfinite(times_s)]
    if not len(finite_s):
        raise InputError("the series has no times", where=where, found=f"{n_samples} samples")
    scale = scale_of(group, n_rois, where=where)
    names, region, excluded = _regions_of_interest(nwb, group, n_rois, choice.unit_filter, where=where)

    def read(first: int, stop: int) -> np.ndarray:
        stored = data[:, first:stop].T if transposed else data[first:stop]
        return scale(stored.reshape(stop - first, n_rois))

    return Traces(
        table=path.rsplit("/", 1)[-1],
        nwb_id=names,
        region=region,
        unit=scale.unit,
        start_s=float(finite_s.min()),
        stop_s=float(finite_s.max()),
        on_grid=lambda grid: resampled(read, times_s, n_channels=n_rois, grid=grid),
        invalid_times_s=invalid_times_of(nwb),
        excluded=excluded,
    )


def look(nwb: Nwb, choice: Choice) -> UnitsHeader:
    """Number of traces, and when the first and last sample were."""
    traces = open_signal(nwb, choice)
    return UnitsHeader(len(traces), 0, traces.start_s, traces.stop_s, kind="traces")


def _series(nwb: Nwb) -> list[str]:
    return nwb.of_type(TYPE)


def _chosen(nwb: Nwb, choice: Choice) -> tuple[str, Any, str]:
    paths = _series(nwb)
    if not paths:
        raise nwb.missing(f"no {TYPE} (traces of ROIs)", mend="neural.signal: auto, or write the traces with pynwb")
    path = named_or_only(nwb, choice.series, paths, what=f"{TYPE}s", key="neural.series")
    return path, nwb.root[path], f"{nwb.where}, {path}"


def _shape(group: Any, data: Any, *, where: str) -> tuple[int, int, bool]:
    """Numbers of samples and ROIs, and whether the matrix is transposed: told by the ROIs, else by the time stamps."""
    if data.ndim == 1:
        return len(data), 1, False
    n_rois = len(group["rois"]) if "rois" in group else None
    n_stamps = len(group["timestamps"]) if "timestamps" in group else None
    rows, columns = data.shape
    ways = ((rows, columns, False), (columns, rows, True))
    fits = [way for way in ways if n_rois in (None, way[1])]
    fits = [way for way in fits if n_stamps in (None, way[0])] or fits
    if not fits:
        raise InputError(
            "the data do not fit the ROIs",
            where=f"{where}/data",
            found=f"shape {data.shape}; {n_rois} ROIs",
            allowed="(n_samples, n_rois)",
            mend="write the series again: one column a row of rois",
        )
    return fits[0]


def _regions_of_interest(
    nwb: Nwb, group: Any, n_rois: int, unit_filter: str | None, *, where: str
) -> tuple[list[str], list[str], list[str]]:
    """Id, brain region and reason of exclusion of each ROI, by the plane segmentation that `rois` points to."""
    table = nwb.follow(group["rois"].attrs.get("table")) if "rois" in group else None
    if table is None or "id" not in table:
        if unit_filter:
            raise InputError(
                "neural.unit_filter: the ROIs have no table", where=where, mend="set neural.unit_filter to null"
            )
        return [str(row) for row in range(n_rois)], [""] * n_rois, [""] * n_rois
    rows = np.asarray(group["rois"][:], int)
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(table["id"]):
        raise InputError(
            "rois points past the table of ROIs",
            where=f"{where}/rois",
            found=f"rows {rows.min()} to {rows.max()}",
            allowed=f"0 to {len(table['id']) - 1}",
            mend="write the series again",
        )
    ids = texts(table["id"][:])
    location = ""
    if "imaging_plane" in table and "location" in table["imaging_plane"]:
        location = text(table["imaging_plane"]["location"][()])
    excluded = exclusions(table, unit_filter, n_rows=n_rois, rows=rows, where=f"{where}, {neurodata_type(table)}")
    return [ids[row] for row in rows], [location] * n_rois, excluded
