"""MVAE: a product of experts, trained on subsets (Wu & Goodman 2018, https://arxiv.org/abs/1802.05335)."""

from collections.abc import Collection

import torch
from torch import Tensor

from pipeline.errors import InputError
from pipeline.vae.base import Batch, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal, product_of_experts


class MVAE(MultimodalVAE):
    """sum_S ELBO(S), ELBO(S) = E_{q_S}[sum_{m in S} lambda_m log p(x_m|z)] - beta KL(q_S || p), q_S = p(z) prod q_m.

    S: all that a row has, each of its modalities alone and, with three or more, `random_subsets` others drawn anew at
    every step. q(z|x_m) holds the prior expert too, so it is not the encoder's output.
    """

    def __init__(self, modalities, *, random_subsets: int = 1, **options):
        super().__init__(modalities, **options)
        if random_subsets < 0:
            raise InputError("mvae: random_subsets must be 0 or more", found=random_subsets)
        self.random_subsets = random_subsets

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """p(z) prod_m q_m over the given modalities that a row has."""
        experts = self.experts(batch, given, generator)
        mean, log_variance = product_of_experts(
            experts.means, experts.log_variances, experts.mask(experts.present), prior_expert=True
        )
        return Posterior.single(mean, log_variance)

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        terms = {name: 0.0 for name in (*self.modalities, "kl")}
        value = torch.zeros(len(batch), device=self.speaks.device)
        for members in self._subsets(experts.present, generator):  # (m, n)
            mean, log_variance = product_of_experts(
                experts.means, experts.log_variances, experts.mask(members), prior_expert=True
            )
            z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (n, d)
            found = self.log_likelihoods(batch, z, members)
            kl = kl_to_standard_normal(mean, log_variance)  # rows without members: the prior, KL 0
            value = value + self.weighted(found) - self.beta_at(step) * kl
            for name, term in (found | {"kl": kl}).items():
                terms[name] = terms[name] + term
        return Objective(value, terms)

    def _subsets(self, present: Tensor, generator: torch.Generator | None) -> list[Tensor]:
        """Members (m, n) of each subset; a row that has no such subset, or has it twice, has no members there."""
        n_modalities = len(present)
        subsets = [present]
        several = present.sum(0) > 1  # a single modality is already the whole of what the others have
        for row in range(n_modalities) if n_modalities > 1 else ():
            alone = torch.zeros_like(present)
            alone[row] = present[row] & several
            subsets.append(alone)
        others = [code for code in range(1, 2**n_modalities - 1) if 2 <= code.bit_count() < n_modalities]
        if not others or not self.random_subsets:
            return subsets
        drawn = torch.randperm(len(others), generator=generator, device=present.device)[: self.random_subsets]
        for code in (others[index] for index in drawn.tolist()):
            chosen = torch.tensor([bool(code >> row & 1) for row in range(n_modalities)], device=present.device)
            has_all = (present | ~chosen.unsqueeze(1)).all(0)
            has_more = (present & ~chosen.unsqueeze(1)).any(0)
            subsets.append(chosen.unsqueeze(1) & (has_all & has_more))
        return subsets
