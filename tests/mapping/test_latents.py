import numpy as np
import pandas as pd

from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import Ratio
from pipeline.mapping.choice import Primary
from pipeline.mapping.joining import with_spaces
from pipeline.mapping.latents import Embedded, latents_table, shift_link


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


def test_links_are_found_and_means_of_bouts_are_none():
    generator = np.random.default_rng(2)
    blocks = np.repeat(np.arange(20), 30)
    bouts = generator.standard_normal((20, 1))[blocks] * 3
    left = generator.standard_normal((600, 2)) + bouts
    right = np.column_stack([left[:, 0] + generator.standard_normal(600), generator.standard_normal(600) + bouts[:, 0]])
    r, null = shift_link(left, right, blocks, n_shifts=999)
    assert len(null) == 521  # every shift of at least 40 clips
    p = (1 + (np.abs(null) >= np.abs(r)).sum(axis=0)) / (1 + len(null))
    assert p[0, 0] <= 0.01
    assert p[1, 1] > 0.05  # both follow the bouts, and nothing else


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
    unmeasured = with_spaces(latents, metrics_table(), primary)
    assert unmeasured["space"].isna().all() and unmeasured["audio_share"].isna().all()
