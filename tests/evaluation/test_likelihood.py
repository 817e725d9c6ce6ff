"""Linear-Gaussian models, of which every density is known: z ~ N(0, I), x_m | z ~ N(W_m z + b_m, s_m^2 I)."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from torch import nn

from pipeline.evaluation.likelihood import draw, kl_per_latent
from pipeline.vae.base import Batch, Modality, MultimodalVAE, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal

N_LATENTS, N_CLIPS, SD = 2, 12, {"audio": 0.8, "neural": 1.2}


class Fixed(nn.Module):
    """An encoder that knows the posterior of its modality, or a decoder of a planted model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Mixture(MultimodalVAE):
    """q(z|given) = the even mixture of the experts of `given`."""

    def posterior(self, batch, given, generator=None):
        experts = self.experts(batch, given)
        return Posterior(experts.means, experts.log_variances, experts.present)


@pytest.fixture
def planted():
    generator = np.random.default_rng(0)
    maps = {name: generator.normal(0, 0.7, (size, N_LATENTS)) for name, size in (("audio", 4), ("neural", 3))}
    z = generator.normal(size=(N_CLIPS, N_LATENTS))
    data = {name: z @ w.T + SD[name] * generator.normal(size=(N_CLIPS, len(w))) for name, w in maps.items()}

    def modality(name):
        w = torch.as_tensor(maps[name])
        precision = torch.eye(N_LATENTS, dtype=w.dtype) + w.T @ w / SD[name] ** 2
        # the diagonal of the true posterior: no diagonal proposal is exact, so that the weights vary
        spread = torch.log(torch.diagonal(torch.linalg.inv(precision)))

        def encode(x):
            mean = x @ w @ torch.linalg.inv(precision) / SD[name] ** 2
            return mean, spread.expand_as(mean)

        log_scale = torch.tensor(math.log(SD[name]))
        decode = Fixed(lambda z: {"mean": z @ w.T, "log_scale": log_scale})
        return Modality(name, Fixed(encode), decode, "gaussian")

    model = Mixture([modality("audio"), modality("neural")], latent_dim=N_LATENTS).double()
    present = {name: torch.ones(N_CLIPS, dtype=torch.bool) for name in data}
    batch = Batch({name: torch.as_tensor(x) for name, x in data.items()}, present, "s")
    return model, batch, data, maps


def exact(data, maps, *names):
    """log p(x_names) of each clip, nats."""
    w = np.concatenate([maps[name] for name in names])
    noise = np.concatenate([np.full(len(maps[name]), SD[name] ** 2) for name in names])
    x = np.concatenate([data[name] for name in names], axis=1)
    return multivariate_normal(np.zeros(len(w)), w @ w.T + np.diag(noise)).logpdf(x)


def standard_error(n_samples, ess):
    """Of the log of a mean weight, by the delta method: var(w)/mean(w)^2 = K/ESS - 1."""
    return np.sqrt(np.maximum(n_samples / ess - 1, 1e-12) / n_samples)


def drawn(model, batch, given, *, n_samples=20_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return draw(model, batch, given=given, targets=("audio", "neural"), n_samples=n_samples, generator=generator)


@pytest.mark.parametrize("given", [("audio",), ("neural",), ("audio", "neural")])
@pytest.mark.parametrize("targets", [("audio",), ("neural",), ("audio", "neural")])
def test_every_proposal_estimates_the_exact_log_likelihood(planted, given, targets):
    model, batch, data, maps = planted
    estimate = drawn(model, batch, given).marginal(*targets)
    deviation = (estimate.log_prob - exact(data, maps, *targets)) / standard_error(20_000, estimate.ess)
    assert np.abs(deviation).max() < 4  # 12 clips, 9 cases
    assert np.abs(deviation.mean()) < 3 / math.sqrt(N_CLIPS)


def test_the_exact_posterior_as_proposal_has_no_variance(planted):
    model, batch, data, _ = planted
    w = {"audio": np.diag([1.0, -2.0]), "neural": np.eye(2)}
    data = {name: values[:, :2] for name, values in data.items()}

    def encode(x):
        variance = 1 / (1 + np.diag(w["audio"]) ** 2 / SD["audio"] ** 2)
        mean = x * torch.as_tensor(variance * np.diag(w["audio"]) / SD["audio"] ** 2)
        return mean, torch.as_tensor(np.log(variance)).expand_as(mean)

    model.modalities["audio"].encoder = Fixed(encode)
    log_scale = torch.tensor(math.log(SD["audio"]))
    model.modalities["audio"].decoder = Fixed(
        lambda z: {"mean": z @ torch.as_tensor(w["audio"]), "log_scale": log_scale}
    )
    batch = Batch({"audio": torch.as_tensor(data["audio"])}, {"audio": batch.present["audio"]}, "s")
    generator = torch.Generator().manual_seed(0)
    draws = draw(model, batch, given=("audio",), targets=("audio",), n_samples=5, generator=generator)
    np.testing.assert_allclose(draws.marginal("audio").log_prob, exact(data, w, "audio"), rtol=1e-5)
    np.testing.assert_allclose(draws.marginal("audio").ess, 5, rtol=1e-5)


def test_predictive_is_the_likelihood_averaged_over_the_posterior(planted):
    model, batch, data, maps = planted
    estimate = drawn(model, batch, ("audio",)).predictive("neural")
    posterior = model.posterior(batch, ("audio",))
    w = maps["neural"]
    for clip in range(N_CLIPS):
        mean, variance = posterior.mean[clip].numpy(), posterior.variance[clip].numpy()
        covariance = w @ np.diag(variance) @ w.T + SD["neural"] ** 2 * np.eye(3)
        wanted = multivariate_normal(w @ mean, covariance).logpdf(data["neural"][clip])
        assert abs(estimate.log_prob[clip] - wanted) < 4 * standard_error(20_000, estimate.ess[clip])


def test_latents_that_a_target_does_not_see_cost_nothing(planted):
    """The private latent of the sound is known to 0.001 SD: as part of the proposal it would leave one sample."""
    _, batch, data, maps = planted
    maps = {name: np.column_stack([w, 0.9 * w[:, 1]]) for name, w in maps.items()}  # the last one is private

    def modality(name, spread):
        def encode(x):
            mean = torch.tensor([0.0, 0.0, 1.0], dtype=x.dtype).expand(len(x), 3)
            return mean, torch.log(torch.tensor([0.5, 0.5, spread**2], dtype=x.dtype)).expand_as(mean)

        log_scale = torch.tensor(math.log(SD[name]))
        decode = Fixed(lambda z: {"mean": z @ torch.as_tensor(maps[name]).T, "log_scale": log_scale})
        return Modality(name, Fixed(encode), decode, "gaussian")

    private = {"audio": 1, "neural": 1}
    modalities = [modality("audio", 1e-3), modality("neural", 0.9)]
    model = Mixture(modalities, latent_dim=N_LATENTS, private_dim=private).double()

    def both(batch, given, generator=None):
        experts = model.experts(batch, given)
        means, log_variances = experts.means.sum(0), experts.log_variances.sum(0)
        return Posterior.single(means, torch.where(model.speaks.all(0), log_variances / 2, log_variances))

    model.posterior = both
    draws = drawn(model, batch, ("audio", "neural"))
    neural = draws.marginal("neural")
    deviation = (neural.log_prob - exact(data, maps, "neural")) / standard_error(20_000, neural.ess)
    assert np.abs(deviation).max() < 4 and np.median(neural.ess) > 1000
    assert np.median(draws.marginal("audio", "neural").ess) < np.median(neural.ess)


def test_few_samples_estimate_from_below(planted):
    model, batch, data, maps = planted
    few = np.mean([drawn(model, batch, ("neural",), n_samples=2, seed=s).marginal("audio").log_prob for s in range(50)])
    assert few < exact(data, maps, "audio").mean() - 0.1


def test_missing_elements_are_left_out(planted):
    model, batch, data, maps = planted
    seen = batch.data["neural"].clone()
    seen[:, 2] = torch.nan
    # the encoder of `audio` is the proposal: what is missing of `neural` must not reach it
    incomplete = Batch({"audio": batch.data["audio"], "neural": seen}, batch.present, "s")
    estimate = drawn(model, incomplete, ("audio",)).marginal("neural")
    rest = {"neural": data["neural"][:, :2]}
    wanted = exact(rest, {"neural": maps["neural"][:2]}, "neural")
    assert np.abs((estimate.log_prob - wanted) / standard_error(20_000, estimate.ess)).max() < 3.5


def standard(n_latents):
    return Posterior.single(torch.zeros(1, n_latents), torch.zeros(1, n_latents))


def test_kl_per_latent_sums_to_the_closed_form():
    generator = torch.Generator().manual_seed(1)
    mean, log_variance = torch.randn((5, 3), generator=generator), torch.randn((5, 3), generator=generator)
    kl = kl_per_latent(Posterior.single(mean, log_variance), standard(3), generator)
    np.testing.assert_allclose(kl.sum(axis=1), kl_to_standard_normal(mean, log_variance), rtol=1e-5)


def test_kl_of_a_mixture_agrees_with_quadrature():
    means = torch.tensor([[[-1.0, 0.0]], [[2.0, 0.5]], [[9.0, 9.0]]]).expand(3, 400, 2)
    log_variances = torch.log(torch.tensor([[[0.2, 1.0]], [[0.5, 0.3]], [[1.0, 1.0]]])).expand(3, 400, 2)
    present = torch.tensor([[True], [True], [False]]).expand(3, 400)
    kl = kl_per_latent(Posterior(means, log_variances, present), standard(2), torch.Generator().manual_seed(0))
    for latent in range(2):
        parts = [norm(means[i, 0, latent], math.exp(log_variances[i, 0, latent] / 2)) for i in range(2)]

        def integrand(z, parts=parts):
            q = (parts[0].pdf(z) + parts[1].pdf(z)) / 2
            return q * (np.log(q) - norm.logpdf(z)) if q > 0 else 0.0

        wanted = quad(integrand, -8, 8, limit=200)[0]
        assert abs(kl[:, latent].mean() - wanted) < 4 * kl[:, latent].std() / math.sqrt(400)


def test_kl_of_two_families_is_sampled():
    mean, log_variance = torch.full((400, 1), 0.5), torch.full((400, 1), -1.0)
    laplace = Posterior.single(mean, log_variance, "laplace")
    kl = kl_per_latent(laplace, standard(1), torch.Generator().manual_seed(0))
    # -entropy - E log p: the second moment is all that a normal prior asks for
    entropy = 1 + math.log(2 * math.sqrt(math.exp(-1.0) / 2))
    wanted = 0.5 * (0.5**2 + math.exp(-1.0) + math.log(2 * math.pi)) - entropy
    assert abs(kl.mean() - wanted) < 4 * kl.std() / math.sqrt(400)
