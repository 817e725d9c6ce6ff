"""Sensitivities, spaces, MIG and SAP of planted linear models, and of models with nothing to find."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.evaluation.factorisation import (
    audio_shares,
    disentanglement_scores,
    factorisation,
    mutual_information_gap,
    sensitivities,
    sensitivity_scores,
    separated_predictability,
    spaces,
)
from pipeline.evaluation.factors import known_clips
from pipeline.evaluation.heldout import held_out
from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.vae.base import Modality, MultimodalVAE, Posterior

GENERATOR = np.random.default_rng(0)


class Linear(nn.Module):
    """A decoder of fixed weights, to dB or (with `exp`) to counts; an encoder that says nothing."""

    def __init__(self, weights, shape, exp=False):
        super().__init__()
        self.weights, self.shape, self.exp = torch.as_tensor(weights, dtype=torch.float32), shape, exp

    def forward(self, z):
        flat = z @ self.weights
        out = flat.reshape(*flat.shape[:-1], *self.shape)
        return {"log_mean": out} if self.exp else {"mean": out}


class Silent(nn.Module):
    def __init__(self, n_latents):
        super().__init__()
        self.n_latents = n_latents

    def forward(self, x):
        zero = torch.zeros(len(x), self.n_latents)
        return zero, zero


class Planted(MultimodalVAE):
    def posterior(self, batch, given, generator=None):
        zero = torch.zeros(len(batch), self.n_latents)
        return Posterior.single(zero, zero)


def weights(n_latents, n_features, sizes):
    """Rows of root mean square `sizes`."""
    w = GENERATOR.normal(size=(n_latents, n_features))
    return w / np.sqrt((w**2).mean(axis=1, keepdims=True)) * np.asarray(sizes, float)[:, None]


@pytest.fixture
def planted(make_clips):
    """score(audio sizes, neural sizes): of 2 shared and 2 private latents each; dB SDs and log rates per SD."""
    clips = make_clips(n_clips=400)[0]

    def score(audio, neural, private=2, sd=1.0, kind="spikes"):
        clips.kind = kind
        held = held_out(clips, split="test", modalities=("audio", "neural"), chunk_s=10.0, min_peak_db=10.0)
        training = clips.where("train")
        scale = np.sqrt(np.mean((training.spectrogram - held.mean_spectrogram) ** 2))
        n = len(audio)
        likelihood = "poisson" if kind == "spikes" else "gaussian"
        modalities = [
            Modality("audio", Silent(n), Linear(scale * weights(n, 128, audio), (8, 16)), "gaussian"),
            Modality("neural", Silent(n), Linear(weights(n, 40, neural), (4, 10), exp=kind == "spikes"), likelihood),
        ]
        private_dim = {"audio": private, "neural": private} if private else {}
        model = Planted(modalities, latent_dim=n - private, private_dim=private_dim)
        n_latents = model.n_latents
        metrics = Metrics(objective="x", latent_dim=n_latents, seed=0)
        sensitivity_scores(
            model,
            metrics,
            held,
            training,
            modalities=("audio", "neural"),
            sd=torch.full((n_latents,), sd),
            generator=torch.Generator().manual_seed(0),
        )
        table = metrics_table(metrics)
        rows = table[table["metric"] == "sensitivity"].pivot(index="unit_id", columns="target", values="value")
        return rows, table[table["metric"] == "factorisation"].iloc[0]

    return score


@pytest.mark.parametrize("kind", ["spikes", "traces"])
def test_private_and_shared_latents_are_told_apart(planted, kind):
    rows, score = planted([0.4, 0.3, 0.5, 0.6], [0.2, 0.3, 0.7, 0.1], kind=kind)
    audio, neural = rows["audio"].to_numpy(), rows["neural"].to_numpy()
    np.testing.assert_allclose(audio, [0.4, 0.3, 0.5, 0.6, 0, 0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(neural, [0.2, 0.3, 0, 0, 0.7, 0.1], rtol=1e-3, atol=1e-6)
    assert spaces(dict(rows)).tolist() == ["shared", "shared", "audio", "audio", "neural", "neural"]
    np.testing.assert_allclose(audio_shares(dict(rows)), [2 / 3, 0.5, 1, 1, 0, 0], rtol=1e-3, atol=1e-6)
    assert score["value"] == pytest.approx((0.2 + 0.0 + 0.5 + 0.6 + 0.7 + 0.1) / 3.1, rel=1e-3)


def test_a_step_is_one_sd_of_the_aggregate_posterior(planted):
    rows, _ = planted([0.4, 0.2, 0.3, 0.3], [0.2, 0.2, 0.3, 0.3], sd=0.5, kind="traces")
    np.testing.assert_allclose(rows["audio"][:2], [0.2, 0.1], rtol=1e-3)


def test_shared_by_structure_is_private_where_one_side_does_not_listen(planted):
    rows, score = planted([0.5, 0.5, 0.0], [0.5, 0.0, 0.5], private=0)
    assert spaces(dict(rows)).tolist() == ["shared", "audio", "neural"]
    assert score["value"] == pytest.approx(1.0 / 2.0, rel=1e-3)


def test_latents_that_do_nothing_are_inactive(planted):
    rows, _ = planted([0.0, 0.01, 0.3], [0.0, 0.005, 0.3], private=0)
    assert spaces(dict(rows)).tolist() == ["inactive", "inactive", "shared"]
    assert np.isnan(audio_shares({"audio": np.zeros(2), "neural": np.zeros(2)})).all()
    silent = planted([0.0, 0.0], [0.0, 0.0], private=0)[1]
    assert silent["value"] == 0.0 and np.isfinite(silent["se"])


def test_a_latent_of_a_third_modality_is_its_own():
    sizes = {
        "audio": np.array([0.3, 0.0, 0.2, 0.001, 0.0]),
        "neural": np.array([0.2, 0.0, 0.0, 0.001, 0.3]),
        "movement": np.array([0.1, 0.5, 0.2, 0.001, 0.01]),
    }
    assert spaces(sizes).tolist() == ["shared", "movement", "shared", "inactive", "neural"]
    np.testing.assert_allclose(audio_shares(sizes), [0.5, 0.0, 0.5, 1 / 3, 0.0])
    assert factorisation(np.eye(3)) == pytest.approx(1.0)
    assert factorisation(np.ones((3, 4))) == pytest.approx(0.0)
    assert factorisation(np.array([[0.4], [0.4], [0.0]])) == pytest.approx(0.25)  # two of three: (3 x 0.4 - 0.8) / 1.6


def test_curvature_of_a_decoder_is_averaged_over_the_posterior():
    found = sensitivities(lambda z: {"audio": z**2}, torch.tensor([[1.0], [-3.0]]), torch.tensor([0.5]))
    np.testing.assert_allclose(found["audio"], [[1.0], [3.0]], rtol=1e-6)


def test_gaps_of_one_latent_a_factor():
    factor = GENERATOR.normal(size=4000)
    z = np.column_stack([GENERATOR.normal(size=4000), factor, GENERATOR.normal(size=4000)])
    assert mutual_information_gap(z, factor) == pytest.approx(1.0, abs=0.03)
    noisy = np.column_stack([0.8 * factor + 0.6 * GENERATOR.normal(size=4000), z[:, 0]])
    assert separated_predictability(noisy, factor) == pytest.approx(0.64, abs=0.05)
    # mutual information of normal variables of that correlation, -log(1 - r^2) / 2, less what ten levels lose
    assert mutual_information_gap(noisy, factor) == pytest.approx(-0.5 * np.log(0.36) / np.log(10), abs=0.05)


def test_no_gap_where_two_latents_tell_the_same_or_none_tells_anything():
    factor = GENERATOR.normal(size=3000)
    twice = np.column_stack([factor, -factor])
    nothing = GENERATOR.normal(size=(3000, 5))
    for gap in (mutual_information_gap, separated_predictability):
        assert gap(twice, factor) == pytest.approx(0.0, abs=0.01)
        assert gap(nothing, factor) < 0.02
        assert gap(nothing, np.ones(3000)) == 0.0
        assert gap(nothing[:, :1], nothing[:, 0]) == pytest.approx(1.0)


def test_scores_of_known_factors_have_errors(make_clips):
    known = known_clips(make_clips(n_clips=1000)[0], modalities=("audio",), min_peak_db=10.0, chunk_s=2.0)
    level = known.factors["test"]["level"]
    z = np.column_stack([level, GENERATOR.normal(size=len(level))])
    metrics = Metrics(objective="x", latent_dim=2, seed=0)
    disentanglement_scores(metrics, known, z, given="audio")
    table = metrics_table(metrics).set_index(["metric", "target"])
    assert table.loc["sap", "level"]["value"] > 0.9 and table.loc["mig", "level"]["value"] > 0.6
    assert (table["se"] > 0).all() and (table["se"] < 0.2).all()
