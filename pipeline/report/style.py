"""How every figure looks: one type size, one palette, and one colour a cluster in all of them."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import blended_transform_factory

from pipeline.storage import written_whole

WIDTH_IN = 7.2  # two columns of a journal, 183 mm

# Okabe and Ito (2008) without yellow and black, then Tol's muted scheme: told apart with any colour vision.
CLUSTER_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#332288", "#882255", "#999933", "#44AA99", "#AA4499", "#117733",
)  # fmt: skip
SERIES_COLOURS = CLUSTER_COLOURS[::-1]  # of sessions and seeds
NO_CLUSTER = "#8C8C8C"
INK = "#222222"
FAINT = "#6B6B6B"
MODEL = "#0072B2"
BASELINE = "#8C8C8C"
ALARM = "#B3261E"
SIDE_COLOURS = {"audio": "#0072B2", "neural": "#D55E00", "audio+neural": "#882255"}  # inferred from, or serving
SIDES = {"audio": "sound", "neural": "neural data", "audio+neural": "both"}

STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Arial", "Helvetica", "Liberation Sans", "DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": 8,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "text.color": INK,
    "image.interpolation": "nearest",
    "image.origin": "lower",
    "svg.fonttype": "none",  # text stays text: it can be edited before publication
    "svg.hashsalt": "duet",  # the same data give the same bytes
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def new_figure(height_in: float, *, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure with its own canvas, inches."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    FigureCanvasAgg(figure)
    return figure


def in_style():
    """Context in which figures are made and saved."""
    return matplotlib.rc_context(STYLE)


def save_figure(figure: Figure, folder: str | Path, stem: str) -> None:
    """Write `stem`.svg and `stem`.png (200 dpi) into `folder`."""
    with in_style():
        if figure.get_layout_engine() is not None:
            figure.get_layout_engine().execute(figure)
            figure.set_layout_engine("none")  # laid out once, for both files
        for suffix, metadata in ((".svg", {"Date": None, "Creator": None}), (".png", {"Software": None})):
            with written_whole(Path(folder) / f"{stem}{suffix}") as partial:
                figure.savefig(partial, dpi=200, metadata=metadata)


def message_figure(message: str) -> Figure:
    """What stands where a figure has no data: the reason, in words."""
    figure = new_figure(0.9)
    figure.set_layout_engine("none")
    figure.text(0.5, 0.5, message, ha="center", va="center", color=FAINT, wrap=True)
    return figure


def cluster_colour(cluster: int) -> str:
    """The colour of a cluster in all figures and in the report; -1 (no cluster) is grey."""
    return NO_CLUSTER if cluster < 0 else CLUSTER_COLOURS[int(cluster) % len(CLUSTER_COLOURS)]


def cluster_name(cluster: int) -> str:
    return "no cluster" if cluster < 0 else f"cluster {int(cluster)}"


def khz(frequency_khz: float) -> str:
    """A frequency as text without unit: whole kHz, below 10 kHz one decimal."""
    return f"{frequency_khz:.0f}" if frequency_khz >= 10 else f"{frequency_khz:.1f}"


def panel_letter(axes: Axes | SubFigure, letter: str) -> None:
    """A bold letter at the upper left of a panel."""
    if isinstance(axes, SubFigure):
        axes.text(0.0, 1.0, letter, weight="bold", size=10, ha="left", va="top")
    else:
        axes.set_title(letter, loc="left", weight="bold", size=10)


def span_label(axes: Axes, x: float, text: str, *, colour: str = INK, y: float = 1.02) -> None:
    """Text above `axes` at data position `x`."""
    transform = blended_transform_factory(axes.transData, axes.transAxes)
    axes.text(x, y, text, color=colour, transform=transform, ha="center", va="bottom", size=7, clip_on=False)


def extent_of(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    """Edges (left, right, bottom, top) of an image whose evenly spaced pixel centres are `x` and `y`."""
    half_x = (x[1] - x[0]) / 2 if len(x) > 1 else 0.5
    half_y = (y[1] - y[0]) / 2 if len(y) > 1 else 0.5
    return float(x[0] - half_x), float(x[-1] + half_x), float(y[0] - half_y), float(y[-1] + half_y)
