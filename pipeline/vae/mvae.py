"""MVAE: a product of experts, trained on subsets (Wu & Goodman 2018, https://arxiv.org/abs/1802.05335)."""

from collections.abc import Collection
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.vae.base import Batch, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal, product_of_experts


class MVAE(MultimodalVAE):
    """sum_S ELBO(S), ELBO(S) = E_{q_S}[sum_{m in S} lambda_m log p(x_m|z)] - beta KL(q_S || p), q_S = p(z) prod q_m.

    S: all that a row has, each of its modalities alone and, with three or more, `random_subsets` others drawn anew at
    every step. q(z|x_m) holds the prior expert too, so it is not the encoder's output.
    """

    def __init__(self, modalities, *, random_subsets: Annotated[int, Field(ge=0)] = 1, **options):
        super().__init__(modalities, **options)
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
        subsets = torch.stack(self._subsets(experts.present, generator), 1)  # (m, s, n)
        subset, rows = subsets.any(0).nonzero(as_tuple=True)  # (p,) each: a row once for each subset that it has
        members = subsets[:, subset, rows]  # (m, p)
        mean, log_variance = product_of_experts(
            experts.means.index_select(1, rows),
            experts.log_variances.index_select(1, rows),
            experts.mask(members),
            prior_expert=True,
        )
        z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (p, d)
        found = self.log_likelihoods(batch, z, members, rows)
        kl = kl_to_standard_normal(mean, log_variance)
        elbo = self.weighted(found) - self.beta_at(step) * kl
        none = z.new_zeros(len(batch))
        terms = {name: none.index_add(0, rows, term) for name, term in (found | {"kl": kl}).items()}
        return Objective(none.index_add(0, rows, elbo), terms)

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
