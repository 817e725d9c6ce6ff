"""Small pictures of clips in a fixed grid: spectrograms and counts, with one scale for each kind."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from pipeline.report.results import Results
from pipeline.report.style import FAINT, cluster_colour, extent_of

FRAME = "#D0D0D0"


def picture(figure: Figure, left_in: float, top_in: float, width_in: float, height_in: float) -> Axes:
    """Axes for a picture, placed in inches from the upper left corner of the figure."""
    total_in, wide_in = figure.get_figheight(), figure.get_figwidth()
    place = (left_in / wide_in, 1 - (top_in + height_in) / total_in, width_in / wide_in, height_in / total_in)
    axes = figure.add_axes(place)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=FRAME)
    return axes


def scale(figure: Figure, image: AxesImage, left_in: float, top_in: float, width_in: float, label: str) -> None:
    """A lying colour scale of an image."""
    axes = picture(figure, left_in, top_in, width_in, 0.07)
    bar = figure.colorbar(image, cax=axes, orientation="horizontal", ticks=MaxNLocator(4))
    bar.set_label(label, size=7, labelpad=1)
    bar.ax.tick_params(labelsize=6, length=2, pad=1)
    bar.outline.set_visible(False)


def _largest(values: np.ndarray, quantile: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, quantile)) if values.size else 1.0


class ClipPictures:
    """Draws the clips of examples.nc, on scales that suit the arrays `sound` and `expected`; units in their order."""

    def __init__(self, examples: xr.Dataset, results: Results, *, sound: str, expected: str):
        self.examples = examples
        self.order, clusters = results.sorted_units([str(unit) for unit in examples["unit"].values])
        self.colours = [cluster_colour(cluster) for cluster in clusters]
        self.is_spikes = examples.attrs["kind"] == "spikes"
        self.mean = examples["mean_count"].values[self.order, None]
        self.top_db = max(_largest(examples[sound].values, 0.998), 1.0)
        self.limit = max(_largest(np.abs(self.change(examples[expected].values)), 0.99), 0.05)

    @property
    def change_label(self) -> str:
        return "expected rate, log2 of the mean rate" if self.is_spikes else "expected trace (SD)"

    def change(self, counts: np.ndarray) -> np.ndarray:
        """Expected counts (..., unit, bin), sorted, as log2 of each unit's mean rate; traces as they are."""
        counts = counts[..., self.order, :]
        return np.log2(np.maximum(counts, 1e-9) / np.maximum(self.mean, 1e-9)) if self.is_spikes else counts

    def sound(self, axes: Axes, spectrogram_db: np.ndarray, *, gain: int = 1, name_axes: bool = False) -> AxesImage:
        """One spectrogram (frequency, frame), its dB times `gain`, which the picture then states."""
        extent = extent_of(self.examples["frame"].values * 1e3, self.examples["frequency"].values / 1e3)
        image = axes.imshow(spectrogram_db * gain, aspect="auto", cmap="Greys", vmin=0, vmax=self.top_db, extent=extent)
        if gain > 1:
            axes.text(
                0.97,
                0.03,
                f"\N{MULTIPLICATION SIGN} {gain}",
                ha="right",
                va="bottom",
                size=6,
                color=FAINT,
                transform=axes.transAxes,
            )
        if name_axes:
            axes.set_yticks(extent[2:], [f"{extent[2]:.0f}", f"{extent[3]:.0f} kHz"])
            axes.set_xticks(extent[:2], ["0", f"{extent[1]:.0f} ms"])
            axes.tick_params(length=0, labelsize=6, pad=2)
        return image

    def counts(self, axes: Axes, counts: np.ndarray, *, expected: bool, name_axes: bool = False) -> AxesImage:
        """Counts (unit, bin) as recorded (spikes: black where there is one), or expected ones against the mean rate."""
        left_ms = self.examples["bin"].values[0] * 1e3
        right_ms = left_ms + self.examples.sizes["bin"] * self.examples.attrs["bin_width_s"] * 1e3
        extent = (left_ms, right_ms, len(self.order), 0)
        common = {"aspect": "auto", "origin": "upper", "extent": extent}
        if expected or not self.is_spikes:
            values = self.change(counts)
            image = axes.imshow(values, cmap="PuOr_r", vmin=-self.limit, vmax=self.limit, **common)
        else:
            image = axes.imshow(counts[self.order] > 0, cmap="Greys", vmin=0, vmax=1, **common)
        if name_axes:
            axes.set_xticks(extent[:2], [f"{left_ms:.0f}", f"{right_ms:.0f} ms"])
            axes.tick_params(length=0, labelsize=6, pad=2)
        return image

    def strip(self, axes: Axes) -> None:
        """The units' clusters as a strip of colours."""
        axes.spines[:].set_visible(False)
        axes.imshow(
            np.arange(len(self.order))[:, None], aspect="auto", cmap=ListedColormap(self.colours), origin="upper"
        )
