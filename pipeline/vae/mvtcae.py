"""MVTCAE: total correlation instead of an ELBO (Hwang et al. 2021, NeurIPS 34).

https://proceedings.neurips.cc/paper/2021/hash/65a99bb7a3115fdede20da98b08a370f-Abstract.html
"""

from collections.abc import Collection
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.vae.base import Batch, Experts, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_divergence, kl_to_standard_normal, product_of_experts


class MVTCAE(MultimodalVAE):
    """(M - alpha)/M E_q[sum_m lambda_m log p(x_m|z)] - beta ((1 - alpha) KL(q || p) + alpha/M sum_m KL(q || q_m)).

    q = prod_m q_m without a prior expert; M counts the modalities that a row has. It mixes two bounds on the total
    correlation TC(x_1 .. x_M; z) that the shared z explains, alpha times the one with conditional bottlenecks and
    1 - alpha times the one with a single bottleneck. A row with one modality has no correlation to explain: it counts
    with 1 - alpha times its ELBO. What a modality's private latents hold is judged against the prior alone, q and q_m
    being the same there.
    """

    def __init__(self, modalities, *, alpha: Annotated[float, Field(ge=0, le=1)] = 5 / 6, **options):
        super().__init__(modalities, **options)
        self.alpha = alpha

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """prod_m q_m over the given modalities that a row has."""
        return Posterior.single(*self._product(self.experts(batch, given, generator)))

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        mean, log_variance = self._product(experts)
        z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (n, d)
        found = self.log_likelihoods(batch, z, experts.present)
        kls = {}
        for row, name in enumerate(self.modalities):
            own = experts.speaks[row]
            pair = (mean, log_variance, experts.means[row], experts.log_variances[row])
            kl = kl_divergence(*(values[:, own] for values in pair))
            kls[f"kl_{name}"] = kl.masked_fill(~experts.present[row], 0)
        kl = kl_to_standard_normal(mean, log_variance)
        share = self.alpha / experts.present.sum(0).clamp(min=1)  # (n,)
        rate = (1 - self.alpha) * kl + share * sum(kls.values())
        return Objective((1 - share) * self.weighted(found) - self.beta_at(step) * rate, found | {"kl": kl} | kls)

    @staticmethod
    def _product(experts: Experts) -> tuple[Tensor, Tensor]:
        members = experts.mask(experts.present)
        return product_of_experts(experts.means, experts.log_variances, members, prior_expert=False)
