"""The calls: pitch, length and how many

a, peak frequency and b, duration of all detected calls, as shares of the calls of each session. c, both together, one
dot a call (at most 3000 of a session, evenly spaced through it). d, calls a minute through the recording.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, SERIES_COLOURS, new_figure, panel_letter

PLACE = 20
MAX_DOTS = 3000
MAX_NAMED = 6  # more sessions than this are drawn alike, with their pooled distribution on top


def draw(results: Results) -> Figure:
    """Distributions of peak frequency and duration, both together, and calls a minute."""
    tables = {s.name: results.calls(s.name) for s in results.sessions}
    calls = {name: table.dropna(subset=["peak_hz"]) for name, table in tables.items() if len(table)}
    calls = {name: table for name, table in calls.items() if len(table)}
    if not calls:
        raise NoData("No calls were detected or annotated.")
    named = len(calls) <= MAX_NAMED
    colours = {name: SERIES_COLOURS[i] if named else "#B8B8B8" for i, name in enumerate(calls)}
    figure = new_figure(4.4)
    axes = figure.subplots(2, 2)
    pooled = pd.concat(calls.values(), ignore_index=True)
    n_bins = int(np.clip(np.sqrt(len(pooled) / len(calls)), 8, 40))
    peak_khz = _edges(pooled["peak_hz"] / 1e3, n_bins)
    duration_ms = _edges(pooled["duration_s"] * 1e3, n_bins)
    for name, table in calls.items():
        _histogram(axes[0, 0], table["peak_hz"] / 1e3, peak_khz, colours[name])
        _histogram(axes[0, 1], table["duration_s"] * 1e3, duration_ms, colours[name])
        few = table.iloc[:: max(1, -(-len(table) // MAX_DOTS))]
        axes[1, 0].scatter(
            few["duration_s"] * 1e3,
            few["peak_hz"] / 1e3,
            s=5,
            color=colours[name],
            alpha=0.6 if len(few) < 500 else 0.3,
            lw=0,
            rasterized=True,
        )
        spectrogram = results.spectrogram(name)
        stop_s = table["stop_s"].max() if spectrogram is None else max(spectrogram.attrs["duration_s"], 1.0)
        _per_minute(axes[1, 1], table, float(stop_s), colours[name])
    if not named:
        _histogram(axes[0, 0], pooled["peak_hz"] / 1e3, peak_khz, INK)
        _histogram(axes[0, 1], pooled["duration_s"] * 1e3, duration_ms, INK)
    for axis, values, unit in (
        (axes[0, 0], pooled["peak_hz"] / 1e3, "kHz"),
        (axes[0, 1], pooled["duration_s"] * 1e3, "ms"),
    ):
        axis.axvline(values.median(), color=FAINT, lw=0.8, ls=":")
        axis.text(
            values.median(), 1.01, f"median {values.median():.3g} {unit}", transform=axis.get_xaxis_transform(),
            color=FAINT, size=7, ha="center", va="bottom",
        )  # fmt: skip
    axes[0, 0].set(xlabel="peak frequency (kHz)", ylabel="share of calls (%)", ylim=(0, None))
    axes[0, 1].set(xlabel="duration (ms)", ylabel="share of calls (%)", ylim=(0, None))
    axes[1, 0].set(xlabel="duration (ms)", ylabel="peak frequency (kHz)")
    axes[1, 1].set(xlabel="time in recording (min)", ylabel="calls a minute", ylim=(0, None))
    lines = (
        [(name, colours[name]) for name in calls] if named else [(f"{len(calls)} sessions", "#B8B8B8"), ("all", INK)]
    )
    for row, (name, colour) in enumerate(lines):
        text = f"{name} ({len(calls[name])} calls)" if name in calls else name
        axes[0, 1].text(
            1.0, 0.97 - 0.09 * row, text, color=colour, transform=axes[0, 1].transAxes, ha="right", va="top", size=7,
            parse_math=False,
        )  # fmt: skip
    for letter, axis in zip("abcd", axes.flat, strict=True):
        panel_letter(axis, letter)
    return figure


def _edges(values: pd.Series, n_bins: int) -> np.ndarray:
    """At most `n_bins` bins of width 1, 2 or 5 times a power of ten: odd widths beat with the frames and bands."""
    low, high = np.quantile(values, [0.0, 0.995])
    least = max(high - low, 1e-3) / n_bins
    scale = 10.0 ** np.floor(np.log10(least))
    width = next(scale * step for step in (1, 2, 5, 10) if scale * step >= least)
    return np.arange(np.floor(low / width), np.ceil(high / width) + 1.5) * width


def _histogram(axes: Axes, values: pd.Series, edges: np.ndarray, colour: str) -> None:
    share, _ = np.histogram(values, edges)
    axes.stairs(100 * share / len(values), edges, color=colour, lw=1.2, baseline=None)


def _per_minute(axes: Axes, table: pd.DataFrame, stop_s: float, colour: str) -> None:
    edges = np.linspace(0, stop_s / 60, max(10, int(stop_s // 60)) + 1)  # about a minute each, ten at least
    number, _ = np.histogram(table["start_s"].to_numpy(float) / 60, edges)
    axes.stairs(number / np.diff(edges), edges, color=colour, lw=1.2, baseline=None)
