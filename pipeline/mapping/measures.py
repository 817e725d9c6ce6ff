"""The measures of `model_comparison`: their order, and which side of each is the better one."""

import numpy as np
import pandas as pd

NEURAL_METRICS = ("bits_per_spike", "bits_per_bin")  # of spikes, of traces
BETTER = {  # 1: more is better, -1: less is, 0: neither
    **dict.fromkeys(NEURAL_METRICS, 1),
    "explained_variance": 1,
    "peak_frequency_error": -1,
    **{f"log_likelihood:{name}": 1 for name in ("joint", "marginal", "conditional", "predictive", "synergy")},
    "joint_coherence": 1,
    "decoding": 1,
    "decoding_synergy": 1,
    "identifiability:linear": 1,
    "identifiability:nonlinear": 1,
    "mig": 1,
    "sap": 1,
    "factorisation": 0,
}
SIGNED = ("log_likelihood:synergy", "decoding_synergy")  # differences, whose sign is tested
KEYS = ["split", "metric", "target", "given"]


def ranked(comparison: pd.DataFrame) -> pd.DataFrame:
    """The table in the order of reading, with `rank`: of each family's mean over seeds in its measure, 1 the best.

    Baselines have no rank, nor have measures without a better side or figures that are no model's (real pairs).
    """
    sign = comparison["metric"].map(BETTER)
    models = comparison["seed"].lt(0) & ~comparison["objective"].str.startswith("baseline:")
    models &= sign.ne(0) & ~comparison["given"].isin(["real", "shuffled"])
    merit = (comparison["value"] * sign).where(models)
    rank = merit.groupby([comparison[key] for key in KEYS]).rank(ascending=False, method="min")
    place = comparison["metric"].map({metric: place for place, metric in enumerate(BETTER)})
    order = comparison.assign(
        rank=rank, _single=comparison["seed"].ge(0), _late=comparison["split"].ne("test"), _place=place
    )
    order["_merit"] = -comparison["value"] * np.where(sign < 0, -1, 1)
    keys = ["_single", "_late", "_place", "target", "given", "rank", "_merit", "objective", "latent_dim", "seed"]
    return order.sort_values(keys, kind="stable")[[*comparison.columns, "rank"]].reset_index(drop=True)
