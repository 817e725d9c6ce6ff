"""Gaussian algebra against quadrature, torch.distributions and scipy."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import norm
from torch.distributions import Independent, Normal, kl_divergence

from pipeline.vae import gaussians


def random_experts(m, n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    draw = torch.randn((2, m, n, d), generator=g, dtype=torch.float64)
    return draw[0], draw[1]


@pytest.mark.parametrize("prior", [True, False])
def test_product_is_the_normalised_product_of_densities(prior):
    means, log_variances = random_experts(3, 4, 2)
    present = torch.tensor([[1, 1, 0, 1], [1, 0, 1, 1], [1, 0, 0, 1]], dtype=torch.bool)
    mean, log_variance = gaussians.product_of_experts(means, log_variances, present, prior_expert=prior)
    grid = np.linspace(-25, 25, 20_001)
    for row in range(4):
        for latent in range(2):
            density = norm.pdf(grid) if prior else np.ones_like(grid)
            for m in range(3):
                if present[m, row]:
                    scale = np.exp(log_variances[m, row, latent].item() / 2)
                    density *= norm.pdf(grid, means[m, row, latent].item(), scale)
            density /= trapezoid(density, grid)
            expected = trapezoid(grid * density, grid)
            spread = trapezoid((grid - expected) ** 2 * density, grid)
            assert mean[row, latent].item() == pytest.approx(expected, abs=1e-6)
            assert log_variance[row, latent].exp().item() == pytest.approx(spread, rel=1e-6)


def test_product_of_experts_is_exact_for_extreme_precisions():
    log_variances = torch.tensor([[[-80.0]], [[80.0]]])
    mean, log_variance = gaussians.product_of_experts(torch.tensor([[[2.0]], [[-5.0]]]), log_variances)
    assert mean.item() == pytest.approx(2.0)
    assert log_variance.item() == pytest.approx(-80.0)
    absent = torch.tensor([[True], [False]])
    _, wide = gaussians.product_of_experts(torch.zeros(2, 1, 1), 100 + log_variances.abs(), absent, prior_expert=False)
    assert wide.item() == pytest.approx(180.0)
    _, wide = gaussians.product_of_experts(torch.zeros(1, 1, 1), torch.full((1, 1, 1), 80.0), prior_expert=False)
    assert wide.item() == pytest.approx(80.0)


def test_absent_experts_leave_no_trace_in_value_or_gradient():
    means, log_variances = random_experts(2, 3, 2)
    present = torch.tensor([[True, True, False], [True, False, False]])
    results = []
    for filler in (float("nan"), 7.0):
        m = torch.where(present.unsqueeze(-1), means, torch.tensor(filler, dtype=torch.float64)).requires_grad_()
        v = torch.where(present.unsqueeze(-1), log_variances, torch.tensor(filler, dtype=torch.float64))
        v.requires_grad_()
        mean, log_variance = gaussians.product_of_experts(m, v, present, prior_expert=False)
        (mean.sum() + log_variance.sum()).backward()
        results.append((mean.detach(), log_variance.detach(), m.grad, v.grad))
    for with_nan, with_number in zip(*results, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_number)
    assert torch.equal(results[0][0][2], torch.zeros(2, dtype=torch.float64))  # no expert: the prior
    assert torch.equal(results[0][1][2], torch.zeros(2, dtype=torch.float64))


def test_presence_may_differ_between_latents():
    means, log_variances = random_experts(2, 3, 2)
    present = torch.tensor([[True, True], [True, False]]).unsqueeze(1).expand(2, 3, 2)
    mean, log_variance = gaussians.product_of_experts(means, log_variances, present, prior_expert=False)
    assert torch.allclose(mean[:, 1], means[0, :, 1])
    assert torch.allclose(log_variance[:, 1], log_variances[0, :, 1])
    both, _ = gaussians.product_of_experts(means, log_variances, prior_expert=False)
    assert torch.allclose(mean[:, 0], both[:, 0])


def test_kl_agrees_with_torch_distributions():
    means, log_variances = random_experts(2, 5, 3)
    q, p = (Independent(Normal(m, torch.exp(v / 2)), 1) for m, v in zip(means, log_variances, strict=True))
    zero = torch.zeros(5, 3, dtype=torch.float64)
    standard = Independent(Normal(zero, zero + 1), 1)
    found = gaussians.kl_divergence(means[0], log_variances[0], means[1], log_variances[1])
    assert torch.allclose(found, kl_divergence(q, p))
    assert not torch.allclose(found, kl_divergence(p, q))
    found = gaussians.kl_to_standard_normal(means[0], log_variances[0])
    assert found.shape == (5,)
    assert torch.allclose(found, kl_divergence(q, standard))


def test_density_agrees_with_scipy():
    means, log_variances = random_experts(3, 4, 2)
    z, _ = random_experts(5, 4, 2, seed=1)
    found = gaussians.normal_log_prob(z, means[0], log_variances[0])
    wanted = norm.logpdf(z.numpy(), means[0].numpy(), np.exp(log_variances[0].numpy() / 2)).sum(-1)
    assert found.numpy() == pytest.approx(wanted)
