"""The sentence that says which family to use, on scores whose order is planted."""

import numpy as np
import pytest

from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import Ratio
from pipeline.mapping.advice import advice
from pipeline.mapping.choice import choose_primary, comparison_table

COMMON = np.random.default_rng(0).normal(0, 0.3, 40)  # what makes some blocks easier, for every model alike
LABELS = {"session": "a", "target": "neural", "given": "audio", "metric": "bits_per_spike", "unit": "bits/spike"}


def scored(objective, value, *, seed=0, own=0.02, nats=None, validation=None):
    """Bits/spike in 40 blocks that share their ups and downs with all other models, but for noise of SD `own`."""
    metrics = Metrics(objective=objective, latent_dim=0 if ":" in objective else 8, seed=seed)
    noise = np.random.default_rng([seed, *objective.encode()]).normal(size=40)
    noise = (noise - noise.mean()) / noise.std() * own
    common = COMMON - COMMON.mean()
    for split, mean in (("test", value), ("validation", value if validation is None else validation)):
        metrics.add(Ratio(10 * (mean + common + noise), np.full(40, 10.0), 400), split=split, **LABELS)
    if nats is not None:
        both = {"target": "audio+neural", "given": "audio+neural", "metric": "log_likelihood:joint", "unit": "nat"}
        metrics.add(Ratio(np.full(40, nats), np.ones(40), 40), split="test", **(LABELS | both))
    return metrics


def told(*models):
    comparison, averaged = comparison_table(metrics_table(*models))
    return advice(averaged, comparison, choose_primary(averaged))


def test_the_best_family_is_named_with_its_value_and_baseline():
    text = told(scored("mvae", 0.3), scored("mopoe", 0.2), scored("baseline:ridge", 0.1), scored("baseline:mean", 0.0))
    assert text.startswith("Use mvae: it predicts the test spikes from sound best (+0.300 bits/spike)")
    assert "it is better than the best baseline, ridge regression (+0.200, 95 % interval +0.19" in text
    assert "told apart" not in text and text.count(".") - text.count("0.") == 1  # one sentence


def test_families_within_error_are_named():
    text = told(
        scored("mvae", 0.3), scored("mopoe", 0.298, own=0.1), scored("meme", 0.299, own=0.1), scored("mfm", 0.1)
    )
    assert "though meme and mopoe cannot be told apart from it" in text and "mfm" not in text


def test_ties_are_broken_by_the_joint_likelihood():
    text = told(scored("mvae", 0.3, nats=-10.0), scored("mopoe", 0.3, nats=-5.0))
    assert text.startswith("Use mopoe:") and "level with mvae but with the higher joint likelihood" in text
    assert "told apart" not in text
    assert told(scored("mvae", 0.3, nats=-5.0), scored("mopoe", 0.3, nats=-10.0)).startswith("Use mvae:")


def test_a_better_baseline_is_said():
    text = told(scored("mvae", 0.1), scored("baseline:reduced_rank", 0.2))
    assert "but the baseline reduced-rank regression predicts better (-0.100, " in text
    for value in (0.2, 0.18):
        text = told(scored("mvae", value, own=0.1), scored("baseline:ridge", 0.19, own=0.1))
        assert "whether it is better than the best baseline, ridge regression, is open" in text


def test_nothing_to_predict_gives_no_recommendation():
    text = told(scored("mvae", 0.01), scored("mopoe", -0.02))
    assert text.startswith("Use no family to predict spikes") and "mvae, is not better" in text
    assert told(scored("baseline:ridge", 0.2)) is None


def test_interval_over_seeds_and_the_map_s_own_model():
    seeds = [scored("mvae", 0.3 + 0.01 * seed, seed=seed) for seed in (0, 1, 2)]
    text = told(*seeds, scored("mopoe", 0.2, validation=0.9))
    # mean 0.31, SD 0.01, t(2) = 4.303
    assert "+0.310 bits/spike; 95 % interval over 3 seeds +0.285 to +0.335" in text
    assert "the map rests on mopoe, which did best on the validation blocks" in text


@pytest.mark.parametrize("latent_dims", [True, False])
def test_sizes_are_named_where_there_are_several(latent_dims):
    small = scored("mvae", 0.2)
    small.rows = [row | {"latent_dim": 4} for row in small.rows]
    text = told(scored("mvae", 0.3), *([small] if latent_dims else []))
    assert ("mvae with 8 latents" in text) == latent_dims
