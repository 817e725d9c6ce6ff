"""What all families share: posteriors, presence, decoding, private latents, beta."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pipeline.errors import InputError
from pipeline.vae.base import Posterior
from pipeline.vae.spec import family_class

FAMILIES = ("unimodal", "mvae", "mopoe")
PRESENT = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]], bool)


def mixture(n=6):
    means = torch.tensor([-100.0, 0.0, 100.0], dtype=torch.float64).reshape(3, 1, 1).expand(3, n, 1)
    present = torch.ones(3, n, dtype=torch.bool)
    present[1, 0] = present[2, 0] = present[0, 1] = False
    return Posterior(means, torch.zeros(3, n, 1, dtype=torch.float64), present)


def test_samples_are_spread_evenly_over_the_components_of_each_row(generator):
    q = mixture()
    near = (q.rsample(12, generator()).squeeze(-1) / 100).round()  # (12, n)
    assert (near[:, 0] == -1).all()  # one component only
    assert [(near[:, 1] == c).sum().item() for c in (-1, 0, 1)] == [0, 6, 6]
    assert [(near[:, 2] == c).sum().item() for c in (-1, 0, 1)] == [4, 4, 4]


def test_single_samples_choose_a_component_for_every_row(generator):
    q = mixture(3000)
    near = (q.rsample(1, generator())[0, 2:, 0] / 100).round()
    shares = [(near == c).double().mean().item() for c in (-1, 0, 1)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)
    assert (near[1:] != near[:-1]).double().mean() > 0.5  # not in blocks of the batch


def test_moments_and_density_of_a_mixture():
    q = mixture()
    assert q.mean[:3, 0].tolist() == pytest.approx([-100, 50, 0])
    assert q.variance[1, 0].item() == pytest.approx(1 + 50**2)
    z = torch.tensor([[[100.5]] * 6], dtype=torch.float64)
    found = q.log_prob(z)
    assert found[0, 1].item() == pytest.approx(math.log(0.5 * norm.pdf(0.5)))
    assert found[0, 2].item() == pytest.approx(math.log(norm.pdf(0.5) / 3))


@pytest.mark.parametrize("family", FAMILIES)
def test_fillers_reach_neither_objective_nor_gradient(lab, generator, family):
    setting = lab()
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = family_class(family)(setting.modalities(), latent_dim=2)
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *(p.grad for p in model.parameters())])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf)
        assert torch.equal(with_nan, with_number)
    assert found[0][0][4] == 0  # a row without data


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_agrees_with_finite_differences(lab, generator, family):
    setting = lab(weights=[0.7, 1.9])
    model = family_class(family)(setting.modalities(), latent_dim=2, beta=0.6)
    batch = setting.batch(setting.data(5), PRESENT)
    for parameter in model.parameters():  # away from the optimum, where gradients are not small
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
    model.objective(batch, 1.0, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        index = (0,) * parameter.ndim
        values = []
        for step in (1e-5, -1e-5):
            parameter.data[index] += step
            values.append(model.objective(batch, 1.0, generator()).loss.item())
            parameter.data[index] -= step
        numeric = (values[0] - values[1]) / 2e-5
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-7), name


def test_beta_rises_over_the_warmup(lab):
    model = family_class("mvae")(lab().modalities(), latent_dim=2, beta=0.8, warmup_fraction=0.2)
    assert [model.beta_at(step) for step in (0, 0.1, 0.2, 1.0)] == pytest.approx([0, 0.4, 0.8, 0.8])
    assert family_class("mvae")(lab().modalities(), latent_dim=2, beta=0.8).beta_at(0.0) == 0.8


def test_decoding_serves_any_number_of_leading_axes(lab):
    setting = lab()
    model = family_class("mopoe")(setting.modalities(), latent_dim=2)
    z = np.random.default_rng(0).normal(size=(3, 5, 2))
    xs = setting.data(5)
    found = model.decode(torch.tensor(z))
    assert found["m1"].mean.shape == (3, 5, 5)
    value = found["m1"].log_prob(torch.tensor(xs[1])).detach().numpy()
    assert value == pytest.approx(setting.parts[1].log_lik(xs[1], z))
    assert set(model.decode(torch.tensor(z), names=["m0"])) == {"m0"}


def test_generation_shares_the_latents(lab, generator):
    setting = lab()
    model = family_class("mvae")(setting.modalities(), latent_dim=2)
    made = model.generate(7, generator())
    z = [p.expert_mean(made[name].detach().numpy()) for name, p in zip(setting.names, setting.parts, strict=True)]
    assert z[0] == pytest.approx(z[1])
    assert torch.equal(made["m0"], model.generate(7, generator())["m0"])


@pytest.mark.parametrize("family", ["mvae", "mopoe"])
def test_private_latents_belong_to_one_modality(lab, generator, family):
    wide = lab(n_latents=3)
    model = family_class(family)(wide.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1})
    batch = wide.batch(wide.data(4))
    assert model.n_latents == 4
    q = model.posterior(batch, ["m0"])
    assert torch.equal(q.mean[:, 3], torch.zeros(4, dtype=torch.float64))  # m1's own: the prior
    assert torch.equal(q.variance[:, 3], torch.ones(4, dtype=torch.float64))
    assert (q.mean[:, 2] != 0).all()
    z = torch.randn((4, 4), generator=generator(), dtype=torch.float64)
    other = z.clone()
    other[:, 3] += 1
    before, after = model.decode(z), model.decode(other)
    assert torch.equal(before["m0"].mean, after["m0"].mean)
    assert (before["m1"].mean != after["m1"].mean).all()


def test_unknown_modality_is_named(lab):
    setting = lab()
    model = family_class("mvae")(setting.modalities(), latent_dim=2)
    with pytest.raises(InputError, match="m0, m1"):
        model.posterior(setting.batch(setting.data(2)), ["audio"])
