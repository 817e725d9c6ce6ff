"""Controls: how often would the tests find something where nothing is?

The share of tests with p at or below the nominal level when the link between sound and spikes is broken: neural data
shifted by minutes, reversed in time, or paired with the sound of another session. Bars: 95 % (Wilson) intervals; dashed
line: the nominal level; a control above twice the nominal level turns the trust in every row to low. Open diamonds: the
share of units that are significant in the data, after correction for multiple tests.
"""

import numpy as np
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import ALARM, FAINT, INK, new_figure

PLACE = 80
LEVELS = {"vocal": "vocal modulation", "band": "band selectivity"}


def draw(results: Results) -> Figure:
    """Fractions of significant tests of every control, one panel a level of test."""
    controls = [c for c in results.summary.get("controls", []) if c.get("n") and np.isfinite(c.get("fraction", np.nan))]
    if not controls:
        raise NoData("No controls were run: there is no link between sound and units to test.")
    levels = sorted({c["level"] for c in controls}, key=lambda level: ([*LEVELS, level].index(level), level))
    names = list(dict.fromkeys(c["control"] for c in controls))
    figure = new_figure(1.0 + 0.3 * (len(names) + 1))
    grid = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    for axes, level in zip(grid, levels, strict=True):
        nominal = next((c["nominal"] for c in controls if c["level"] == level), 0.05)
        for control in (c for c in controls if c["level"] == level):
            height = len(names) - names.index(control["control"])
            low, high = 100 * wilson(control["fraction"], control["n"])
            colour = ALARM if control.get("trust") == "low" else INK
            axes.plot([low, high], [height, height], color=colour, lw=1.2)
            axes.plot(100 * control["fraction"], height, "o", ms=5, color=colour)
            axes.annotate(f"of {control['n']}", (high, height), (4, 0), textcoords="offset points", va="center", size=7,
                          color=FAINT)  # fmt: skip
        found, tested = results.summary.get(f"n_units_{level}"), results.summary.get("n_units_included")
        if found is not None and tested:
            axes.plot(100 * found / tested, 0, "D", ms=6, mfc="white", mec=INK)
            axes.annotate(f"{found} of {tested} units", (100 * found / tested, 0), (6, 0), textcoords="offset points",
                          va="center", size=7, color=FAINT)  # fmt: skip
        axes.axvline(100 * nominal, color=FAINT, lw=0.8, ls="--")
        axes.set_title(LEVELS.get(level, level), weight="bold")
        axes.set_xlim(0, max(40.0, 1.3 * axes.get_xlim()[1]))
        axes.set_ylim(-0.6, len(names) + 0.6)
        axes.set_xlabel("significant (%)")
    grid[0].set_yticks([*range(len(names), 0, -1), 0], [*(name.replace("_", " ") for name in names), "the data"])
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    return figure


def wilson(fraction: float, n: int, *, z: float = 1.96) -> np.ndarray:
    """95 % interval (low, high) of a share of `n` (Wilson 1927)."""
    centre = (fraction + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.array([centre - half, centre + half])
