"""What each latent dimension changes, in sound and in spikes

The primary model's active latents (those with most information first), moved from -2 to +2 standard deviations with
all others at their mean. Grey: the decoded spectrogram, dB above the noise floor. Right of it: what the move from -2 to
+2 SD changes, in dB and as the log2 ratio of each unit's expected rate; units are sorted by cluster (colour strip).
Time runs from the start of the clip. In brackets: latents that do not repeat over seeds. Another training would show
others: read nothing off a single one.
"""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from pipeline.report.latents import latent_name
from pipeline.report.results import NoData, Results
from pipeline.report.style import cluster_colour, extent_of, new_figure

PLACE = 70
MAX_LATENTS = 8


def draw(results: Results) -> Figure:
    """One row a latent: decoded spectrograms along it, then the changes of sound and of rates."""
    traversal = results.traversal
    if traversal is None or not traversal.sizes.get("latent"):
        raise NoData("The run has no model whose latents could be shown.")
    latents = _active(results, traversal)[:MAX_LATENTS]
    has_audio = "audio_db" in traversal and traversal["audio_db"].size > 0
    has_units = "expected_count" in traversal and traversal["expected_count"].size > 0
    height_in = 1.15 + 0.75 * len(latents)
    figure = new_figure(height_in)
    figure.set_layout_engine("none")  # a fixed grid: rows of small pictures, one scale below each group
    if has_audio:
        _sound(figure, traversal, latents)
    if has_units:
        _rates(figure, traversal, latents, results)
    table = results.table("latents")
    reported_as = dict(zip(table["latent"], table["reported_as"], strict=True)) if len(table) else {}
    for row, latent in enumerate(latents):
        _, bottom, _, height = _place(figure, row, 0, 1)
        name = latent_name(latent, reported_as.get(latent))
        figure.text(0.012, bottom + height / 2, name, weight="bold", size=9, va="center")
    return figure


def _place(figure: Figure, row: int, left: float, width: float) -> tuple[float, float, float, float]:
    """Position of a picture in row `row`; row -1 is the strip for the scales below. Fractions of the figure."""
    height_in = figure.get_figheight()
    bottom_in = 0.4 if row < 0 else height_in - 0.25 - 0.75 * (row + 1) + 0.08
    return left, bottom_in / height_in, width, (0.07 if row < 0 else 0.67) / height_in


def _picture(figure: Figure, row: int, left: float, width: float) -> Axes:
    axes = figure.add_axes(_place(figure, row, left, width))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _scale(figure: Figure, image: AxesImage, left: float, width: float, label: str) -> None:
    axes = figure.add_axes(_place(figure, -1, left, width))
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", ticks=MaxNLocator(4))
    bar.set_label(label, size=7, labelpad=1)
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    bar.outline.set_visible(False)


def _sound(figure: Figure, traversal: xr.Dataset, latents: list[int]) -> None:
    """Spectrograms at five steps, and the change between the ends."""
    decoded_db = traversal["audio_db"].values[latents]  # (latent, step, frequency, frame)
    sd_steps = traversal["sd_steps"].values
    shown = np.unique(np.round(np.linspace(0, len(sd_steps) - 1, 5)).astype(int))
    change_db = decoded_db[:, -1] - decoded_db[:, 0]
    top_db, limit_db = max(float(np.nanquantile(decoded_db, 0.999)), 1.0), float(np.nanmax(np.abs(change_db))) or 1.0
    extent = extent_of(traversal["frame"].values * 1e3, traversal["frequency"].values / 1e3)
    lefts = [0.095 + 0.088 * i for i in range(5)]
    for row in range(len(latents)):
        for left, step in zip(lefts, shown, strict=False):
            axes = _picture(figure, row, left, 0.083)
            sound = axes.imshow(decoded_db[row, step], aspect="auto", cmap="Greys", vmin=0, vmax=top_db, extent=extent)
            if row == 0:
                axes.set_title(f"{sd_steps[step]:+.0f} SD" if sd_steps[step] else "mean", loc="center", size=7)
            axes.spines[:].set(visible=True, color="#D0D0D0")
            if row == len(latents) - 1 and step == shown[0]:
                axes.set_yticks(extent[2:], [f"{extent[2]:.0f}", f"{extent[3]:.0f} kHz"])
                axes.set_xticks(extent[:2], ["0", f"{extent[1]:.0f} ms"])
                axes.tick_params(length=0, labelsize=6, pad=2)
        axes = _picture(figure, row, 0.565, 0.083)
        change = axes.imshow(change_db[row], aspect="auto", cmap="RdBu_r", vmin=-limit_db, vmax=limit_db, extent=extent)
        axes.spines[:].set(visible=True, color="#D0D0D0")
        if row == 0:
            axes.set_title("change", loc="center", size=7)
    _scale(figure, sound, lefts[1], 0.259, "dB above floor")
    _scale(figure, change, 0.565, 0.083, "dB")


def _rates(figure: Figure, traversal: xr.Dataset, latents: list[int], results: Results) -> None:
    """log2 ratio of the units' expected counts (difference of traces) between the ends, sorted as in every figure."""
    order, cluster_of = results.sorted_units([str(unit) for unit in traversal["unit"].values])
    counts = traversal["expected_count"].values[latents][:, :, order]
    is_spikes = traversal.attrs["kind"] == "spikes"
    ends = np.log2(np.maximum(counts[:, [0, -1]], 1e-9)) if is_spikes else counts[:, [0, -1]]
    fold = ends[:, 1] - ends[:, 0]
    limit = float(np.nanquantile(np.abs(fold), 0.99)) or 1.0
    colours = [cluster_colour(cluster) for cluster in cluster_of]
    left_ms, right_ms = extent_of(traversal["bin"].values * 1e3, np.arange(2))[:2]
    width_ms = (right_ms - left_ms) / traversal.sizes["bin"]  # bins are named by their start
    for row in range(len(latents)):
        strip = _picture(figure, row, 0.695, 0.012)
        strip.imshow(np.arange(len(order))[:, None], aspect="auto", cmap=ListedColormap(colours), origin="upper")
        axes = _picture(figure, row, 0.71, 0.255)
        extent = (left_ms + width_ms / 2, right_ms + width_ms / 2, len(order), 0)
        image = axes.imshow(
            fold[row], aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit, origin="upper", extent=extent
        )
        if row == 0:
            axes.set_title("change of rate, units sorted by cluster", loc="center", size=7)
        if row == len(latents) - 1:
            axes.set_xticks(extent[:2], [f"{extent[0]:.0f}", f"{extent[1]:.0f} ms"])
            axes.tick_params(length=0, labelsize=6, pad=2)
    _scale(figure, image, 0.76, 0.155, "log2 ratio, -2 to +2 SD" if is_spikes else "SDs of the trace, -2 to +2 SD")


def _active(results: Results, traversal: xr.Dataset) -> list[int]:
    """Active latents of the primary model by falling KL; all latents where the table does not say."""
    n_latents = traversal.sizes["latent"]
    table = results.table("latents")
    if len(table):
        table = table[(table["objective"] == results.primary["family"]) & table["active"].astype(bool)]
        table = table[table["latent_dim"] == results.primary["latent_dim"]].sort_values("kl_nat", ascending=False)
    active = [int(latent) for latent in table.get("latent", []) if latent < n_latents]
    return active or list(range(n_latents))
