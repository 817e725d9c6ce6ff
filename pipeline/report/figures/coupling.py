"""Which frequencies go with which units, according to the model

The rotation-invariant map of the primary model: how sound level in a band (rows) and the log rate of a unit (columns)
move together through the latent space, on held-out clips. Units are sorted by cluster and by best frequency; boxes mark
the bands of the clusters as the data's own tuning gives them. Red: both rise together; blue: one rises as the other
falls. The colours end at the 99th percentile of the absolute values.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, cluster_colour, cluster_name, new_figure, span_label

PLACE = 50
MAX_UNITS = 400  # beyond this, units without cluster are left out: columns would be thinner than a pixel


def draw(results: Results) -> Figure:
    """Heat map, bands x units."""
    table = results.table("coupling")
    if table.empty:
        raise NoData("The run has no model of both sound and spikes, so there is no coupling map.")
    wide = table.assign(centre=(table["band_low_khz"] + table["band_high_khz"]) / 2).pivot_table(
        index="centre", columns="unit_id", values="coupling_db_log_rate", sort=True
    )
    order, cluster_of = results.sorted_units(list(wide.columns))
    if len(order) > MAX_UNITS:
        kept = np.flatnonzero(cluster_of >= 0) if (cluster_of >= 0).any() else np.arange(MAX_UNITS)
        order, cluster_of = order[kept], cluster_of[kept]
    values = wide.to_numpy()[:, order]
    limit = float(np.nanquantile(np.abs(values), 0.99)) or 1.0
    low_khz, high_khz = table["band_low_khz"].min(), table["band_high_khz"].max()
    figure = new_figure(3.1)
    axes = figure.subplots()
    image = axes.imshow(
        values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(0, len(order), low_khz, high_khz)
    )
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=20)
    bar.set_label("coupling (dB × log rate)")
    bar.outline.set_visible(False)
    _mark_clusters(axes, cluster_of, results)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks([0.5, len(order) - 0.5], ["1", str(len(order))])
    axes.set(xlabel="unit, sorted by cluster", ylabel="frequency (kHz)")
    return figure


def _mark_clusters(axes: Axes, cluster_of: np.ndarray, results: Results) -> None:
    bands = results.table("cluster_bands")
    for cluster in np.unique(cluster_of):
        columns = np.flatnonzero(cluster_of == cluster)
        first, last = columns[0], columns[-1] + 1
        colour = cluster_colour(cluster)
        axes.plot([first, last], [1.01, 1.01], color=colour, lw=3, transform=axes.get_xaxis_transform(), clip_on=False,
                  solid_capstyle="butt")  # fmt: skip
        span_label(axes, (first + last) / 2, cluster_name(cluster), colour=colour if cluster >= 0 else FAINT, y=1.03)
        if len(bands):
            for band in bands[bands["cluster"] == cluster].itertuples():
                if np.isfinite(band.low_khz) and np.isfinite(band.high_khz):
                    box = (first, band.low_khz), last - first, band.high_khz - band.low_khz
                    halo = withStroke(linewidth=2.6, foreground="white")
                    axes.add_patch(Rectangle(*box, fill=False, edgecolor=colour, lw=1.4, path_effects=[halo]))
