"""Rows of `model_comparison` as figures need them: one measure, one row a model, named for readers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.mapping.names import readable
from pipeline.report.results import Results
from pipeline.report.style import BASELINE, INK


def labels(rows: pd.DataFrame) -> pd.Series:
    """Names for readers; with the size of the latent space where models of several sizes were trained."""
    is_model = ~rows["objective"].str.startswith("baseline:")
    name = rows["objective"].map(readable)
    if rows.loc[is_model, "latent_dim"].nunique() < 2:
        return name
    return name.where(~is_model, name + ", " + rows["latent_dim"].astype(int).astype(str) + " latents")


def measured(results: Results, metric: str) -> pd.DataFrame:
    """The families' means over seeds of one measure on the test blocks, with `label` and `is_primary`."""
    rows = results.table("model_comparison")
    if rows.empty:
        return rows
    rows = rows[rows["metric"].eq(metric) & rows["split"].eq("test") & rows["seed"].lt(0)]
    rows = rows[~rows["objective"].str.startswith("baseline:") & np.isfinite(rows["value"].astype(float))]
    primary = results.primary or {"family": None, "latent_dim": None}
    is_primary = rows["objective"].eq(primary["family"]) & rows["latent_dim"].eq(primary["latent_dim"])
    return rows.assign(label=labels(rows), is_primary=is_primary)


def with_interval(axes: Axes, value: float, se: float, height: float, colour: str, *, marker: str = "o") -> None:
    """A dot with its 95 % interval over blocks, lying."""
    if np.isfinite(se):
        axes.plot([value - 1.96 * se, value + 1.96 * se], [height, height], color=colour, lw=1.2)
    axes.plot(value, height, marker, ms=5, color=colour, mec="white", mew=0.6)


def name_rows(axes: Axes, names: list[str], bold: list[bool]) -> None:
    """Names of the rows, from below; the primary model's is bold."""
    axes.set_yticks(range(len(names)), names, parse_math=False)
    for tick, strong in zip(axes.get_yticklabels(), bold, strict=True):
        tick.set(weight="bold" if strong else "normal", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(names) - 0.3)
    for height in range(len(names)):
        axes.axhline(height, color=BASELINE, lw=0.3, alpha=0.4, zorder=0)
