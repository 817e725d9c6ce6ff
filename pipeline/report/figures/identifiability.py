"""What can be read from the latents, and what from the sound at all

Share of the variance in test blocks that ridge regression (pale) and kernel ridge regression (full) read from the
primary model's latents, inferred from the sound, from the neural data or from both; whiskers: 95 % intervals over
blocks. Black bar: the better of the same two decoders on the data themselves. Pitch, level and duration are those of
the sound in a clip; of simulated sessions also the planted pitch, and the pressure and length of the vocal organ that
made it (pitch, pressure and length as logarithms). Diamond: from the planted pitch, level and duration, known exactly.
Pitch is a sum of log pressure and log length: what tells the pitch does not tell how the two share in it.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.report.identifiability import DECODERS, PLANTED, SOUND, readings
from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, SIDE_COLOURS, SIDES, new_figure, panel_letter

PLACE = 69
LOWEST = -0.3  # where the axis ends, at the latest: so few clips that it is worse tell nothing
HEIGHT = 0.34  # of a bar, rows
DIAMOND = {"marker": "D", "ms": 4.5, "ls": "", "color": "white", "mec": INK, "mew": 0.9}


def draw(results: Results) -> Figure:
    """Two bars a factor, one panel for each side that latents are inferred from."""
    rows = readings(results)
    sides = [side for side in SIDES if len(rows) and (rows["source"].eq("model") & rows["given"].eq(side)).any()]
    if not sides:
        raise NoData("No model was tested on what can be read from its latents.")
    factors = [name for name in (*SOUND, *PLANTED) if rows["target"].eq(name).any()]
    figure = new_figure(1.15 + 0.27 * len(factors))
    panels = figure.subplots(1, len(sides), sharex=True, sharey=True, squeeze=False)[0]
    for axes, side, letter in zip(panels, sides, "abc", strict=False):
        for place, factor in enumerate(factors[::-1]):
            _row(axes, rows[rows["target"].eq(factor)], side, place)
        axes.axvline(0, color=INK, lw=0.6)
        axes.set_title(f"from {SIDES[side]}", loc="right", color=SIDE_COLOURS[side])
        axes.tick_params(axis="y", length=0)
        if len(factors) > len(SOUND):
            axes.axhline(len(PLANTED) - 0.5, color=FAINT, lw=0.5, ls=":")
        if len(sides) > 1:
            panel_letter(axes, letter)
    panels[0].set_yticks(range(len(factors)), [name.replace("_", " ") for name in factors[::-1]])
    panels[0].set_ylim(-0.6, len(factors) - 0.4)
    panels[0].set_xlim(np.clip(panels[0].get_xlim()[0], LOWEST, -0.04), 1.04)
    figure.supxlabel("explained variance, test blocks", size=8)
    keys = [
        Patch(color=FAINT, alpha=alpha, lw=0, label=name) for name, alpha in (("ridge", 0.4), ("kernel ridge", 1.0))
    ]
    keys.append(Line2D([], [], ls="", marker="|", ms=8, mew=2, color=INK, label="from the data themselves"))
    if PLANTED[0] in factors:
        keys.append(Line2D([], [], **DIAMOND, label="from the planted sound"))
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), fontsize=7, frameon=False)
    return figure


def _row(axes: Axes, rows: pd.DataFrame, side: str, place: int) -> None:
    model = rows[rows["source"].eq("model") & rows["given"].eq(side)]
    for decoder, shift, alpha in zip(DECODERS, (0.5, -0.5), (0.4, 1.0), strict=True):
        for row in model[model["decoder"].eq(decoder)].itertuples():
            height = place + shift * HEIGHT
            axes.barh(height, row.value, HEIGHT, color=SIDE_COLOURS[side], alpha=alpha, lw=0)
            if np.isfinite(row.se):
                axes.plot([row.value - 1.96 * row.se, row.value + 1.96 * row.se], [height, height], color=INK, lw=0.8)
    data = rows[rows["source"].eq("data") & rows["given"].eq(side)]["value"].max()
    if np.isfinite(data):
        axes.plot([data, data], [place - HEIGHT, place + HEIGHT], color=INK, lw=2, solid_capstyle="butt")
    exact = rows[rows["source"].eq("exact")]["value"].max()
    if side == "audio" and np.isfinite(exact) and rows["target"].isin(PLANTED).any():
        axes.plot(exact, place, **DIAMOND, zorder=3)
