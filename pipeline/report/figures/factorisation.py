"""Which latents serve the sound, which the neural data, which both

a, sensitivity of the primary model's decoders to each latent: the change for +1 SD of the latent, of the sound
(upwards, in SDs of the log spectrogram) and of the neural data (downwards; log rate, or SDs of traces); root mean
square over a clip, mean over test clips. Latents are sorted by the share of the sound; a latent belongs to one side
where 0.9 or more of its sensitivity does; grey: inactive, or of a further modality. In brackets: latents that do not
repeat over seeds, parts of a subspace only. b, factorisation of every family, 0 where all latents serve all modalities
alike and 1 where each serves one alone, with 95 % intervals over blocks. Neither end is better: it says how a model
splits what it knows. Bold: the primary model.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipeline.report.families import measured, name_rows, with_interval
from pipeline.report.latents import latent_name
from pipeline.report.results import NoData, Results
from pipeline.report.style import FAINT, INK, MODEL, NO_CLUSTER, SIDE_COLOURS, new_figure, panel_letter

PLACE = 72
SPACES = {"audio": "sound", "shared": "shared", "neural": "neural data", "inactive": "inactive"}
COLOURS = {"audio": SIDE_COLOURS["audio"], "neural": SIDE_COLOURS["neural"], "shared": SIDE_COLOURS["audio+neural"]}
MAX_NAMED = 40


def draw(results: Results) -> Figure:
    """Two bars a latent, and the score of each family."""
    latents, scores = _latents(results), measured(results, "factorisation")
    if latents.empty:
        raise NoData("No model of both sides whose latents could be assigned.")
    figure = new_figure(max(2.6, 0.9 + 0.22 * len(scores)))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [2.4, 1]})
    units = results.metrics.query("metric == 'sensitivity' and target == 'neural'")["unit"]
    _bars(left, latents, unit=units.iloc[0])
    scores = scores.sort_values(["is_primary", "value"], ascending=[True, False])
    for height, row in enumerate(scores.itertuples()):
        with_interval(right, row.value, row.se, height, MODEL)
    name_rows(right, list(scores["label"]), list(scores["is_primary"]))
    right.set_xlim(-0.03, 1.03)
    right.set_xlabel("factorisation")
    panel_letter(left, "a")
    panel_letter(right, "b")
    return figure


def _latents(results: Results) -> pd.DataFrame:
    """One row a latent of the primary model's first seed: audio, neural (sensitivities), space, audio_share."""
    table, metrics = results.table("latents"), results.metrics
    if table.empty or metrics.empty or results.primary is None or "space" not in table:
        return pd.DataFrame()
    primary = results.primary
    rows = metrics[
        metrics["metric"].eq("sensitivity")
        & metrics["objective"].eq(primary["family"])
        & metrics["latent_dim"].eq(primary["latent_dim"])
        & metrics["seed"].eq(primary["seeds"][0])
    ]
    if rows.empty:
        return pd.DataFrame()
    found = rows.groupby(["unit_id", "target"])["value"].mean().unstack()
    found.index = found.index.str.removeprefix("z").astype(int)
    columns = ["space", "audio_share", "reported_as"]
    named = table.set_index("latent")[columns].join(found[["audio", "neural"]], how="inner").dropna()
    rank = named["space"].map({space: place for place, space in enumerate(_names(named["space"]))})
    return named.assign(rank=rank).sort_values(["rank", "audio_share"], ascending=[True, False])


def _names(spaces: pd.Series) -> dict[str, str]:
    """Readers' names of the spaces, in order; further modalities go by their own."""
    return {**SPACES, **{space: space for space in sorted(spaces.unique()) if space not in SPACES}}


def _bars(axes: Axes, latents: pd.DataFrame, *, unit: str) -> None:
    places = np.arange(len(latents))
    colours = [COLOURS.get(space, NO_CLUSTER) for space in latents["space"]]
    axes.bar(places, latents["audio"], width=0.8, color=colours)
    axes.bar(places, -latents["neural"], width=0.8, color=colours, alpha=0.65)
    axes.axhline(0, color=INK, lw=0.6)
    names = []
    if len(latents) <= MAX_NAMED:
        names = [latent_name(*pair) for pair in zip(latents.index, latents["reported_as"], strict=True)]
    if names:
        axes.set_xticks(places, names, size=7 if len(names) <= 16 else 6, rotation=0 if len(names) <= 16 else 90)
    else:
        axes.set_xticks([])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.7, len(latents) - 0.3)
    low, high = axes.get_ylim()
    axes.set_ylim(low * 1.05, high * 1.22)
    counted = latents["space"].value_counts()
    named = [(space, name, counted[space]) for space, name in _names(latents["space"]).items() if space in counted]
    step = min(0.25, 1 / len(named))
    for place, (space, name, n) in enumerate(named):
        colour = COLOURS.get(space, FAINT)
        axes.text(0.01 + step * place, 0.99, f"{name} ({n})", color=colour, size=7, transform=axes.transAxes, va="top")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    axes.set_ylabel("change for +1 SD of the latent")
    for height, name in ((high / 2, "sound (SD)"), (low / 2, f"neural data ({unit})")):
        axes.text(len(latents) - 0.2, height, name, rotation=90, size=7, color=FAINT, ha="left", va="center")
