"""A picture of an NWB file: how often each unit fired over time, or the traces of its ROIs."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.errors import InputError
from pipeline.inspection.nwb_units import read_stops
from pipeline.neural.nwb import Nwb, check_size, neurodata_type, numbers, open_nwb
from pipeline.report.style import INK, in_style, message_figure, new_figure

N_BINS = 400
N_TRACES = 300
BLOCK_SPIKES = 2**22


def draw_nwb(location: str | Path) -> Figure:
    """Rates of all units, or traces of all ROIs, over the whole session. Raises InputError where it cannot be read."""
    with open_nwb(location) as nwb, in_style():
        try:
            return _drawn(nwb, Path(location).name)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            mend = "look at its tables: duet inspect without --picture"
            raise InputError("cannot draw this file", where=location, found=error, mend=mend) from error


def _drawn(nwb: Nwb, name: str) -> Figure:
    units = next((group for _, group in _tables(nwb) if {"spike_times", "spike_times_index"} <= set(group)), None)
    if units is not None and units["spike_times"].shape[0] and units["spike_times_index"].shape[0]:
        return _rates(nwb, units, name)
    for path in nwb.of_type("RoiResponseSeries"):
        series = nwb.root[path[1:]]
        if "data" in series and len(series["data"].shape) == 2 and min(series["data"].shape):
            return _traces(nwb, series, f"{name}: {path}")
    return message_figure("There are neither units with spikes nor traces of ROIs to show.")


def rates_over_time(times: Any, stops: np.ndarray, *, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Rates of units, Hz, shape (n_units, n_bins), and the edges of the bins, s, shape (n_bins + 1,).

    `times`, shape (n_spikes,), is read by blocks; unit i has the spikes from `stops[i - 1]` to `stops[i]`. Spikes that
    are no finite number, or that no unit has, are left out.
    """
    n_units, n_spikes = len(stops), times.shape[0]
    low_s, high_s = np.inf, -np.inf
    for first in range(0, n_spikes, BLOCK_SPIKES):
        block = times[first : first + BLOCK_SPIKES]
        block = block[np.isfinite(block)]
        low_s, high_s = min(low_s, block.min(initial=np.inf)), max(high_s, block.max(initial=-np.inf))
    if not low_s < high_s:
        low_s, high_s = (0.0, 1.0) if not np.isfinite(low_s) else (low_s - 0.5, low_s + 0.5)
    counts = np.zeros(n_units * n_bins, np.int64)
    for first in range(0, n_spikes, BLOCK_SPIKES):
        block = np.asarray(times[first : first + BLOCK_SPIKES], float)
        unit = np.searchsorted(stops, np.arange(first, first + len(block)), side="right")
        fine = np.isfinite(block) & (unit < n_units)
        place = np.minimum(((block[fine] - low_s) / (high_s - low_s) * n_bins).astype(np.int64), n_bins - 1)
        counts += np.bincount(unit[fine] * n_bins + place, minlength=len(counts))
    edges_s = np.linspace(low_s, high_s, n_bins + 1)
    return counts.reshape(n_units, n_bins) / np.diff(edges_s), edges_s


def _tables(nwb: Nwb):
    return [(path, group) for path, group in nwb.groups() if neurodata_type(group) == "Units" or path == "/units"]


def _rates(nwb: Nwb, units: Any, title: str) -> Figure:
    times = numbers(units["spike_times"], where=f"{nwb.where}, spike_times")
    check_size(times, times.shape[0], where=nwb.where)
    rates_hz, edges_s = rates_over_time(times, read_stops(units, nwb.where), n_bins=N_BINS)
    rates_hz = rates_hz[np.argsort(rates_hz.mean(axis=1), kind="stable")]
    figure = new_figure(float(np.clip(1.5 + 0.03 * len(rates_hz), 2.5, 7)))
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    image = upper.imshow(
        np.log10(rates_hz + 0.1),
        extent=(edges_s[0], edges_s[-1], 0, len(rates_hz)),
        aspect="auto",
        cmap="magma",
    )
    bar = figure.colorbar(image, ax=upper, pad=0.01, label="rate (Hz)")
    ticks_hz = [hz for hz in (0, 0.1, 1, 10, 100) if np.log10(hz + 0.1) <= image.get_clim()[1]]
    bar.set_ticks(np.log10(np.array(ticks_hz) + 0.1), labels=[f"{hz:g}" for hz in ticks_hz])
    lower.stairs(rates_hz.mean(axis=0), edges_s, color=INK, lw=0.8)
    upper.set(ylabel="unit, by rate")
    upper.yaxis.set_major_locator(MaxNLocator(integer=True))
    upper.set_title(title, parse_math=False)
    lower.set(xlabel="time (s)", ylabel="mean (Hz)")
    return figure


def _traces(nwb: Nwb, series: Any, title: str) -> Figure:
    data = numbers(series["data"], where=title)
    check_size(data, int(np.prod(data.shape, dtype=np.int64)), where=nwb.where)
    n_samples, n_rois = data.shape
    step = max(n_samples // 2000, 1)
    values = np.asarray(data[::step, :N_TRACES], float)  # (n_shown, n_rois)
    if "timestamps" in series and len(series["timestamps"]) == n_samples:
        time_s = np.asarray(series["timestamps"][::step], float)
    elif "starting_time" in series and series["starting_time"].attrs.get("rate", 0) > 0:
        start = series["starting_time"]
        time_s = float(start[()]) + np.arange(0, n_samples, step) / float(start.attrs["rate"])
    else:
        time_s = np.arange(0, n_samples, step, dtype=float)
    low, high = np.nanquantile(values, [0.01, 0.99]) if np.isfinite(values).any() else (0.0, 1.0)
    figure = new_figure(3.5)
    axes = figure.subplots()
    image = axes.imshow(
        values.T,
        extent=(time_s[0], max(time_s[-1], time_s[0] + 1e-3), 0, values.shape[1]),
        aspect="auto",
        cmap="magma",
        vmin=low,
        vmax=high if high > low else low + 1,
    )
    figure.colorbar(image, ax=axes, pad=0.01, label="signal, as stored")
    shown = f" (the first {N_TRACES} of {n_rois})" if n_rois > N_TRACES else ""
    axes.set(xlabel="time (s)", ylabel=f"ROI{shown}")
    axes.set_title(title, parse_math=False)
    return figure
