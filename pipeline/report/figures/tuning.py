"""Tuning of the clusters, and whether it holds in data that did not choose it

Mean change of rate of a cluster's units against the frequency of the sound, in part A of the sessions
(dashed; lags, clusters and their number were chosen there) and in the held-out part B (solid). Shaded: the middle half
of the units in part B; thin bar and whiskers above: each band, and the bootstrap intervals of its edges over animals
and bouts. Frequencies with too little sound are left out.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import INK, cluster_colour, cluster_name, khz, new_figure

PLACE = 40
MIN_COLUMNS, MAX_COLUMNS = 3, 4


def draw(results: Results) -> Figure:
    """One panel a cluster: part A and part B, with the band and its interval."""
    if not results.cluster_ids:
        raise NoData("No clusters of tuned units were found.")
    curves = results.table("tuning_curves")
    if curves.empty:
        raise NoData("The run has no tuning curves.")
    curves = curves.merge(results.clusters[["unit_id", "cluster"]], on="unit_id")
    curves["khz"] = (curves["band_low_khz"] + curves["band_high_khz"]) / 2
    clusters = results.cluster_ids
    n_columns = min(MAX_COLUMNS, max(len(clusters), MIN_COLUMNS))
    n_rows = -(-len(clusters) // n_columns)
    figure = new_figure(0.3 + 1.9 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, cluster in zip(grid.flat, clusters, strict=False):
        _cluster(axes, curves[curves["cluster"] == cluster], cluster)
        bands = results.table("cluster_bands")
        if len(bands):
            _bands(axes, bands[bands["cluster"] == cluster], cluster)
    low, high = grid[0, 0].get_ylim()
    grid[0, 0].set_ylim(low, high + 0.2 * (high - low))  # room for the bands' names
    for axes in grid.flat[len(clusters) :]:
        axes.set_axis_off()
    for row in range(n_rows):
        grid[row, 0].set_ylabel("change of rate (%)")
    for column in range(n_columns):
        below = [row for row in range(n_rows) if row * n_columns + column < len(clusters)]
        if not below:
            continue
        grid[below[-1], column].set_xlabel("frequency (kHz)")
        grid[below[-1], column].tick_params(labelbottom=True)
    return figure


def _cluster(axes: Axes, curves: pd.DataFrame, cluster: int) -> None:
    colour = cluster_colour(cluster)
    for part, line in (("A", "--"), ("B", "-")):
        by_band = 100 * curves[curves["part"] == part].pivot_table(index="khz", columns="unit_id", values="tuning_gain")
        if by_band.empty:
            continue
        axes.plot(by_band.index, by_band.mean(axis=1), line, color=colour, lw=1.6 if part == "B" else 1.0)
        if part == "B" and by_band.shape[1] > 1:
            low, high = by_band.quantile(0.25, axis=1), by_band.quantile(0.75, axis=1)
            axes.fill_between(by_band.index, low, high, color=colour, alpha=0.2, lw=0)
    axes.axhline(0, color=INK, lw=0.5)
    n_units = curves["unit_id"].nunique()
    axes.set_title(f"{cluster_name(cluster)}, {n_units} unit{'s' if n_units != 1 else ''}", color=colour, weight="bold")


def _bands(axes: Axes, bands: pd.DataFrame, cluster: int) -> None:
    colour = cluster_colour(cluster)
    across = axes.get_xaxis_transform()
    for band in bands.itertuples():
        if not (np.isfinite(band.low_khz) and np.isfinite(band.high_khz)):
            continue
        axes.axvspan(band.low_khz, band.high_khz, color=colour, alpha=0.07, lw=0)
        axes.plot([band.low_khz, band.high_khz], [0.97, 0.97], color=colour, lw=2.5, transform=across,
                  solid_capstyle="butt")  # fmt: skip
        for edge in ("low", "high"):
            interval = [getattr(band, f"{edge}_ci_{side}_khz", np.nan) for side in ("low", "high")]
            if np.isfinite(interval).all():
                axes.plot(interval, [0.97, 0.97], color=INK, lw=0.8, marker="|", ms=4, transform=across)
        middle = (band.low_khz + band.high_khz) / 2
        text = f"{khz(band.low_khz)}–{khz(band.high_khz)} kHz"
        axes.text(middle, 0.93, text, transform=across, ha="center", va="top", size=7, color=INK)
