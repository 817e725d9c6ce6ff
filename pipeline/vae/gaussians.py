"""Diagonal Gaussians: products, divergences and mixtures, all in log space and without epsilons."""

import math

import torch
from torch import Tensor


def normal_log_prob(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)) in nats, summed over the last axis; shapes (..., n, d) -> (..., n)."""
    squared = (z - mean) ** 2 * torch.exp(-log_variance)
    return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(-1)


def product_of_experts(
    means: Tensor, log_variances: Tensor, present: Tensor | None = None, prior_expert: bool = True
) -> tuple[Tensor, Tensor]:
    """The Gaussian that is proportional to the product of Gaussian experts (Wu & Goodman 2018, section 2.2).

    T* = [1 if prior_expert] + sum_m T_m and mean* = sum_m T_m mean_m / T*, in units of the largest precision, so that
    nothing overflows.

    means, log_variances: (m, n, d). present: bool (m, n), or (m, n, d) where an expert speaks for some latents only;
    absent experts may hold anything, NaN included. Latents for which no expert speaks keep the prior N(0, 1).
    Returns mean and log variance, each (n, d).
    """
    if present is None:
        present = torch.ones(means.shape[:2], dtype=torch.bool, device=means.device)
    if present.ndim == 2:
        present = present.unsqueeze(-1)
    present = present.expand(means.shape)  # (m, n, d)
    with_prior = torch.ones_like(present[0]) if prior_expert else ~present.any(0)
    means = means.masked_fill(~present, 0)
    log_precisions = -log_variances
    largest = log_precisions.detach().masked_fill(~present, -math.inf).amax(0)  # (n, d), of the experts
    largest = torch.where(with_prior, largest.clamp(min=0), largest)
    precisions = torch.exp((log_precisions - largest).masked_fill(~present, 0)) * present
    total = precisions.sum(0) + torch.exp(-largest).masked_fill(~with_prior, 0)
    return (precisions * means).sum(0) / total, -largest - torch.log(total)


def product_of_posteriors(means: Tensor, log_variances: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """The posterior given all that is present, from the posteriors q_m given each: prior^(1 - |S|) prod_m q_m.

    Every q_m already holds the prior N(0, I), which counts once: T* = 1 + sum_m (T_m - 1). One that is wider than the
    prior cannot be (T_m < 1) and adds no precision. A row with one expert is that expert, one with none the prior.

    means, log_variances: (m, n, d); present: bool (m, n) or (m, n, d); absent experts may hold anything, NaN included.
    Returns mean and log variance, each (n, d).
    """
    if present.ndim == 2:
        present = present.unsqueeze(-1)
    present = present.expand(means.shape)  # (m, n, d)
    means = means.masked_fill(~present, 0)
    log_variances = log_variances.masked_fill(~present, 0)
    total = torch.expm1(-log_variances).clamp(min=0).sum(0)  # T* - 1
    single = present.sum(0) == 1
    mean = (means * torch.exp(-log_variances)).sum(0) / (1 + total)
    return torch.where(single, means.sum(0), mean), torch.where(single, log_variances.sum(0), -torch.log1p(total))


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats; (..., n, d) -> (..., n)."""
    return 0.5 * (mean**2 + torch.expm1(log_variance) - log_variance).sum(-1)


def kl_divergence(mean_q: Tensor, log_variance_q: Tensor, mean_p: Tensor, log_variance_p: Tensor) -> Tensor:
    """KL(q || p) of diagonal Gaussians in nats; (..., n, d) -> (..., n)."""
    log_ratio = log_variance_q - log_variance_p
    return 0.5 * ((mean_q - mean_p) ** 2 * torch.exp(-log_variance_p) + torch.expm1(log_ratio) - log_ratio).sum(-1)
