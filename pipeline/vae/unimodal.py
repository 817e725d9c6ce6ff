"""Unimodal VAE: one a modality, trained side by side (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114).

The latents of one modality's VAE have nothing to do with another's: z from `posterior(given=[m])` means something to
modality m's decoder only. This is the baseline for what the other modality adds.
"""

from collections.abc import Collection, Sequence

import torch

from pipeline.errors import InputError
from pipeline.vae.base import Batch, Modality, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal


class Unimodal(MultimodalVAE):
    """sum_m E_{q(z|x_m)}[log p(x_m|z)] - beta KL(q(z|x_m) || p), each m with a z of its own."""

    cross_generates = False

    def __init__(self, modalities: Sequence[Modality], *, latent_dim: int, beta: float = 1.0, warmup_fraction=0.0):
        super().__init__(modalities, latent_dim=latent_dim, beta=beta, warmup_fraction=warmup_fraction)

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """q(z|x_m) of the one modality that is given; the prior for rows without it."""
        if len(set(given)) != 1:
            raise InputError("a unimodal model infers from one modality at a time", found=", ".join(given) or "none")
        experts = self.experts(batch, given, generator)
        row = list(self.modalities).index(next(iter(given)))
        return Posterior.single(experts.means[row], experts.log_variances[row])

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        value = torch.zeros(len(batch), device=self.speaks.device)
        terms = {}
        for row, name in enumerate(self.modalities):
            members = torch.zeros_like(experts.present)
            members[row] = experts.present[row]
            mean, log_variance = experts.means[row], experts.log_variances[row]  # absent rows: the prior, KL 0
            z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (n, d)
            terms[name] = self.log_likelihoods(batch, z, members)[name]
            terms[f"kl_{name}"] = kl_to_standard_normal(mean, log_variance)
            value = value + terms[name] - self.beta_at(step) * terms[f"kl_{name}"]
        return Objective(value, terms)
