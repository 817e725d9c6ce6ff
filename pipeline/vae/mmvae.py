"""MMVAE: a mixture of experts and importance weights (Shi et al. 2019, https://arxiv.org/abs/1911.03393).

Gradients: sticking the landing (Roeder et al. 2017, https://arxiv.org/abs/1703.09194) and doubly reparameterised
(the DReG estimator of IWAE in Tucker et al. 2019, https://arxiv.org/abs/1810.04152).
"""

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.errors import InputError
from pipeline.vae.base import Batch, Experts, MultimodalVAE, Objective
from pipeline.vae.posterior import Posterior, standard_noise

DECODED_AT_ONCE = 2**24  # numbers: more are decoded in pieces, and again for the gradient, so that memory is bounded


class MMVAE(MultimodalVAE):
    """q(z|x) = (1/|S|) sum_m q(z|x_m) over the modalities S that a row has; `k` samples z_mk from each expert m.

    log w = sum_d lambda_d log p(x_d|z) + beta (log p(z) - log q(z|x)). What is maximised:

    - objective `iwae`, bound `looser`: (1/|S|) sum_m log (1/K) sum_k w_mk; bound `tight`: log (1/(|S| K)) sum_mk w_mk;
    - objective `elbo`: (1/|S|) sum_m (1/K) sum_k log w_mk.

    gradient: `plain`; `stl`: the parameters of q are constants in log q, only z carries their gradient; `dreg` (the
    default for iwae): with these constants the gradient of sum_k sg[wbar_k] log w_k, wbar = w / sum w, and what reaches
    z times wbar_k once more (while beta rises: times 1 - beta + beta wbar_k). That is unbiased for rows with one
    expert. With more, z is drawn from q(z|x_m) but weighted by q(z|x), and DReG as published drops the gradient of
    their ratio; `dreg_mixture` adds it, that of beta sum_k sg[wbar_k] log(q(z_k|x_m) / q(z_k|x)) at fixed z (the first
    term is what the doubled path stands for, the second what `plain` has), and is unbiased. `dreg` stays the default:
    trained with either, bounds and predictions were the same within their errors. Whatever the gradient, the value is
    the bound.

    posterior: `normal` or `laplace`, of experts and prior alike; the prior has mean 0 and variance 1. prior_scale
    `learned`: SDs n_latents softmax(a), so that they may differ but not all grow, as in the authors' code.
    """

    def __init__(
        self,
        modalities,
        *,
        objective: Literal["iwae", "elbo"] = "iwae",
        bound: Literal["looser", "tight"] = "looser",
        gradient: Literal["plain", "stl", "dreg", "dreg_mixture"] | None = None,
        posterior: Literal["normal", "laplace"] = "normal",
        prior_scale: Literal["fixed", "learned"] = "fixed",
        k: Annotated[int, Field(ge=1)] = 10,
        **options,
    ):
        super().__init__(modalities, **options)
        name = type(self).__name__.lower()
        gradient = gradient or ("dreg" if objective == "iwae" else "plain")
        if objective == "elbo" and gradient.startswith("dreg"):
            raise InputError(f"{name}: objective elbo has no such gradient", found=gradient, allowed=("plain", "stl"))
        self.bound = bound if objective == "iwae" else "elbo"
        self.gradient = gradient
        self.posterior_family = posterior
        self.k = k
        self.prior_logits = nn.Parameter(torch.zeros(self.n_latents)) if prior_scale == "learned" else None

    @property
    def prior(self) -> Posterior:
        standard = replace(super().prior, family=self.posterior_family)
        if self.prior_logits is None:
            return standard
        log_sd = math.log(self.n_latents) + torch.log_softmax(self.prior_logits, 0)
        return replace(standard, log_variances=2 * log_sd.expand(standard.means.shape))

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """The mixture over the given modalities that a row has."""
        q = self._mixture(self.experts(batch, given, generator))
        present = q.present.clone()
        present[0] |= ~present.any(0)  # a row without any: one component, the prior
        return replace(q, present=present)

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        expert, rows = experts.present.nonzero(as_tuple=True)  # (p,) each: the experts that each row has
        q, own = self._proposals(experts, expert, rows)  # of p rows
        pair = torch.arange(len(rows), device=rows.device)
        mean, log_variance = q.means[expert, pair], q.log_variances[expert, pair]  # (p, d)
        noise = standard_noise(q.family, (self.k, *mean.shape), like=mean, generator=generator)
        z = mean + torch.exp(0.5 * log_variance) * noise  # (k, p, d)

        beta = self.beta_at(step)
        found = self._decoded(batch, z, q.present, rows)  # (k, p) each
        log_p = self.prior.log_prob(z, own)
        log_q = (q if self.gradient == "plain" else q.detach()).log_prob(z, own)
        log_w = self.weighted(found) + beta * (log_p - log_q)  # (k, p)
        share = 1 / q.present.sum(0).to(z.dtype)  # (p,)

        def per_row(values: Tensor) -> Tensor:
            return values.new_zeros(len(batch)).index_add(0, rows, values)

        if self.bound == "elbo":
            value = per_row(share * log_w.mean(0))
        elif self.bound == "looser":
            value = per_row(share * (torch.logsumexp(log_w, 0) - math.log(self.k)))
        else:
            value = self._tight(log_w, expert, rows, experts.present)
        if self.gradient.startswith("dreg"):
            w = torch.softmax(log_w.detach(), 0)
            if self.bound == "tight":
                w = torch.exp(log_w.detach() - value.detach()[rows]) * share / self.k
            surrogate = log_w
            if self.gradient == "dreg_mixture":
                each = q.component_log_probs(z.detach(), own)  # (k, m, p)
                surrogate = log_w + beta * (each[:, expert, pair] - q.log_prob(z.detach(), own))
            carrier = per_row((1 if self.bound == "tight" else share) * (w * surrogate).sum(0))
            value = value.detach() + carrier - carrier.detach()
            if z.requires_grad:
                again = (1 - beta + beta * w).unsqueeze(-1)
                z.register_hook(lambda gradient: gradient * (again if own is None else torch.where(own, again, 1)))
        terms = {name: per_row(share * values.mean(0)) for name, values in found.items()}
        return Objective(value, terms | {"kl": per_row(share * (log_q - log_p).mean(0))})

    def _mixture(self, experts: Experts) -> Posterior:
        """One component an expert; latents that it knows nothing of keep the prior."""
        knows = experts.mask(experts.present)  # (m, n, d)
        log_variances = torch.where(knows, experts.log_variances, self.prior.log_variances)
        return Posterior(experts.means, log_variances, experts.present, self.posterior_family)

    def _proposals(self, experts: Experts, expert: Tensor, rows: Tensor) -> tuple[Posterior, Tensor | None]:
        """For p pairs of an `expert` and a row: the row's mixture, of which component `expert` is to be sampled.

        Second: bool (p, d), the latents that enter the weights; None for all.
        """
        q = self._mixture(experts)
        return Posterior(q.means[:, rows], q.log_variances[:, rows], q.present[:, rows], q.family), None

    def _decoded(self, batch: Batch, z: Tensor, members: Tensor, rows: Tensor) -> dict[str, Tensor]:
        width = sum(batch.data[name][:1].numel() for name in self.modalities if name in batch.data)
        at_once = max(DECODED_AT_ONCE // max(len(rows) * width, 1), 1)
        if at_once >= len(z):
            return self.log_likelihoods(batch, z, members, rows)
        settings = {"use_reentrant": False, "preserve_rng_state": False}
        parts = [checkpoint(self.log_likelihoods, batch, part, members, rows, **settings) for part in z.split(at_once)]
        return {name: torch.cat([part[name] for part in parts]) for name in self.modalities}

    @staticmethod
    def _tight(log_w: Tensor, expert: Tensor, rows: Tensor, present: Tensor) -> Tensor:
        """log of the mean weight over all samples of a row, (k, p) -> (n,); 0 for rows without any."""
        each = log_w.new_zeros(present.shape).index_put((expert, rows), torch.logsumexp(log_w, 0))  # (m, n)
        some = present.any(0)
        total = torch.logsumexp(each.masked_fill(~present & some, -math.inf), 0)
        count = len(log_w) * present.sum(0).to(log_w.dtype)
        return torch.where(some, total - count.clamp(min=1).log(), 0)
