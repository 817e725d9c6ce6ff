"""Which model is the primary one, and how it compares with the baselines."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.evaluation.scores import Ratio

NEURAL_METRICS = ("bits_per_spike", "bits_per_bin")  # of spikes, of traces
COMPARED = {*((metric, "neural", "audio") for metric in NEURAL_METRICS), ("explained_variance", "audio", "neural")}
MEAN_SEED = -1  # marks rows that average over seeds


@dataclass(frozen=True)
class Primary:
    """The model that the map rests on; `validation` is its `metric` there (in `unit`s), averaged over seeds."""

    objective: str
    latent_dim: int
    seeds: list[int]
    metric: str
    unit: str
    validation: float


def pooled_scores(metrics: pd.DataFrame) -> pd.DataFrame:
    """Scores over all sessions, one row an objective, latent size, seed, split, target, given and metric.

    Sessions are joined by their blocks. Columns: those keys, `unit`, `n`, `score` (Ratio).
    """
    keys = ["objective", "latent_dim", "seed", "split", "target", "given", "metric", "unit"]
    whole = metrics[metrics["unit_id"].eq("") & metrics["split"].isin(["validation", "test"])]
    kinds = zip(whole["metric"], whole["target"], whole["given"], strict=True)
    whole = whole[np.array([kind in COMPARED for kind in kinds], bool)]
    rows = []
    for key, group in whole.sort_values("session").groupby(keys, sort=True):
        blocks = [np.concatenate([np.asarray(b, float) for b in group[c]]) for c in ("block_sums", "block_weights")]
        rows.append([*key, int(group["n"].sum()), Ratio(*blocks, int(group["n"].sum()))])
    return pd.DataFrame(rows, columns=[*keys, "n", "score"])


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """The same with seeds averaged, block by block (columns: `n_seeds` for `seed`)."""
    keys = ["objective", "latent_dim", "split", "target", "given", "metric", "unit"]
    rows = []
    for key, group in scores.groupby(keys, sort=True):
        first = group["score"].iloc[0]
        numerator = np.mean([score.numerator for score in group["score"]], axis=0)
        rows.append([*key, first.n, Ratio(numerator, first.denominator, first.n), sorted(group["seed"])])
    return pd.DataFrame(rows, columns=[*keys, "n", "score", "seeds"])


def choose_primary(averaged: pd.DataFrame) -> Primary | None:
    """The model that predicts neural from audio best on the validation blocks; None where no model predicts it."""
    rows = averaged[_spikes(averaged) & averaged["split"].eq("validation") & ~_baseline(averaged)]
    values = np.array([row.score.value for row in rows.itertuples()], float)
    if not np.isfinite(values).any():
        return None
    best = rows.iloc[int(np.nanargmax(values))]
    named = {name: best[name] for name in ("objective", "seeds", "metric", "unit")}
    return Primary(latent_dim=int(best["latent_dim"]), validation=float(best["score"].value), **named)


def best_baselines(averaged: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    """For each (metric, target, given) the baseline that does best on the validation blocks."""
    rows = averaged[_baseline(averaged) & averaged["split"].eq("validation")]
    rows = rows.assign(value=[float(score.value) for score in rows["score"]]).dropna(subset="value")
    best = rows.sort_values("value").groupby(["metric", "target", "given"]).tail(1)
    return {(r.metric, r.target, r.given): r.objective for r in best.itertuples()}


def comparison_table(metrics: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `model_comparison` table (rows of every seed, and of their mean: seed -1) and the averaged scores."""
    scores = pooled_scores(metrics)
    averaged = over_seeds(scores)
    best = best_baselines(averaged)
    rows = []
    everything = [
        *((row, MEAN_SEED, len(row.seeds)) for row in averaged.itertuples()),
        *((row, row.seed, 1) for row in scores.itertuples() if not row.objective.startswith("baseline:")),
    ]
    for row, seed, n_seeds in everything:
        name = best.get((row.metric, row.target, row.given), "")
        delta = {"baseline": name, "delta": np.nan, "delta_se": np.nan}
        rival = averaged[
            averaged["objective"].eq(name)
            & averaged["split"].eq(row.split)
            & averaged["metric"].eq(row.metric)
            & averaged["target"].eq(row.target)
            & averaged["given"].eq(row.given)
        ]
        if len(rival):
            difference = paired(row.score, rival.iloc[0]["score"])
            delta |= {"delta": difference[0], "delta_se": difference[1]}
        rows.append(
            {
                **{name: getattr(row, name) for name in ("objective", "latent_dim")},
                "seed": seed,
                "n_seeds": n_seeds,
                **{name: getattr(row, name) for name in ("split", "target", "given", "metric")},
                "value": float(row.score.value),
                "se": float(row.score.se),
                "n": row.n,
                "unit": row.unit,
                **delta,
                "delta_low": delta["delta"] - 1.96 * delta["delta_se"],
                "delta_high": delta["delta"] + 1.96 * delta["delta_se"],
            }
        )
    return pd.DataFrame(rows), averaged


def paired(score: Ratio, rival: Ratio) -> tuple[float, float]:
    """Difference and its error over blocks; of the values alone (no error) where the two saw different blocks."""
    if score.denominator.shape == rival.denominator.shape and np.allclose(score.denominator, rival.denominator):
        difference = score.minus(rival)
        return float(difference.value), float(difference.se)
    return float(score.value - rival.value), float("nan")


def _spikes(scores: pd.DataFrame) -> pd.Series:
    return scores["metric"].isin(NEURAL_METRICS) & scores["target"].eq("neural") & scores["given"].eq("audio")


def _baseline(scores: pd.DataFrame) -> pd.Series:
    return scores["objective"].str.startswith("baseline:")


def unit_bits(metrics: pd.DataFrame, primary: Primary, *, split: str) -> pd.Series:
    """Score audio -> neural of each unit in the primary model's metric, averaged over its seeds; index unit_id."""
    rows = metrics[
        _spikes(metrics)
        & metrics["objective"].eq(primary.objective)
        & metrics["latent_dim"].eq(primary.latent_dim)
        & metrics["split"].eq(split)
        & metrics["unit_id"].ne("")
    ]
    return rows.groupby("unit_id")["value"].mean()


def predicted_units(metrics: pd.DataFrame, primary: Primary | None, unit_ids: pd.Series) -> np.ndarray:
    """Whether the primary model predicts each unit better than its mean rate on the validation blocks, bool (n_units,).

    Better: by more than 1.645 standard errors, averaged over seeds; a model that learned nothing is above 0 for half.
    """
    if primary is None:
        return np.zeros(len(unit_ids), bool)
    value = unit_bits(metrics, primary, split="validation")
    se = unit_bits(metrics.assign(value=metrics["se"]), primary, split="validation")
    return unit_ids.map(value - 1.645 * se).gt(0).to_numpy()
