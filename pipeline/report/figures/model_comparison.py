"""Do the models predict spikes from sound better than simple baselines?

a, held-out prediction of spikes from sound in the test blocks, in bits a spike above each unit's mean rate; large dots:
mean over seeds and sessions with a 95 % interval from the block bootstrap; small dots: single seeds and sessions.
Blue: models; grey: baselines. b, the same for single units, primary model against best baseline; above the diagonal the
model is better. Units more than 20 times the interquartile range from the median stand at the edge.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.results import NoData, Results
from pipeline.report.style import BASELINE, FAINT, INK, MODEL, cluster_colour, new_figure, panel_letter

PLACE = 60


def draw(results: Results) -> Figure:
    """Bits a spike of each model and baseline, and unit by unit for the best two."""
    rows = test_rows(results)
    pooled = rows[rows["unit_id"] == ""] if len(rows) else rows
    if pooled.empty:
        raise NoData("No model was tested on predicting spikes from sound.")
    labels = pooled["label"].unique()
    figure = new_figure(max(2.9, 0.9 + 0.24 * len(labels)))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.25, 1]})
    _models(left, pooled)
    _unit_by_unit(right, rows[rows["unit_id"] != ""], results)
    panel_letter(left, "a")
    panel_letter(right, "b")
    return figure


def test_rows(results: Results) -> pd.DataFrame:
    """Rows of bits a spike, sound to spikes, test blocks; with `label`, the model's name for readers."""
    rows = results.metrics
    if rows.empty:
        return rows
    wanted = (
        (rows["metric"] == "bits_per_spike")
        & (rows["split"] == "test")
        & (rows["given"] == "audio")
        & (rows["target"] == "neural")
        & np.isfinite(rows["value"].astype(float))
    )
    rows = rows[wanted]
    is_baseline = rows["objective"].str.startswith("baseline:")
    several = rows.loc[~is_baseline, "latent_dim"].nunique() > 1
    name = rows["objective"].str.removeprefix("baseline:").str.replace("_", " ")
    size = rows["latent_dim"].map(lambda k: f", {int(k)} latents" if pd.notna(k) else "")
    return rows.assign(label=np.where(is_baseline | (not several), name, name + size), is_baseline=is_baseline)


def best_baseline(results: Results, rows: pd.DataFrame) -> str | None:
    """Label of the baseline that the summary compares with."""
    named = (results.summary.get("best_baseline") or {}).get("objective")
    found = rows.loc[rows["objective"] == named, "label"]
    return found.iloc[0] if len(found) else None


def _models(axes: Axes, pooled: pd.DataFrame) -> None:
    means = pooled.groupby(["label", "is_baseline"], as_index=False)["value"].mean().sort_values("value")
    for height, model in enumerate(means.itertuples()):
        rows = pooled[pooled["label"] == model.label]
        colour = BASELINE if model.is_baseline else MODEL
        by_session = rows.groupby("session")["se"].mean()  # seeds share the data, sessions do not
        half = 1.96 * float(np.sqrt((by_session**2).sum()) / len(by_session))
        axes.plot(rows["value"], np.full(len(rows), height), "o", ms=3, color=colour, alpha=0.4, mew=0)
        if np.isfinite(half):
            axes.plot([model.value - half, model.value + half], [height, height], color=colour, lw=1.4)
        axes.plot(model.value, height, "o", ms=6, color=colour, mec="white", mew=0.7)
    axes.axvline(0, color=INK, lw=0.6)
    axes.text(0, 0.01, " mean rate", transform=axes.get_xaxis_transform(), va="bottom", size=7, color=FAINT)
    axes.set_yticks(range(len(means)), means["label"], parse_math=False)
    for tick, is_baseline in zip(axes.get_yticklabels(), means["is_baseline"], strict=True):
        tick.set_color(FAINT if is_baseline else MODEL)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.9, len(means) - 0.4)
    axes.set_xlabel("spikes from sound, test blocks (bits a spike)")


def _unit_by_unit(axes: Axes, rows: pd.DataFrame, results: Results) -> None:
    primary, baseline = results.primary, best_baseline(results, rows)
    chosen = rows.iloc[:0]
    if primary is not None:
        chosen = rows[(rows["objective"] == primary["family"]) & (rows["latent_dim"] == primary["latent_dim"])]
    if chosen.empty or baseline is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no values for single units", ha="center", color=FAINT, transform=axes.transAxes)
        return
    model_bits = chosen.groupby("unit_id")["value"].mean()
    baseline_bits = rows[rows["label"] == baseline].groupby("unit_id")["value"].mean()
    both = pd.concat({"model": model_bits, "baseline": baseline_bits}, axis=1).dropna()
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
    axes.set_xlabel(f"{baseline}, best baseline (bits a spike)", parse_math=False)
    axes.set_ylabel(f"{primary['family']} (bits a spike)", parse_math=False)
