"""Which model is the primary one, and how it compares with the baselines."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.evaluation.scores import Ratio
from pipeline.evaluation.synergy import sign_test_p
from pipeline.mapping.likelihoods import PREFIX, Measure, likelihood_rival
from pipeline.mapping.measures import BETTER, NEURAL_METRICS, SIGNED, ranked

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

    Sessions are joined by their blocks. Columns: those keys, `unit`, `n`, `score` (Ratio), `ess` (mean over clips).
    """
    keys = ["objective", "latent_dim", "seed", "split", "target", "given", "metric", "unit"]
    whole = metrics[metrics["unit_id"].eq("") & metrics["split"].isin(["validation", "test"])]
    whole = whole[whole["metric"].isin(BETTER)]
    rows = []
    for key, group in whole.sort_values("session").groupby(keys, sort=True):
        blocks = [np.concatenate([np.asarray(b, float) for b in group[c]]) for c in ("block_sums", "block_weights")]
        n = int(group["n"].sum())
        ess = float(group["ess"] @ group["n"] / n) if n else float("nan")  # a score that no clip allowed
        rows.append([*key, n, Ratio(*blocks, n), ess])
    return pd.DataFrame(rows, columns=[*keys, "n", "score", "ess"])


def over_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """The same with seeds averaged, block by block (columns: `n_seeds` for `seed`)."""
    keys = ["objective", "latent_dim", "split", "target", "given", "metric", "unit"]
    rows = []
    for key, group in scores.groupby(keys, sort=True):
        first = group["score"].iloc[0]
        if all(score.numerator.shape == first.numerator.shape for score in group["score"]):
            mean = Ratio(np.mean([score.numerator for score in group["score"]], axis=0), first.denominator, first.n)
        else:  # a seed that lacks a session: without blocks in common there is no error over them
            mean = Ratio(np.array([np.mean([score.value for score in group["score"]])]), np.ones(1), first.n)
        rows.append([*key, first.n, mean, group["ess"].mean(), sorted(group["seed"])])
    return pd.DataFrame(rows, columns=[*keys, "n", "score", "ess", "seeds"])


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
    rows = rows.assign(value=np.array([score.value for score in rows["score"]], float)).dropna(subset="value")
    merit = rows["value"].to_numpy() * np.array([BETTER[metric] for metric in rows["metric"]], float)
    best = rows.iloc[np.argsort(merit, kind="stable")].groupby(["metric", "target", "given"]).tail(1)
    return {(r.metric, r.target, r.given): r.objective for r in best.itertuples()}


def comparison_table(metrics: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The `model_comparison` table (rows of every seed, and of their mean: seed -1) and the averaged scores."""
    scores = pooled_scores(metrics)
    averaged = over_seeds(scores)
    best = best_baselines(averaged)
    kinds = ("split", "metric", "target", "given")
    rivals = {(row.objective, *(getattr(row, kind) for kind in kinds)): row.score for row in averaged.itertuples()}
    of_seeds = {
        key: [float(score.value) for score in group["score"]]
        for key, group in scores.groupby(["objective", "latent_dim", *kinds])
    }
    known = {
        (seed, split): {Measure.of(row): row.score for row in group.itertuples()}
        for (seed, split), group in pd.concat([scores, averaged.assign(seed=MEAN_SEED)]).groupby(["seed", "split"])
    }
    rows = []
    everything = [
        *((row, MEAN_SEED, len(row.seeds)) for row in averaged.itertuples()),
        *((row, row.seed, 1) for row in scores.itertuples() if not row.objective.startswith("baseline:")),
    ]
    for row, seed, n_seeds in everything:
        kind = [getattr(row, name) for name in kinds]
        name = best.get((row.metric, row.target, row.given), "")
        rival = rivals.get((name, *kind))
        if rival is None:
            name, rival = likelihood_rival(Measure.of(row), known[seed, row.split])
        delta, delta_se = (np.nan, np.nan) if rival is None else paired(row.score, rival)
        is_mean = seed == MEAN_SEED
        seeds = over_seeds_interval(of_seeds[row.objective, row.latent_dim, *kind] if is_mean else [])
        rows.append(
            {
                **{name: getattr(row, name) for name in ("objective", "latent_dim")},
                "seed": seed,
                "n_seeds": n_seeds,
                **{name: getattr(row, name) for name in ("split", "target", "given", "metric")},
                "value": float(row.score.value),
                "se": float(row.score.se),
                "ess": row.ess,
                "seeds_low": seeds[0],
                "seeds_high": seeds[1],
                "n": row.n,
                "unit": row.unit,
                "p": sign_test_p(row.score) if is_mean and row.metric in SIGNED else np.nan,
                "baseline": name,
                "delta": delta,
                "delta_se": delta_se,
                "delta_low": delta - 1.96 * delta_se,
                "delta_high": delta + 1.96 * delta_se,
            }
        )
    return (ranked(pd.DataFrame(rows)) if rows else pd.DataFrame()), averaged


def likelihood_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """The `log_likelihood` table: a row a model, seed, session, split and measure, and its difference to its rival."""
    rows = metrics[metrics["metric"].str.startswith(PREFIX) & metrics["unit_id"].eq("")]
    rows = rows.assign(baseline="", delta=np.nan, delta_se=np.nan).reset_index(drop=True)
    for _, group in rows.groupby(["seed", "session", "split"]):
        known = {
            Measure.of(row): Ratio(np.asarray(row.block_sums, float), np.asarray(row.block_weights, float), row.n)
            for row in group.itertuples()
        }
        for index, (measure, score) in zip(group.index, known.items(), strict=True):
            name, rival = likelihood_rival(measure, known)
            if rival is not None:
                rows.loc[index, ["baseline", "delta", "delta_se"]] = name, *paired(score, rival)
    return rows


def over_seeds_interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a mean over seeds, by Student's t; NaN with fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


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
