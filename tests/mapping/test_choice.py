import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import Ratio
from pipeline.mapping.choice import MEAN_SEED, choose_primary, comparison_table, predicted_units

GENERATOR = np.random.default_rng(0)
NOISE = GENERATOR.standard_normal(30)  # what makes some bouts easier, for every model alike


def measured(objective, seed, validation, test, *, session="a", latent_dim=16):
    """Bits/spike of two units in 30 blocks of 10 spikes; the second unit is not predicted."""
    metrics = Metrics(objective=objective, latent_dim=latent_dim, seed=seed)
    for split, mean in (("validation", validation), ("test", test)):
        spikes = np.full((30, 2), 10.0)
        own = 0.01 * GENERATOR.standard_normal((30, 2))
        bits = (np.array([2 * mean, 0.0]) + 0.3 * NOISE[:, None] * [1.0, 0.0] + own) * spikes
        metrics.add(
            Ratio(bits, spikes, 100),
            session=session,
            split=split,
            target="neural",
            given="audio",
            metric="bits_per_spike",
            unit="bits/spike",
            unit_ids=[f"{session}|units|0", f"{session}|units|1"],
        )
    return metrics


@pytest.fixture(scope="module")
def scores():
    rows = [measured("mvae", seed, 0.3, 0.1, session=s) for seed in (0, 1) for s in ("a", "b")]
    rows += [measured("mopoe", seed, 0.2, 0.4, session=s) for seed in (0, 1) for s in ("a", "b")]
    rows += [
        measured(f"baseline:{n}", 0, v, 0.05, session=s, latent_dim=0)
        for n, v in (("x", 0.1), ("y", 0.0))
        for s in "ab"
    ]
    return metrics_table(*rows)


def test_the_model_is_chosen_on_validation_blocks_alone(scores):
    _, averaged = comparison_table(scores)
    primary = choose_primary(averaged)
    assert (primary.objective, primary.seeds) == ("mvae", [0, 1])  # although mopoe does better on the test blocks
    assert primary.validation == pytest.approx(0.3 + 0.15 * NOISE.mean(), abs=0.01)


def test_differences_to_the_best_baseline_are_paired(scores):
    table, _ = comparison_table(scores)
    assert set(table["baseline"]) == {"baseline:x"}
    row = table[table["objective"].eq("mvae") & table["split"].eq("test") & table["seed"].eq(MEAN_SEED)].iloc[0]
    assert row["n_seeds"] == 2
    assert row["delta"] == pytest.approx(0.05, abs=0.01)
    assert row["delta_se"] < row["se"] / 5  # easy bouts are easy for both
    assert row["delta_low"] < row["delta"] < row["delta_high"]


def test_measures_are_ranked_by_their_better_side(scores):
    def measured_as(objective, metric, value, target="audio", given="neural"):
        metrics = Metrics(objective=objective, latent_dim=0 if ":" in objective else 16, seed=0)
        labels = {"session": "a", "split": "test", "target": target, "given": given, "metric": metric, "unit": "1"}
        metrics.add(Ratio(np.full(8, value), np.ones(8), 8), **labels)
        return metrics

    rows = [
        measured_as(objective, metric, value, *kind)
        for metric, *kind, values in (
            ("peak_frequency_error", "audio", "neural", (900.0, 500.0, 100.0)),
            ("joint_coherence", "pitch", "prior", (0.5, 0.7, 0.9)),
            ("joint_coherence", "pitch", "real", (0.5, 0.7, 0.9)),
            ("factorisation", "", "audio+neural", (0.5, 0.7, 0.9)),
            ("decoding_synergy", "pitch", "audio+neural", (0.1, 0.0, -0.1)),
        )
        for objective, value in zip(("mvae", "mopoe", "baseline:x"), values, strict=True)
    ]
    table, _ = comparison_table(metrics_table(*rows))
    means = table[table["seed"].eq(MEAN_SEED)].set_index(["metric", "given", "objective"]).sort_index()
    assert means.loc["peak_frequency_error", "neural"]["rank"].reindex(["mvae", "mopoe"]).tolist() == [2, 1]
    assert means.loc["joint_coherence", "prior"]["rank"].reindex(["mvae", "mopoe"]).tolist() == [2, 1]
    assert means.loc["joint_coherence", "real"]["rank"].isna().all() and means.loc["factorisation"]["rank"].isna().all()
    assert means.xs("baseline:x", level="objective")["rank"].isna().all()
    p = means.loc["decoding_synergy", "audio+neural"]["p"]
    assert p["mvae"] == pytest.approx(2 / 2**8) and np.isnan(p["mopoe"])
    assert means.loc["factorisation"]["p"].isna().all() and table.loc[table["seed"].ge(0), "rank"].isna().all()
    assert table["metric"].iloc[0] == "peak_frequency_error"  # in the order of the measures


def test_intervals_over_seeds_are_student_s(scores):
    table, _ = comparison_table(scores)
    row = table[table["objective"].eq("mopoe") & table["split"].eq("test") & table["seed"].eq(MEAN_SEED)].iloc[0]
    one = table[table["objective"].eq("mopoe") & table["split"].eq("test") & table["seed"].ge(0)]["value"]
    assert row["seeds_high"] - row["seeds_low"] == pytest.approx(2 * 12.706 * one.std(ddof=1) / np.sqrt(2), rel=1e-3)
    assert table.loc[table["seed"].ge(0), "seeds_low"].isna().all()


def test_seeds_without_blocks_in_common_are_averaged_without_error(scores):
    less = scores[~(scores["objective"].eq("mvae") & scores["seed"].eq(1) & scores["session"].eq("b"))]
    table, _ = comparison_table(less)
    row = table[table["objective"].eq("mvae") & table["split"].eq("test") & table["seed"].eq(MEAN_SEED)].iloc[0]
    assert row["value"] == pytest.approx(0.1 + 0.15 * NOISE.mean(), abs=0.01) and np.isnan(row["se"])


def test_a_unit_counts_as_predicted_beyond_its_error(scores):
    primary = choose_primary(comparison_table(scores)[1])
    units = pd.Series(["a|units|0", "a|units|1", "c|units|0"])
    assert predicted_units(scores, primary, units).tolist() == [True, False, False]
    assert not predicted_units(scores, None, units).any()


def test_baselines_alone_are_no_model(scores):
    table, averaged = comparison_table(scores[scores["objective"].str.startswith("baseline:")])
    assert choose_primary(averaged) is None and len(table) == 4
    assert choose_primary(comparison_table(metrics_table())[1]) is None


def test_a_score_that_no_clip_allowed_is_a_row_without_a_value(scores):
    nothing = Metrics(objective="mvae", latent_dim=16, seed=0)
    labels = {"session": "a", "split": "test", "target": "audio", "given": "neural"}
    nothing.add(Ratio(np.zeros(30), np.zeros(30), 0), metric="peak_frequency_error", unit="Hz", ess=4.0, **labels)
    table, _ = comparison_table(pd.concat([scores, metrics_table(nothing)]))
    row = table[table["metric"].eq("peak_frequency_error") & table["seed"].eq(0)].iloc[0]
    assert row["n"] == 0 and np.isnan(row["value"]) and np.isnan(row["ess"])
