"""Which family to use, in one sentence, from the scores on the test blocks."""

import numpy as np
import pandas as pd

from pipeline.mapping.choice import Primary, best_baselines, paired
from pipeline.mapping.measures import NEURAL_METRICS
from pipeline.mapping.names import readable

JOINT = ("log_likelihood:joint", "audio+neural", "audio+neural")


def advice(averaged: pd.DataFrame, comparison: pd.DataFrame, primary: Primary | None) -> str | None:
    """The family to use and why; None where no family predicts neural data from sound.

    averaged, comparison: as `comparison_table` returns them. Families are ranked by what they predict of the neural
    side from sound in the test blocks; what is equal to three decimals, by the joint log-likelihood. What is told
    apart, from other families and from the best baseline, is told by the paired difference over blocks.
    """
    test = averaged[averaged["split"].eq("test")]
    rows = test[test["metric"].isin(NEURAL_METRICS) & test["target"].eq("neural") & test["given"].eq("audio")]
    models = rows[~rows["objective"].str.startswith("baseline:")]
    models = models.assign(value=np.array([score.value for score in models["score"]], float)).dropna(subset="value")
    if models.empty:
        return None
    likelihood = _of(test, *JOINT)
    models = models.assign(
        shown=models["value"].round(3),
        nats=[likelihood.get((row.objective, row.latent_dim), -np.inf) for row in models.itertuples()],
    ).sort_values(["shown", "nats"], ascending=False)
    names = _names(models)
    best, others = models.iloc[0], models.iloc[1:]
    what = "spikes" if best["unit"] == "bits/spike" else "traces"
    name, score = names.iloc[0], best["score"]
    if not best["value"] - 1.96 * np.nan_to_num(float(score.se)) > 0:
        return (
            f"Use no family to predict {what} from sound: even the best, {name}, is not better than the units' "
            f"mean rate beyond its error ({best['value']:+.3f} {best['unit']}, se {float(score.se):.3f})."
        )
    text = f"Use {name}: it predicts the test {what} from sound best ({best['value']:+.3f} {best['unit']}"
    text += _over_seeds(comparison, best) + ")"
    equal = [n for n, shown in zip(names.iloc[1:], others["shown"], strict=True) if shown == best["shown"]]
    if equal and np.isfinite(best["nats"]):
        text += f", level with {_listed(equal)} but with the higher joint likelihood"
    unclear = [
        n
        for n, rival in zip(names.iloc[1:], others["score"], strict=True)
        if not _apart(score, rival) and n not in equal
    ]
    if unclear:
        text += f", though {_listed(unclear)} cannot be told apart from it on these blocks"
    text += _against_baseline(averaged, rows, best)
    if primary is not None and (primary.objective, primary.latent_dim) != (best["objective"], best["latent_dim"]):
        text += f"; the map rests on {primary.objective}, which did best on the validation blocks"
    return text + "."


def _of(test: pd.DataFrame, metric: str, target: str, given: str) -> dict[tuple[str, int], float]:
    rows = test[test["metric"].eq(metric) & test["target"].eq(target) & test["given"].eq(given)]
    return {(row.objective, row.latent_dim): float(row.score.value) for row in rows.itertuples()}


def _names(models: pd.DataFrame) -> pd.Series:
    several = models["latent_dim"].nunique() > 1
    return models["objective"] + (" with " + models["latent_dim"].astype(str) + " latents" if several else "")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _over_seeds(comparison: pd.DataFrame, best: pd.Series) -> str:
    same = comparison["seed"].lt(0) & comparison["split"].eq("test")
    for key in ("objective", "latent_dim", "metric", "target", "given"):
        same &= comparison[key].eq(best[key])
    row = comparison[same].iloc[0]
    if not np.isfinite(row["seeds_low"]):
        return ""
    return f"; 95 % interval over {row['n_seeds']} seeds {row['seeds_low']:+.3f} to {row['seeds_high']:+.3f}"


def _apart(score, rival) -> bool:
    difference, se = paired(score, rival)
    return bool(difference - 1.96 * se > 0)  # False without an error


def _against_baseline(averaged: pd.DataFrame, rows: pd.DataFrame, best: pd.Series) -> str:
    name = best_baselines(averaged).get((best["metric"], "neural", "audio"))
    rival = rows[rows["objective"].eq(name)]
    if name is None or rival.empty:
        return ""
    difference, se = paired(best["score"], rival.iloc[0]["score"])
    label = readable(name)
    told = f"{difference:+.3f}, 95 % interval {difference - 1.96 * se:+.3f} to {difference + 1.96 * se:+.3f}"
    if not np.isfinite(se):
        return f"; the best baseline, {label}, is {-difference:+.3f} {best['unit']} from it"
    if difference + 1.96 * se < 0:
        return f"; but the baseline {label} predicts better ({told}), so take that where prediction is all you want"
    if difference - 1.96 * se > 0:
        return f"; it is better than the best baseline, {label} ({told})"
    return f"; whether it is better than the best baseline, {label}, is open ({told})"
