"""Synergy of planted posteriors: factors that one side knows, that both know, that only both together know."""

import numpy as np
import pytest
import torch

from pipeline.evaluation.factors import KnownClips, type_factors
from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.scores import Ratio
from pipeline.evaluation.synergy import decoding_scores, sign_test_p
from pipeline.vae.base import Posterior

N = 1500


class Planted:
    """Posterior means are known functions of the first two cells of the sound and the first two counts."""

    cross_generates = True

    def posterior(self, batch, given):
        own = {"audio": batch.data["audio"][:, 0, :2], "neural": batch.data["neural"][:, 0, :2]}
        mean = sum(own[name] for name in given)
        return Posterior.single(mean, torch.zeros_like(mean))


def planted(make_clips, *, kind, factor):
    """Clips with independent `a` (known to the sound) and `b` (known to the counts); factor: of (a, b)."""
    generator = np.random.default_rng(0)
    clips, factors = {}, {}
    for split in ("train", "validation", "test"):
        part = make_clips(n_clips=N, seed=1)[0]
        a, b = generator.normal(size=(2, N))
        part.spectrogram = np.zeros_like(part.spectrogram)
        part.spectrogram[:, 0, 0] = a
        part.counts = np.zeros_like(part.counts)
        part.counts[:, 0, 1] = b
        part.kind = kind
        clips[split] = part
        factors[split] = {name: np.full(N, 1.0) for name in ("pitch", "duration")}
        factors[split]["level"] = factor(a, b, generator.normal(size=N))
        factors[split]["pitch"][:] = np.nan  # not known: left out, as the constant duration is
    known = KnownClips(clips, factors, np.arange(N) // 15)
    metrics = Metrics(objective="x", latent_dim=2, seed=0)
    decoding_scores(Planted(), metrics, known, modalities=("audio", "neural"))
    table = metrics_table(metrics)
    assert set(table["target"]) == {"level"}
    return table.set_index(["metric", "given"])


def test_call_types_are_one_factor(make_clips):
    generator = np.random.default_rng(1)
    clips = {split: make_clips(n_clips=N, seed=1)[0] for split in ("train", "validation", "test")}
    factors, labels = {}, {}
    for split, part in clips.items():
        a, b = generator.normal(size=(2, N))
        part.spectrogram, part.counts = np.zeros_like(part.spectrogram), np.zeros_like(part.counts)
        part.spectrogram[:, 0, 0], part.counts[:, 0, 1] = a, b
        part.kind = "traces"
        labels[split] = np.select([a > 0.5, a < -0.5], ["up", "down"], "flat").astype(object)
        labels[split][::50] = ""
        labels[split][1] = "seen once"
    for split, found in type_factors(labels).items():
        assert set(found) == {"call type down", "call type flat", "call type up"}
        assert np.isnan(found["call type up"][::50]).all() and np.nansum(list(found.values())) == N - N / 50 - 1
        factors[split] = {name: np.full(N, np.nan) for name in ("pitch", "level", "duration")} | found
    metrics = Metrics(objective="x", latent_dim=2, seed=0)
    decoding_scores(Planted(), metrics, KnownClips(clips, factors, np.arange(N) // 15), modalities=("audio", "neural"))
    table = metrics_table(metrics)
    assert set(table["target"]) == {"call type"}
    found = table.set_index(["metric", "given"])["value"]
    assert 0.3 < found["decoding", "audio"] < 0.7  # a straight line tells the outer types, not the middle one
    assert abs(found["decoding", "neural"]) < 0.02
    assert abs(found["decoding_synergy", "audio+neural"]) < 0.02
    assert type_factors({split: np.where(of == "up", "up", "") for split, of in labels.items()})["test"] == {}


@pytest.mark.parametrize("kind", ["spikes", "traces"])
def test_what_only_both_know_is_synergy(make_clips, kind):
    found = planted(make_clips, kind=kind, factor=lambda a, b, e: 1.2 * a + b + 0.5 * e)
    variance = 1.44 + 1 + 0.25
    for given, share in (("audio", 1.44), ("neural", 1.0), ("audio+neural", 2.44)):
        row = found.loc["decoding", given]
        assert row["value"] == pytest.approx(share / variance, abs=4 * row["se"])
        assert row["se"] < 0.03
    gain = found.loc["decoding_synergy", "audio+neural"]
    assert gain["value"] == pytest.approx(1.0 / variance, abs=4 * gain["se"])
    assert gain["value"] > 10 * gain["se"]


def test_what_one_side_knows_alone_is_no_synergy(make_clips):
    found = planted(make_clips, kind="spikes", factor=lambda a, b, e: a + 0.5 * e)
    gain = found.loc["decoding_synergy", "audio+neural"]
    assert abs(gain["value"]) < 0.01
    assert found.loc["decoding", "audio"]["value"] == pytest.approx(0.8, abs=0.05)


def test_noise_is_not_decoded(make_clips):
    found = planted(make_clips, kind="spikes", factor=lambda a, b, e: e)
    assert (found["value"].abs() < 0.01).all()


@pytest.mark.parametrize(("n_above", "n_below", "p"), [(10, 0, 2 / 2**10), (5, 5, 1.0), (9, 1, 22 / 2**10)])
def test_sign_test_is_the_binomial_one(n_above, n_below, p):
    sums = np.concatenate([np.ones(n_above), -0.1 * np.ones(n_below), np.zeros(3), [np.nan]])
    weights = np.append(np.ones(n_above + n_below + 3), 0.0)
    assert sign_test_p(Ratio(sums, weights, 1)) == pytest.approx(p)


def test_without_differences_there_is_no_sign():
    assert np.isnan(sign_test_p(Ratio(np.zeros(4), np.ones(4), 4)))
