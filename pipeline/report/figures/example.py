"""A stretch of a session: sound, calls and units on one clock

The busiest three seconds of the session with the most calls. Top: spectrogram in dB above the noise floor, with the
detected calls (bars) and their frequency contours (lines). Middle: units, sorted by cluster; one tick is a time bin
with spikes. Bottom: mean rate of the units of each cluster (Gaussian smoothing, SD 20 ms). Times are session time,
the clock of the NWB file.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from pipeline.clock import Clock
from pipeline.report.results import NoData, Results
from pipeline.report.style import (
    CLUSTER_COLOURS,
    INK,
    cluster_colour,
    cluster_name,
    new_figure,
    panel_letter,
)

PLACE = 10
LENGTH_S = 3.0
SMOOTHING_S = 0.02


def draw(results: Results) -> Figure:
    """Spectrogram with calls, raster and rates of one stretch, on one time axis."""
    session = _busiest_session(results)
    counts = results.counts(session)
    clock = Clock.from_dataset(counts) if counts is not None else Clock(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    spectrogram = results.spectrogram(session)
    has_units = counts is not None and counts.sizes["unit"] > 0
    start_s = _busiest_start_s(results.calls(session), clock, counts)
    panels = ["spectrogram"] * (spectrogram is not None) + ["raster", "rates"] * has_units
    n_units = counts.sizes["unit"] if has_units else 0
    heights = {"spectrogram": 1.5, "raster": float(np.clip(0.05 * n_units, 1.2, 3.5)), "rates": 1.1}
    figure = new_figure(0.5 + sum(heights[p] for p in panels))
    grid = figure.subplots(
        len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [heights[p] for p in panels]}
    )
    axes = dict(zip(panels, grid[:, 0], strict=True))
    if spectrogram is not None:
        _spectrogram(figure, axes["spectrogram"], spectrogram, results.calls(session), clock, start_s)
    if has_units:
        _units(axes["raster"], axes["rates"], counts, results, start_s)
    for letter, panel in zip("abc", axes.values(), strict=False):
        panel_letter(panel, letter)
    last = grid[-1, 0]
    last.set_xlim(start_s, start_s + LENGTH_S)
    last.set_xlabel(f"time in session {session} (s)", parse_math=False)
    figure.align_ylabels(grid[:, 0])
    return figure


def _busiest_session(results: Results) -> str:
    """The session with most calls, one with units before one without."""
    scored = []
    for session in results.sessions:
        counts = results.counts(session.name)
        n_units = 0 if counts is None else counts.sizes["unit"]
        n_calls = len(results.calls(session.name))
        if n_calls or n_units or results.spectrogram(session.name) is not None:
            scored.append((n_calls > 0 and n_units > 0, n_calls, n_units, session.name))
    if not scored:
        raise NoData("There is neither sound nor spikes to show.")
    return max(scored, key=lambda row: row[:3])[3]


def _busiest_start_s(calls, clock: Clock, counts: xr.Dataset | None) -> float:
    """Start of the stretch with most time in calls, session s; without calls the middle of the session."""
    if calls.empty:
        return (
            float(counts["bin"].values[counts.sizes["bin"] // 2]) if counts is not None and counts.sizes["bin"] else 0.0
        )
    starts = clock.to_session(calls["start_s"].to_numpy(float))
    total = np.concatenate([[0.0], np.cumsum(calls["duration_s"].to_numpy(float))])
    inside = total[np.searchsorted(starts, starts + LENGTH_S - 0.2)] - total[: len(starts)]
    return float(starts[int(np.argmax(inside))] - 0.1)


def _spectrogram(figure: Figure, axes: Axes, spectrogram: xr.Dataset, calls, clock: Clock, start_s: float) -> None:
    first_s, last_s = clock.to_audio(np.array([start_s, start_s + LENGTH_S]))
    part = spectrogram.sel(time=slice(first_s, last_s))
    if part.sizes["time"]:
        above_db = part["power_db"].values.astype(np.float32) - spectrogram["noise_floor_db"].values
        times = clock.to_session(part["time"].values)
        image = axes.pcolormesh(
            times, part["frequency"].values / 1e3, above_db.T, cmap="Greys", vmin=0, vmax=30, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12, ticks=[0, 15, 30])
        bar.set_label("dB above floor")
        bar.outline.set_visible(False)
    shown = calls[(calls["stop_s"] > first_s) & (calls["start_s"] < last_s)] if len(calls) else calls
    contours = [
        np.column_stack([clock.to_session(np.asarray(row.contour_s, float)), np.asarray(row.contour_hz, float) / 1e3])
        for row in shown.itertuples()
        if len(row.contour_s) > 1
    ]
    axes.add_collection(LineCollection(contours, colors=CLUSTER_COLOURS[4], linewidths=0.8))
    low_khz, high_khz = spectrogram["frequency"].values[[0, -1]] / 1e3
    bar_khz = low_khz + 0.03 * (high_khz - low_khz)
    for row in shown.itertuples():
        edges = clock.to_session(np.array([row.start_s, row.stop_s]))
        axes.plot(edges, [bar_khz, bar_khz], color=CLUSTER_COLOURS[4], lw=2.5, solid_capstyle="butt")
    axes.set_ylim(low_khz, high_khz)
    axes.set_ylabel("frequency (kHz)")


def _units(raster: Axes, rates: Axes, counts: xr.Dataset, results: Results, start_s: float) -> None:
    width_s = float(counts.attrs["bin_width_s"])
    part = counts.sel(bin=slice(start_s - 1e-9, start_s + LENGTH_S))
    order, cluster_of = results.sorted_units([str(unit) for unit in counts["unit"].values])
    values = part["counts"].values[:, order].astype(float)
    values[~part["valid"].values[:, order]] = np.nan
    centres_s = part["bin"].values + width_s / 2
    is_spikes = counts.attrs["kind"] == "spikes"
    if is_spikes:
        for row, cluster in enumerate(cluster_of):
            times = centres_s[np.nan_to_num(values[:, row]) > 0]
            raster.vlines(times, row - 0.42, row + 0.42, color=cluster_colour(cluster), lw=0.8)
    elif values.size:
        low, high = np.nanquantile(values, [0.02, 0.98], axis=0)
        values = (values - low) / np.maximum(high - low, 1e-12)  # each trace on its own scale
        extent = (start_s, start_s + width_s * len(values), len(order) - 0.5, -0.5)
        raster.imshow(values.T, aspect="auto", cmap="Greys", vmin=0, vmax=1, extent=extent, interpolation="none")
    raster.set_ylim(len(order) - 0.5, -0.5)
    raster.set_yticks([0, len(order) - 1], ["1", str(len(order))])
    raster.set_ylabel("unit")
    clusters = [c for c in results.cluster_ids if c in cluster_of]
    groups = [(c, cluster_of == c, cluster_name(c), cluster_colour(c)) for c in clusters]
    if (cluster_of < 0).any():
        name = "no cluster" if clusters else "all units"
        groups.append((-1, cluster_of < 0, name, cluster_colour(-1) if clusters else INK))
    for _, members, name, colour in groups:
        middle = np.flatnonzero(members).mean()
        raster.text(1.01, middle, name, color=colour, transform=raster.get_yaxis_transform(), va="center", size=7)
        mean_count = np.ma.masked_invalid(values[:, members]).mean(axis=1).filled(np.nan)
        level = gaussian_filter1d(mean_count / width_s if is_spikes else mean_count, SMOOTHING_S / width_s)
        rates.plot(centres_s, level, color=colour)
    rates.set_ylim(bottom=0)
    rates.set_ylabel("rate (Hz)" if is_spikes else "trace (scaled)")
