"""Controls: how often would the tests find something where nothing is?

The share of tests with p at or below the nominal level when the link between sound and spikes is broken: neural data
shifted by minutes, reversed in time, or paired with the sound of another session. Bars: two standard errors over draws
and sessions; dashed line: the nominal level; a control above twice the nominal level, beyond its error, turns the trust
in every row to low and is drawn in red. Open diamonds: the share of units that are significant in the data, after
correction for multiple tests.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import ALARM, FAINT, INK, new_figure

PLACE = 80
LEVELS = {"vocal": "vocal modulation", "band": "band selectivity"}


def draw(results: Results) -> Figure:
    """Fractions of significant tests of every control, one panel a level of test."""
    table = results.table("controls")
    table = table[np.isfinite(table["value"].astype(float))] if len(table) else table
    if table.empty:
        raise NoData("No controls were run: there is no link between sound and units to test.")
    levels = [level for level in LEVELS if level in set(table["level"])]
    names = list(dict.fromkeys(table["control"]))
    figure = new_figure(1.0 + 0.3 * (len(names) + 1))
    grid = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axes, level in zip(grid, levels, strict=True):
        rows = table[table["level"] == level]
        for row in rows.itertuples():
            height = len(names) - names.index(row.control)
            low, high = 100 * max(row.value - 2 * row.se, 0), 100 * (row.value + 2 * row.se)
            colour = ALARM if row.trust == "low" else INK
            if np.isfinite(row.se):
                axes.plot([low, high], [height, height], color=colour, lw=1.2)
            axes.plot(100 * row.value, height, "o", ms=5, color=colour)
            right = high if np.isfinite(high) else 100 * row.value
            _note(axes, max(right, 100 * row.baseline), height, f"of {row.n:.0f}")
        found, tested = results.summary.get(f"n_units_{level}"), results.summary.get("n_units_included")
        if found is not None and tested:
            axes.plot(100 * found / tested, 0, "D", ms=6, mfc="white", mec=INK)
            _note(axes, 100 * found / tested, 0, f"{found} of {tested} units")
        axes.axvline(100 * rows["baseline"].iloc[0], color=FAINT, lw=0.8, ls="--")
        axes.set_title(LEVELS[level], weight="bold")
        axes.set_xlim(0, max(40.0, 1.3 * axes.get_xlim()[1]))
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 100])
        axes.set_ylim(-0.6, len(names) + 0.6)
        axes.set_xlabel("significant (%)")
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks([*range(len(names), 0, -1), 0], [*(name.replace("_", " ") for name in names), "the data"])
    return figure


def _note(axes: Axes, x: float, height: float, text: str) -> None:
    axes.annotate(text, (x, height), (7, 0), textcoords="offset points", va="center", size=7, color=FAINT)
