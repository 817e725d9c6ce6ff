import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import Ratio
from pipeline.mapping.choice import Primary
from pipeline.mapping.joining import latents_of_clusters, with_spaces
from pipeline.mapping.latents import Embedded, latents_table


def embedded(z, split="test"):
    table = pd.DataFrame(z, columns=[f"z{i}" for i in range(z.shape[1])])
    return Embedded(table.assign(session="a", clip=np.arange(len(z)), split=split, given="audio+neural"))


def test_turned_and_swapped_latents_are_matched_over_seeds():
    generator = np.random.default_rng(0)
    z = generator.standard_normal((300, 4)) * [1.0, 1.0, 1.0, 0.01]
    mixed = z.copy()
    mixed[:, :2] = z[:, :2] @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    other = np.column_stack([-z[:, 2], mixed[:, 0], z[:, 3], mixed[:, 1]])
    found = latents_table([embedded(z), embedded(other)], np.array([1.0, 1.0, 1.0, 0.0]))
    assert found["reported_as"].tolist() == ["subspace", "subspace", "dimension", "inactive"]
    assert found["stability_r"][2] == 1.0
    assert found["seeds_agree"].tolist() == [0, 0, 1, 1]


def test_one_seed_shows_no_stability():
    found = latents_table([embedded(np.random.default_rng(1).standard_normal((50, 2)))], np.ones(2))
    assert found["stability_r"].isna().all() and (found["reported_as"] == "subspace").all()


def halved(z):
    return embedded(z, np.where(np.arange(len(z)) < len(z) // 2, "validation", "test"))


def test_a_turned_copy_is_the_same_subspace_and_independent_latents_share_none():
    generator = np.random.default_rng(3)
    z = generator.standard_normal((600, 6)) * [1, 1, 1, 0.5, 0.5, 0.01]  # the last is not active
    turn = np.eye(5) - 0.4  # a reflection that mixes all
    copy = np.column_stack([z[:, :5] @ turn, 0.01 * generator.standard_normal(600)])
    found = latents_table([halved(z), halved(copy)], np.zeros(6))
    assert found["subspace_r"].min() > 0.999 and found["stability_r"][:5].max() < 0.8
    others = [halved(generator.standard_normal((600, 20))) for _ in range(3)]  # in-sample it would be about 0.3
    assert abs(latents_table(others, np.zeros(20))["subspace_r"][0]) < 0.1
    half = z.copy()
    half[:, :2] = generator.standard_normal((600, 2))  # three of five are the same
    assert latents_table([halved(z), halved(half)], np.zeros(6))["subspace_r"][0] == pytest.approx(0.6, abs=0.1)
    assert np.isnan(latents_table([halved(z)], np.zeros(6))["subspace_r"]).all()


def test_spaces_come_from_the_sensitivities_of_the_first_seed():
    metrics, other = (Metrics(objective="mopoe", latent_dim=4, seed=seed) for seed in (1, 0))
    sizes = {"audio": (0.5, 0.0, 0.3, 0.4), "neural": (0.5, 0.2, 0.0, 0.4)}
    for session, factor in (("a", 0.5), ("b", 1.5)):  # their mean counts
        for side, values in sizes.items():
            for latent, value in enumerate(values):
                score = Ratio(np.full(3, factor * value), np.ones(3), 3)
                labels = {"session": session, "split": "test", "target": side, "given": "audio+neural", "unit": "SD"}
                metrics.add(score, metric="sensitivity", unit_id=f"z{latent}", **labels)
                other.add(score, metric="sensitivity", unit_id=f"z{3 - latent}", **labels)  # in another order
    primary = Primary("mopoe", 4, [1, 0], "bits_per_spike", "bits/spike", 0.1)
    latents = pd.DataFrame({"latent": range(4), "active": [True, True, True, False]})
    found = with_spaces(latents, metrics_table(metrics, other), primary)
    assert found["space"].tolist() == ["shared", "neural", "audio", "inactive"]
    assert found["audio_share"].tolist() == [0.5, 0.0, 1.0, 0.5]
    for latent in range(4):  # the second serves movement most
        moved = Ratio(np.full(3, 9.0 if latent == 1 else 0.0), np.ones(3), 3)
        metrics.add(moved, metric="sensitivity", unit_id=f"z{latent}", **labels | {"target": "movement"})
    found = with_spaces(latents, metrics_table(metrics, other), primary)
    assert found["space"].tolist() == ["shared", "movement", "audio", "inactive"]
    unmeasured = with_spaces(latents, metrics_table(), primary)
    assert unmeasured["space"].isna().all() and unmeasured["audio_share"].isna().all()


def test_only_latents_that_repeat_over_seeds_are_named_beside_clusters():
    clusters = pd.DataFrame({"low_khz": [50.0, 70.0], "high_khz": [60.0, 80.0]})
    bands = pd.DataFrame({"latent": [0, 1, 2], "low_khz": 50.0, "high_khz": 61.0, "q": 0.01, "sign_agrees": True})
    named = bands.assign(reported_as=["dimension", "subspace", "dimension"])
    assert latents_of_clusters(clusters, named) == ["0;2", ""]
    assert latents_of_clusters(clusters, bands.assign(reported_as="subspace")) == ["", ""]
    assert latents_of_clusters(clusters, pd.DataFrame()) == ["", ""]
