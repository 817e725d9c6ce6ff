"""MoPoE: a mixture of products of experts over all subsets (Sutter et al. 2021, https://arxiv.org/abs/2105.02470)."""

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor

from pipeline.vae.base import Batch, Experts, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal, product_of_experts


class MoPoE(MultimodalVAE):
    """E_q[sum_m lambda_m log p(x_m|z)] - beta (1/|P|) sum_S KL(PoE(S) || p), q = (1/|P|) sum_S PoE(S).

    P: the non-empty subsets of what a row has; the KL sum bounds KL(q || p) from above (convexity).
    prior_expert: p(z) joins the product of all modalities (`full`, as in the authors' code), every product (`always`)
    or none (`never`). estimate: z from one subset, drawn for each row (`sampled`), or one z from every subset
    (`stratified`: less noise, |P| times the decoding).
    """

    def __init__(
        self,
        modalities,
        *,
        prior_expert: Literal["full", "always", "never"] = "full",
        estimate: Literal["sampled", "stratified"] = "sampled",
        **options,
    ):
        super().__init__(modalities, **options)
        self.prior_expert = prior_expert
        self.estimate = estimate

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """The mixture over the non-empty subsets of the given modalities that a row has."""
        return self._mixture(self.experts(batch, given, generator))

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        q = self._mixture(experts)
        shares = q.present / q.present.sum(0)  # (s, n)
        if self.estimate == "sampled":
            z = q.rsample(1, generator)[0]  # (n, d), each row from a subset of its own
            found = self.log_likelihoods(batch, z, experts.present)
        else:
            noise = torch.randn(q.means.shape, generator=generator, device=q.means.device, dtype=q.means.dtype)
            z = q.means + torch.exp(0.5 * q.log_variances) * noise  # (s, n, d)
            each = self.log_likelihoods(batch, z, experts.present)  # (s, n)
            found = {name: (shares * value).sum(0) for name, value in each.items()}
        kl = (shares * kl_to_standard_normal(q.means, q.log_variances)).sum(0)
        return Objective(self.weighted(found) - self.beta_at(step) * kl, found | {"kl": kl})

    def _mixture(self, experts: Experts) -> Posterior:
        """PoE(S) of every subset S; rows that have nothing keep one component, the prior."""
        n_modalities = len(experts.present)
        means, log_variances, available = [], [], []
        for code in range(1, 2**n_modalities):
            chosen = torch.tensor([bool(code >> row & 1) for row in range(n_modalities)], device=experts.means.device)
            has_all = (experts.present | ~chosen.unsqueeze(1)).all(0)  # (n,)
            with_prior = self.prior_expert == "always" or (self.prior_expert == "full" and bool(chosen.all()))
            members: Tensor = chosen.unsqueeze(1) & has_all  # (m, n)
            mean, log_variance = product_of_experts(
                experts.means, experts.log_variances, experts.mask(members), prior_expert=with_prior
            )
            means.append(mean)
            log_variances.append(log_variance)
            available.append(has_all)
        available[0] = available[0] | ~torch.stack(available).any(0)
        return Posterior(torch.stack(means), torch.stack(log_variances), torch.stack(available))
