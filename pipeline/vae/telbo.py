"""TELBO: three bounds for two modalities, one for all and one for each (the triple ELBO of Vedantam et al. 2018,
https://arxiv.org/abs/1705.10762)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from pipeline.vae.base import Batch, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal
from pipeline.vae.joint import JointVAE


class TELBO(JointVAE):
    """ELBO(x) + sum_m ELBO(x_m), x all modalities, each bound with a posterior, a sample and a KL of its own.

    ELBO(x) = E_{q(z|x)}[sum_m lambda_m log p(x_m|z)] - beta KL(q(z|x) || p),
    ELBO(x_m) = E_{q(z|x_m)}[gamma_m log p(x_m|z)] - beta KL(q(z|x_m) || p); gamma_m is 1 unless `gammas` says.

    stages 1: all at once; a sample has the bounds of what it holds, scaled so that they weigh as much as the M + 1
    bounds of a complete one. stages 2: ELBO(x) alone for the share `joint_share` of the training, on samples that have
    all modalities; then joint encoder and decoders stay as they are and the encoders of one modality learn. They start
    from what the joint one has learnt to see: untrained ones get lost before decoders that no longer move.
    """

    def __init__(
        self,
        modalities,
        *,
        stages: Annotated[int, Field(ge=1, le=2)] = 2,
        joint_share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        gammas: dict[str, Annotated[float, Field(gt=0)]] | None = None,
        **options,
    ):
        super().__init__(modalities, **options)
        self.stages = stages
        self.joint_share = joint_share
        self.gammas = {name: 1.0 for name in self.modalities} | (gammas or {})

    def usable(self, present: Tensor, step: float) -> Tensor:
        """Samples that have all modalities in stage one of two, else those that have any."""
        if self.stages == 2 and step < self.joint_share:
            return present.all(0) & (len(present) > 1)
        return present.any(0)

    def settled(self, step: float) -> bool:
        """Whether the encoders of one modality have begun to learn."""
        return self.stages == 1 or step > self.joint_share

    def advance(self, before: float, now: float) -> None:
        """Where stage two begins, hand the joint encoder's features to the encoders of one modality."""
        if self.stages == 2 and before < self.joint_share <= now:
            self.share_trunks()

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        beta = self.beta_at(step)
        present = self.presence(batch)  # (m, n)
        if self.stages == 2:
            if step < self.joint_share:
                return self._joint_bound(batch, present, beta, generator)
            with frozen(p for modality in self.modalities.values() for p in modality.decoder.parameters()):
                return self._single_bounds(batch, beta, generator)
        joint = self._joint_bound(batch, present, beta, generator)
        single = self._single_bounds(batch, beta, generator)
        n_bounds = present.sum(0) + present.all(0)
        scale = (1 + len(present)) / n_bounds.clamp(min=1)
        return Objective(scale * (joint.value + single.value), joint.terms | single.terms)

    def _joint_bound(self, batch: Batch, present: Tensor, beta: float, generator: torch.Generator | None) -> Objective:
        """ELBO(x), 0 for samples that lack a modality."""
        rows = present.all(0).nonzero().squeeze(-1)
        if not len(rows):
            return Objective(torch.zeros(len(batch), device=present.device))
        whole = batch.take(rows)
        mean, log_variance = self.joint(whole, self.modalities, generator)
        z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (rows, d)
        terms = self.log_likelihoods(whole, z, present[:, rows])
        terms = terms | {"kl": kl_to_standard_normal(mean, log_variance)}
        value = self.weighted({name: terms[name] for name in self.modalities}) - beta * terms["kl"]
        return Objective(value, terms).spread(rows, len(batch))

    def _single_bounds(self, batch: Batch, beta: float, generator: torch.Generator | None) -> Objective:
        """sum_m ELBO(x_m) over what a sample has."""
        experts = self.experts(batch, generator=generator)
        value = torch.zeros(len(batch), device=self.speaks.device)
        terms = {}
        for row, name in enumerate(self.modalities):
            members = torch.zeros_like(experts.present)
            members[row] = experts.present[row]
            mean, log_variance = experts.means[row], experts.log_variances[row]  # absent rows: the prior, KL 0
            z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (n, d)
            terms[f"{name}_alone"] = self.log_likelihoods(batch, z, members)[name]
            terms[f"kl_{name}"] = kl_to_standard_normal(mean, log_variance)
            value = value + self.gammas[name] * terms[f"{name}_alone"] - beta * terms[f"kl_{name}"]
        return Objective(value, terms)


@contextmanager
def frozen(parameters: Iterator[torch.nn.Parameter]) -> Iterator[None]:
    """What is computed inside passes gradients through these parameters, none to them."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
