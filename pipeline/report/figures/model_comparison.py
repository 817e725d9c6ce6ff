"""Do the models predict spikes from sound better than simple baselines?

a, held-out prediction of spikes from sound in the test blocks, in bits a spike (of traces: a bin) above each unit's
mean rate; large dots: mean over seeds with a 95 % interval over blocks; small dots: single seeds. Blue: models; grey:
baselines. b, the same for single units, primary model against best baseline; above the diagonal the model is better.
Units more than 20 times the interquartile range from the median stand at the edge.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.mapping.measures import NEURAL_METRICS
from pipeline.mapping.names import readable
from pipeline.report.families import labels
from pipeline.report.results import NoData, Results
from pipeline.report.style import BASELINE, FAINT, INK, MODEL, cluster_colour, new_figure, panel_letter

PLACE = 60


def draw(results: Results) -> Figure:
    """Bits a spike of each model and baseline, and unit by unit for the best two."""
    pooled = _sound_to_spikes(results.table("model_comparison"))
    if pooled.empty:
        raise NoData("No model was tested on predicting spikes from sound.")
    pooled = pooled.assign(label=labels(pooled))
    figure = new_figure(max(2.9, 0.9 + 0.24 * pooled["label"].nunique()))
    both = _unit_by_unit(_sound_to_spikes(results.metrics), results)
    if both.empty:
        _models(figure.subplots(), pooled)
        return figure
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    _models(left, pooled)
    _scatter(right, both, results)
    panel_letter(left, "a")
    panel_letter(right, "b")
    return figure


def _sound_to_spikes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of bits a spike, sound to spikes, on the test blocks."""
    if rows.empty:
        return rows
    wanted = rows["metric"].isin(NEURAL_METRICS) & rows["split"].eq("test")
    wanted &= rows["given"].eq("audio") & rows["target"].eq("neural")
    return rows[wanted & np.isfinite(rows["value"].astype(float))]


def _models(axes: Axes, pooled: pd.DataFrame) -> None:
    means = pooled[pooled["seed"] < 0].sort_values("value", kind="stable")
    for height, model in enumerate(means.itertuples()):
        is_baseline = model.objective.startswith("baseline:")
        colour = BASELINE if is_baseline else MODEL
        seeds = pooled[(pooled["label"] == model.label) & (pooled["seed"] >= 0)]["value"]
        axes.plot(seeds, np.full(len(seeds), height), "o", ms=3, color=colour, alpha=0.4, mew=0)
        if np.isfinite(model.se):
            ends = [model.value - 1.96 * model.se, model.value + 1.96 * model.se]
            axes.plot(ends, [height, height], color=colour, lw=1.4)
        axes.plot(model.value, height, "o", ms=6, color=colour, mec="white", mew=0.7)
    axes.axvline(0, color=INK, lw=0.6)
    axes.text(0, 0.01, " mean rate", transform=axes.get_xaxis_transform(), va="bottom", size=7, color=FAINT)
    axes.set_yticks(range(len(means)), means["label"], parse_math=False)
    for tick, objective in zip(axes.get_yticklabels(), means["objective"], strict=True):
        tick.set_color(FAINT if objective.startswith("baseline:") else MODEL)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.9, len(means) - 0.4)
    axes.set_xlabel("spikes from sound, test blocks (bits a spike)")


def _unit_by_unit(rows: pd.DataFrame, results: Results) -> pd.DataFrame:
    """Bits a spike of the primary model and of the best baseline, indexed by unit; empty where either is absent."""
    primary = results.primary
    baseline = (results.summary.get("best_baseline") or {}).get("objective")
    if primary is None or baseline is None or rows.empty:
        return pd.DataFrame()
    single = rows[rows["unit_id"] != ""]
    is_primary = single["objective"].eq(primary["family"]) & single["latent_dim"].eq(primary["latent_dim"])
    model_bits = single[is_primary].groupby("unit_id")["value"].mean()
    baseline_bits = single[single["objective"] == baseline].groupby("unit_id")["value"].mean()
    return pd.concat({"model": model_bits, "baseline": baseline_bits}, axis=1, join="inner").astype(float)


def _scatter(axes: Axes, both: pd.DataFrame, results: Results) -> None:
    q1, median, q3 = np.quantile(both.to_numpy(), [0.25, 0.5, 0.75])
    reach = 20 * max(q3 - q1, 1e-3)
    low, high = max(both.min().min(), median - reach), min(both.max().max(), median + reach)
    margin = 0.05 * (high - low) or 0.1
    limits = (low - margin, high + margin)
    cluster = results.clusters.set_index("unit_id")["cluster"].reindex(both.index).fillna(-1).astype(int)
    colours = [cluster_colour(c) for c in cluster]
    order = np.argsort(cluster.to_numpy() >= 0, kind="stable")
    points = both.clip(low, high).iloc[order]
    axes.plot(limits, limits, color=FAINT, lw=0.7, zorder=0)
    axes.scatter(points["baseline"], points["model"], s=14, c=[colours[i] for i in order], lw=0.4, edgecolors="white")
    better = int((both["model"] > both["baseline"]).sum())
    axes.text(0.03, 0.98, f"model better: {better} of {len(both)} units", transform=axes.transAxes, va="top", size=7)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set_aspect("equal")
    axes.set_xlabel(
        f"{readable(results.summary['best_baseline']['objective'])}, best baseline (bits a spike)", parse_math=False
    )
    axes.set_ylabel(f"{results.primary['family']} (bits a spike)", parse_math=False)
