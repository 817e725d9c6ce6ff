"""Normal and Laplace posteriors against scipy and quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import laplace, norm

from pipeline.vae.posterior import Posterior, latent_kl

# Both are told their standard deviation.
ORACLE = {"normal": norm, "laplace": lambda mean, sd: laplace(mean, sd / math.sqrt(2))}


def example(family, seed=0, n_components=3):
    draw = torch.randn((2, n_components, 4, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1]], dtype=torch.bool)[:n_components]
    present[0] = present[0] | (n_components == 1)
    filled = draw[0].masked_fill(~present.unsqueeze(-1), math.nan)
    return Posterior(filled, draw[1], present, family)


@pytest.mark.parametrize("family", ORACLE)
def test_densities_agree_with_summed_ones(family):
    q = example(family)
    z = torch.randn((5, 4, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole, each = q.log_prob(z), q.latent_log_prob(z)
    assert (whole.shape, each.shape) == ((5, 4), (5, 4, 2))
    for row in range(4):
        parts = [
            ORACLE[family](q.means[m, row].numpy(), q.log_variances[m, row].exp().sqrt().numpy()).pdf(z[:, row].numpy())
            for m in range(3)
            if q.present[m, row]
        ]
        assert each[:, row].numpy() == pytest.approx(np.log(np.mean(parts, 0)))
        assert whole[:, row].numpy() == pytest.approx(np.log(np.mean(np.prod(parts, -1), 0)))


@pytest.mark.parametrize("family", ORACLE)
def test_samples_follow_the_density(family):
    mean, log_variance = torch.tensor([[0.7, -2.0]]), torch.tensor([[0.5, -1.0]])
    q = Posterior.single(mean.double(), log_variance.double(), family)
    z = q.rsample(20_000, torch.Generator().manual_seed(0))[:, 0].numpy()
    grid = np.linspace(-2, 2, 9)
    for latent in range(2):
        oracle = ORACLE[family](mean[0, latent].item(), math.exp(log_variance[0, latent].item() / 2))
        points = oracle.mean() + oracle.std() * grid
        assert (z[:, latent, None] < points).mean(0) == pytest.approx(oracle.cdf(points), abs=0.015)
        assert q.variance[0, latent].item() == pytest.approx(oracle.var())


@pytest.mark.parametrize("family", ORACLE)
def test_samples_are_pathwise(family):
    mean = torch.zeros((1, 1), dtype=torch.float64, requires_grad=True)
    log_variance = torch.full((1, 1), 0.3, dtype=torch.float64, requires_grad=True)
    z = Posterior.single(mean, log_variance, family).rsample(3, torch.Generator().manual_seed(0))
    gradient = torch.autograd.grad(z.sum(), (mean, log_variance))
    assert gradient[0].item() == pytest.approx(3)
    assert gradient[1].item() == pytest.approx(0.5 * z.sum().item())


@pytest.mark.parametrize("family", ORACLE)
def test_kl_of_each_latent_agrees_with_quadrature(family):
    q = example(family, n_components=1)
    p = Posterior.single(torch.tensor([[0.3, -0.1]]).double(), torch.tensor([[0.8, -0.6]]).double(), family)
    found = latent_kl(q, p)
    assert found.shape == (4, 2)
    for row in range(4):
        for latent in range(2):
            here, there = (
                ORACLE[family](x.means[0, i, latent].item(), math.exp(x.log_variances[0, i, latent].item() / 2))
                for x, i in ((q, row), (p, 0))
            )
            middle, wide = here.mean(), 25 * here.std()

            def integrand(z, here=here, there=there):
                return here.pdf(z) * (here.logpdf(z) - there.logpdf(z))

            kinks = sorted({middle, there.mean()})
            wanted = quad(integrand, middle - wide, middle + wide, points=kinks, limit=500)[0]
            assert found[row, latent].item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_kl_has_no_closed_form_for_mixtures_or_two_families():
    one = example("normal", n_components=1)
    assert latent_kl(example("normal"), one) is None
    assert latent_kl(one, example("laplace", n_components=1)) is None
