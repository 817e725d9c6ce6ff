"""Sound and neural data that the model makes up together, and whether they belong together

a, draws from the primary model's own prior, each decoded to sound (top; dB above the noise floor) and to the neural
side (below; log2 of each unit's expected rate over its mean rate, traces in SDs; units sorted by cluster). b,
coherence: a ridge regression, fitted on real clips, reads the pitch and the level of the sound from the counts; r is
the correlation of what it reads from the decoded counts with what the decoded sound shows, with a 95 % interval over
draws. Grey band: the same for real held-out pairs, 95 % interval over blocks; decoded rates lack the noise of spikes,
so that a model may lie above it. Open circles: draws whose sound and neural data were paired at random.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.families import measured, name_rows, with_interval
from pipeline.report.pictures import ClipPictures, picture, scale
from pipeline.report.results import NoData, Results
from pipeline.report.style import BASELINE, FAINT, INK, MODEL, new_figure

PLACE = 64
WIDTH_IN, SOUND_IN, RATE_IN, GAP_IN = 0.76, 0.72, 0.72, 0.06


def draw(results: Results) -> Figure:
    """A row of draws, and the coherence of every family below it."""
    examples, coherence = results.examples, measured(results, "joint_coherence")
    has_draws = examples is not None and examples.sizes["draw"] > 0
    if not has_draws and coherence.empty:
        raise NoData("No model of both sides whose draws could be shown.")
    n_rows = coherence["label"].nunique() if len(coherence) else 0
    top_in = 2.35 if has_draws else 0.0
    below_in = 0.75 + 0.22 * n_rows if n_rows else 0.0
    figure = new_figure(top_in + below_in + 0.1)
    figure.set_layout_engine("none")  # a fixed grid of small pictures
    if has_draws:
        _draws(figure, ClipPictures(examples, results, sound="drawn_audio_db", expected="drawn_count"))
    if n_rows:
        _coherence(figure, coherence, top_in, n_rows)
    for letter, here_in, shown in (("a", 0.12, has_draws), ("b", top_in + 0.12, n_rows and has_draws)):
        if shown:
            figure.text(0.005, 1 - here_in / figure.get_figheight(), letter, weight="bold", size=10, va="center")
    return figure


def _draws(figure: Figure, pictures: ClipPictures) -> None:
    examples = pictures.examples
    for column in range(examples.sizes["draw"]):
        left_in = 0.5 + column * (WIDTH_IN + GAP_IN)
        upper = picture(figure, left_in, 0.25, WIDTH_IN, SOUND_IN)
        lower = picture(figure, left_in, 0.25 + SOUND_IN + 0.14, WIDTH_IN, RATE_IN)
        upper.set_title(f"draw {column + 1}", loc="center", size=7)
        sound = pictures.sound(upper, examples["drawn_audio_db"].values[column], name_axes=column == 0)
        rates = pictures.counts(lower, examples["drawn_count"].values[column], expected=True, name_axes=column == 0)
    pictures.strip(picture(figure, 0.42, 0.25 + SOUND_IN + 0.14, 0.05, RATE_IN))
    scale(figure, sound, 1.9, 2.02, 1.4, "dB above floor")
    scale(figure, rates, 4.3, 2.02, 1.8, pictures.change_label)


def _coherence(figure: Figure, coherence: pd.DataFrame, top_in: float, n_rows: int) -> None:
    order = list(coherence.sort_values("is_primary", kind="stable")["label"].drop_duplicates())
    bold = [bool(coherence.loc[coherence["label"].eq(label), "is_primary"].any()) for label in order]
    height_in = 0.22 * n_rows
    wide_in = figure.get_figwidth()
    for panel, factor in enumerate(("pitch", "level")):
        left_in = 1.35 + panel * 3.0
        place = (left_in / wide_in, 0.5 / figure.get_figheight(), 2.55 / wide_in, height_in / figure.get_figheight())
        axes = figure.add_axes(place)
        rows = coherence[coherence["target"].eq(factor)].set_index(["label", "given"])
        _band(axes, rows)
        for height, label in enumerate(order):
            if (label, "shuffled") in rows.index:
                shuffled = rows.loc[(label, "shuffled")]
                axes.plot(shuffled["value"], height, "o", ms=4, mfc="white", mec=FAINT, mew=0.8)
            if (label, "prior") in rows.index:
                drawn = rows.loc[(label, "prior")]
                with_interval(axes, drawn["value"], drawn["se"], height, MODEL)
        name_rows(axes, order if panel == 0 else [""] * n_rows, bold)
        axes.axvline(0, color=INK, lw=0.6)
        axes.set_xlabel(f"coherence of the {factor} (r)")


def _band(axes: Axes, rows: pd.DataFrame) -> None:
    """The figure of real pairs, which is the same for every family."""
    if "real" not in rows.index.get_level_values("given"):
        return
    real = rows.xs("real", level="given").iloc[0]
    half = 1.96 * real["se"] if np.isfinite(real["se"]) else 0.0
    axes.axvspan(real["value"] - half, real["value"] + half, color=BASELINE, alpha=0.3, lw=0)
    axes.axvline(real["value"], color=BASELINE, lw=1)
    axes.text(real["value"], 1.0, "real pairs", transform=axes.get_xaxis_transform(), ha="center", va="bottom", size=6,
              color=FAINT)  # fmt: skip
