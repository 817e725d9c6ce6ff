"""What further modalities tell of the neural data, and what the two sides tell of them

One row a modality beside sound and neural data (behaviour, a second probe, band power of the LFP). a, neural data of
the test blocks as each family predicts them from sound, from that modality, and from both together: to the right of
sound is what the modality adds. b, that modality as predicted from itself (a reconstruction), from sound, from the
neural data, and from both. Only sessions that have the modality; each dot rests on those test clips that hold what is
given and what is predicted, with its 95 % interval over blocks. Bold: the primary model.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.clips import MODALITIES
from pipeline.mapping.choice import over_seeds, pooled_scores
from pipeline.mapping.measures import NEURAL_METRICS
from pipeline.report.families import labels, name_rows, with_interval
from pipeline.report.results import NoData, Results
from pipeline.report.style import INK, SIDE_COLOURS, SIDES, new_figure, panel_letter

PLACE = 68
OWN, WITH_SOUND = "#009E73", "#332288"  # inferred from the modality, and from it and sound


def draw(results: Results) -> Figure:
    """Two panels for each modality; a group of dots for each family."""
    metrics = results.metrics
    names = []
    if len(metrics):
        names = sorted(set(metrics.loc[metrics["metric"].eq("explained_variance"), "target"]) - set(MODALITIES))
    if not names:
        raise NoData("No modality beside sound and neural data (section extra of the configuration).")
    rows = {name: _scores(results, name) for name in names}
    n_families = max(found["label"].nunique() for found in rows.values())
    figure = new_figure(len(names) * (1.1 + 0.3 * n_families))
    panels = figure.subplots(len(names), 2, squeeze=False)
    for (left, right), (name, found) in zip(panels, rows.items(), strict=True):
        readable = name.replace("_", " ")
        sources = {"audio": (SIDE_COLOURS["audio"], "sound"), name: (OWN, readable)}
        sources[f"audio+{name}"] = (WITH_SOUND, f"sound and {readable}")
        of_neural = found[found["target"].eq("neural") & found["metric"].isin(NEURAL_METRICS)]
        _dots(left, of_neural, sources)
        left.set_xlabel(f"neural data ({of_neural['unit'].iloc[0] if len(of_neural) else 'bits'})")
        sides = {side: (colour, SIDES[side]) for side, colour in SIDE_COLOURS.items()}
        own = found[found["target"].eq(name) & found["metric"].eq("explained_variance")]
        _dots(right, own, {name: (OWN, "itself")} | sides)
        right.set_xlabel(f"explained variance of {readable}", parse_math=False)
    panel_letter(panels[0, 0], "a")
    panel_letter(panels[0, 1], "b")
    return figure


def _scores(results: Results, name: str) -> pd.DataFrame:
    """Means over seeds on the test blocks of sessions that have a modality, with label, is_primary, value and se."""
    metrics = results.metrics
    sessions = metrics.loc[metrics["given"].eq(name), "session"].unique()
    chosen = metrics["session"].isin(sessions) & metrics["split"].eq("test")
    chosen &= metrics["metric"].isin((*NEURAL_METRICS, "explained_variance"))
    rows = over_seeds(pooled_scores(metrics[chosen & ~metrics["objective"].str.startswith("baseline:")]))
    primary = results.primary or {"family": None, "latent_dim": None}
    return rows.assign(
        label=labels(rows),
        is_primary=rows["objective"].eq(primary["family"]) & rows["latent_dim"].eq(primary["latent_dim"]),
        value=np.array([score.value for score in rows["score"]], float),
        se=np.array([score.se for score in rows["score"]], float),
    ).dropna(subset="value")


def _dots(axes: Axes, rows: pd.DataFrame, given: dict[str, tuple[str, str]]) -> None:
    """Families from below, the primary one on top; for each what is predicted from each of `given`."""
    if len(rows):
        order = rows.sort_values(["is_primary", "label"], kind="stable").drop_duplicates("label")
        names, bold = list(order["label"]), list(order["is_primary"])
        for place, (source, (colour, _)) in enumerate(given.items()):
            shift = 0.12 * ((len(given) - 1) / 2 - place)
            for row in rows[rows["given"].eq(source)].itertuples():
                with_interval(axes, row.value, row.se, names.index(row.label) + shift, colour)
        name_rows(axes, names, bold)
        axes.set_ylim(-0.6, len(names) + 0.35)
    axes.axvline(0, color=INK, lw=0.6)
    axes.margins(x=0.08)
    for place, (colour, label) in enumerate(given.values()):
        axes.text(0.98, 0.99, "\n" * place + f"from {label}", color=colour, size=7, ha="right", va="top",
                  transform=axes.transAxes, parse_math=False)  # fmt: skip
