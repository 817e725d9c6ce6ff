import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import clip_mean
from pipeline.mapping.choice import MEAN_SEED, comparison_table, likelihood_table
from pipeline.mapping.likelihoods import APART, OWN

BLOCKS = np.repeat(np.arange(6), 5)
EASE = 20 * np.random.default_rng(0).standard_normal(6)[BLOCKS]  # what makes some bouts likelier, for every model alike


def told(objective, measures, *, seed=0, session="a", blocks=BLOCKS):
    """Log-likelihoods {(metric, target, given): nats a clip} of 30 clips in six bouts; ess 8, in session b 2."""
    metrics = Metrics(objective=objective, latent_dim=4, seed=seed)
    for (metric, target, given), nats in measures.items():
        metrics.add(
            clip_mean(nats + EASE, blocks),
            ess=8.0 if session == "a" else 2.0,
            session=session,
            split="test",
            target=target,
            given=given,
            metric=f"log_likelihood:{metric}",
            unit="nat",
        )
    return metrics


JOINT = {
    ("marginal", "audio", "audio"): -100.0,
    ("marginal", "neural", "neural"): -40.0,
    ("marginal", "neural", "audio"): -70.0,
    ("marginal", "neural", "audio+neural"): -41.0,
    ("joint", "audio+neural", "audio+neural"): -137.0,
    ("conditional", "neural", "audio"): -37.0,
    ("predictive", "neural", "audio"): -36.5,
    ("synergy", "neural", "audio+neural"): -1.0,
}
ALONE = {("marginal", "audio", "audio"): -98.0, ("marginal", "neural", "neural"): -42.0}
EXPECTED = {
    ("marginal", "audio", "audio"): (APART, -2.0),
    ("marginal", "neural", "neural"): (APART, 2.0),
    ("joint", "audio+neural", "audio+neural"): (APART, -137.0 + 98.0 + 42.0 - EASE.mean()),  # one ease against two
    ("conditional", "neural", "audio"): (OWN, 3.0),
    ("predictive", "neural", "audio"): (OWN, 3.5),
}


def by_measure(table):
    return table.set_index([table["metric"].str.removeprefix("log_likelihood:"), table["target"], table["given"]])


@pytest.mark.parametrize("make", [likelihood_table, lambda metrics: comparison_table(metrics)[0]])
def test_each_likelihood_is_held_against_what_lacks_the_other_modality(make):
    table = make(metrics_table(told("mvae", JOINT), told("unimodal", ALONE)))
    rows = by_measure(table[table["objective"].eq("mvae") & table["seed"].eq(table["seed"].min())])
    for measure in JOINT:
        name, delta = EXPECTED.get(measure, ("", np.nan))
        assert rows.loc[measure, "baseline"] == name
        assert rows.loc[measure, "delta"] == pytest.approx(delta, nan_ok=True)
        if name == OWN:
            assert rows.loc[measure, "delta_se"] == pytest.approx(0, abs=1e-9) and rows.loc[measure, "se"] > 1
    assert table.loc[table["objective"].eq("unimodal"), "delta"].isna().all()


def test_without_a_unimodal_model_there_is_only_the_model_s_own():
    rows = by_measure(likelihood_table(metrics_table(told("mvae", JOINT))))
    assert rows["delta"].notna().sum() == 2 and set(rows["baseline"]) == {"", OWN}


def test_seeds_and_sessions_are_held_against_their_own():
    shifted = {measure: nats - 7.0 for measure, nats in JOINT.items()}
    metrics = metrics_table(told("mvae", JOINT), told("mvae", shifted, seed=1), told("mvae", shifted, session="b"))
    rows = likelihood_table(metrics)
    assert rows[rows["metric"].eq("log_likelihood:conditional")]["delta"].tolist() == pytest.approx([3.0] * 3)
    means = comparison_table(metrics)[0].query("seed == @MEAN_SEED and metric == 'log_likelihood:predictive'")
    assert means["delta"].item() == pytest.approx(3.5) and MEAN_SEED < 0


def test_models_that_saw_other_clips_are_not_summed():
    other = {("marginal", "neural", "neural"): -42.0}
    alone = told("unimodal", {("marginal", "audio", "audio"): -98.0})
    metrics = metrics_table(told("mvae", JOINT), alone, told("unimodal", other, blocks=np.repeat(np.arange(5), 6)))
    rows = by_measure(likelihood_table(metrics).query("objective == 'mvae'"))
    assert rows.loc[("joint", "audio+neural", "audio+neural"), "baseline"] == ""
    assert np.isnan(rows.loc[("marginal", "neural", "neural"), "delta_se"])  # the difference has no error


def test_the_effective_sample_size_of_a_comparison_is_the_mean_over_clips():
    table = comparison_table(metrics_table(told("mvae", JOINT), told("mvae", JOINT, session="b")))[0]
    assert table["ess"].tolist() == pytest.approx([5.0] * len(table))


def test_no_likelihoods_give_an_empty_table():
    table = likelihood_table(metrics_table())
    assert table.empty and {"baseline", "delta", "delta_se"} <= set(table.columns) and isinstance(table, pd.DataFrame)
