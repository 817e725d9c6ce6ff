"""What was recovered of the planted truth

Simulated sessions only. a, agreement of clusters with the planted ones (adjusted Rand index over assigned units) and
overlap (intersection over union) of each planted band with the best cluster's; 1 is perfect. b, shares of the planted
kinds of units that were found to change with calls, to prefer a band, and that were put into a cluster: tuned units
should be found; vocal units fire to any call and should only change with calls; unrelated units should not be found.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, new_figure, panel_letter

PLACE = 5
SHARES = {
    "share_vocally_modulated": ("change with calls", "#222222"),
    "share_band_selective": ("prefer a band", "#7A7A7A"),
    "share_in_cluster": ("in a cluster", "#A8A8A8"),
}


def draw(results: Results) -> Figure:
    """Agreement with the planted clusters and bands, and what was found of each kind of unit."""
    table = results.table("recovery")
    if table.empty:
        raise NoData("The sessions are not simulated: there is no planted truth.")
    table = table[np.isfinite(table["value"].astype(float))]
    agreement = table[table["metric"].isin(["cluster_ari", "band_iou"])]
    shares = table[table["metric"].isin(SHARES)]
    figure = new_figure(1.0 + 0.24 * max(len(agreement) + 2, 2 * shares["of"].nunique() + 2))
    left, right = figure.subplots(1, 2)
    _agreement(left, agreement, table)
    _shares(right, shares)
    for letter, axes in zip("ab", (left, right), strict=True):
        panel_letter(axes, letter)
        axes.tick_params(axis="y", length=0)
    return figure


def _agreement(axes: Axes, rows: pd.DataFrame, table: pd.DataFrame) -> None:
    names = ["clusters" if row.metric == "cluster_ari" else f"band {row.of}" for row in rows.itertuples()]
    for height, value in zip(range(len(rows), 0, -1), rows["value"], strict=True):
        axes.plot([0, value], [height, height], color="#D0D0D0", lw=1, zorder=0)
        axes.plot(value, height, "o", ms=5, color=INK, clip_on=False)
        axes.text(value + 0.03, height, f"{value:.2f}", va="center", size=7, color=FAINT)
    axes.set_yticks(range(len(rows), 0, -1), names, parse_math=False)
    axes.set(xlim=(min(0, rows["value"].min()), 1.1), ylim=(-1.2, len(rows) + 0.6), xlabel="agreement")
    axes.set_xticks([0, 0.5, 1])
    told = []
    for metric, what in (("median_peak_error", "best frequency"), ("median_lag_error", "lag")):
        for row in table[table["metric"] == metric].itertuples():
            told.append(f"{what} off by {row.value:.2g} {row.unit}")
    if told:
        axes.text(0.02, 0.02, "median " + "\nmedian ".join(told), transform=axes.transAxes, size=7, color=FAINT)


def _shares(axes: Axes, rows: pd.DataFrame) -> None:
    kinds = list(dict.fromkeys(rows["of"]))
    for place, (metric, (name, colour)) in enumerate(SHARES.items()):
        for row in rows[rows["metric"] == metric].itertuples():
            height = len(kinds) - kinds.index(row.of) + 0.25 * (1 - place)
            axes.barh(height, 100 * row.value, 0.2, color=colour)
            axes.text(100 * row.value + 2, height, f"{100 * row.value:.0f} %", va="center", size=6, color=FAINT)
        axes.text(0.02 + 0.36 * place, 0.02, name, color=colour, transform=axes.transAxes, size=7)
    numbers = rows.groupby("of")["n"].first()
    axes.set_yticks(range(len(kinds), 0, -1), [f"{kind}\n({numbers[kind]})" for kind in kinds], parse_math=False)
    axes.set(xlim=(0, 112), ylim=(0.1, len(kinds) + 0.6), xlabel="share of units (%)")
    axes.set_xticks([0, 50, 100])
