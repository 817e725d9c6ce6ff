"""MEME: modalities that supervise each other (mutual supervision of Joy et al. 2022, https://arxiv.org/abs/2106.12570)."""

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.vae.base import Batch, Experts, MultimodalVAE, Objective, Posterior
from pipeline.vae.gaussians import kl_divergence
from pipeline.vae.pseudo_samples import PseudoSamples

CODE_SCALE = 10  # of log q(t|s) in the authors' code
ELEMENTS = 10  # of t whose mean log-likelihood the tempered ratio compares by default


class MEME(MultimodalVAE):
    """(L(x_1, x_2) + L(x_2, x_1)) / 2, with p(z|t) the encoder of t, q(t|z) its decoder and z ~ q(z|s) in

    L(s, t) = E[w (lambda_s log p(s|z) - beta log q(z|s) q_T(t|z) / p(z|t))] + beta log q_T(t|s),
    q_T(t|z) = q(t|z)^(1/T), q_T(t|s) = E q_T(t|z), w = q_T(t|z) / q_T(t|s).

    w has no gradient. q_T(t|s) is the mean over `fresh_samples` and the z at hand, so that w is at most one more than
    their number. T = 1 is the paper's objective. With thousands of elements in t such a w is nearly always 0, hence
    `ratio_temperature`: q(z|s) q_T(t|z) / q_T(t|s) is a posterior for any T, and L with it a bound on log p(s|t).
    By default T is the number of elements of t over 10, at least 1. Terms `ratio_ess_t`: (sum w)^2 / sum w^2 over the
    samples. The term log p(t) of the paper has no parameters and is left out.

    Rows that have s only: E[lambda_s log p(s|z) - beta log q(z|s) / p(z)], p(z) = (1/N) sum_i p(z|u_i), with
    `pseudo_samples` learnable inputs u_i of t that start from data: those of the row's session, or of all sessions
    where it has none of t. Joint generation is ancestral: u_i of either modality, z ~ p(z|u_i), both decoded from z;
    that is the `prior` of this family.

    variant `code`: as the authors' code has it, with the KL in closed form, 10 log q_T(t|s), both directions summed
    and T = 1 by default. s leaves t's private latents out of p(z|t) and q(z|s): they are N(0, 1) in q(t|s).
    """

    most_modalities = 2

    def __init__(
        self,
        modalities,
        *,
        variant: Literal["paper", "code"] = "paper",
        fresh_samples: Annotated[int, Field(ge=1)] = 10,
        ratio_temperature: Annotated[float, Field(gt=0)] | None = None,
        pseudo_samples: Annotated[int, Field(ge=1)] = 32,
        **options,
    ):
        super().__init__(modalities, **options)
        if len(self.modalities) != 2:
            raise InputError(
                "meme needs two modalities",
                found=", ".join(self.modalities) or "none",
                mend="leave meme out of models.families; with a section extra there are three or more",
            )
        self.variant = variant
        self.fresh_samples = fresh_samples
        self.ratio_temperature = 1.0 if ratio_temperature is None and variant == "code" else ratio_temperature
        self.pseudo = nn.ModuleDict(
            {
                name: PseudoSamples(modality, pseudo_samples, int(self.speaks[row].sum()))
                for row, (name, modality) in enumerate(self.modalities.items())
            }
        )

    def start(self, batches: Sequence[Batch], *, shared: bool = True) -> None:
        """Set the pseudo-samples to training samples."""
        for pseudo in self.pseudo.values():
            pseudo.start(batches, shared=shared)

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """q(z|x_m) of what is given; of both their even mixture, each with both modalities' private latents."""
        experts = self.experts(batch, given, generator)
        shared = experts.speaks.all(0)
        means = torch.where(shared, experts.means, experts.means.sum(0))
        log_variances = torch.where(shared, experts.log_variances, experts.log_variances.sum(0))
        present = torch.cat([experts.present[:1] | ~experts.present.any(0), experts.present[1:]])
        return Posterior(means, log_variances, present)

    @property
    def prior(self) -> Posterior:
        """p(z) = the even mixture of p(z|u_i) over the pseudo-samples of both modalities and all sessions."""
        parts = [self._pseudo_mixture(row, None, None) for row in range(2)]
        means, log_variances, present = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("means", "log_variances", "present")
        )
        return Posterior(means, log_variances, present)

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        experts = self.experts(batch, generator=generator)
        value, terms = 0.0, {}
        for s, t in ((0, 1), (1, 0)):
            more, found = self._direction(batch, experts, s, t, self.beta_at(step), generator)
            value, terms = value + more, terms | found
        if self.variant == "paper":
            value = torch.where(experts.present.all(0), value / 2, value)
        return Objective(value, terms)

    def _direction(
        self, batch: Batch, experts: Experts, s: int, t: int, beta: float, generator: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L(s, t) of paired rows and the bound with pseudo-samples of rows that have s only; 0 elsewhere, (n,)."""
        names = list(self.modalities)
        has_s, paired = experts.present[s], experts.present.all(0)
        own = experts.speaks[s]
        q_s = Posterior.single(experts.means[s], experts.log_variances[s])
        z = q_s.rsample(1 + self.fresh_samples, generator)  # (k, n, d), the first at hand
        log_s = self.log_likelihoods(batch, z[0], self._members(s, has_s))[names[s]]
        log_t = self.log_likelihoods(batch, z, self._members(t, paired))[names[t]]  # (k, n)

        mine = (experts.means[s][:, own], experts.log_variances[s][:, own])
        theirs = (experts.means[t][:, own], experts.log_variances[t][:, own])
        log_q = Posterior.single(*mine).log_prob(z[0][:, own])
        kl = kl_divergence(*mine, *theirs)
        if self.variant == "paper":
            kl = log_q - Posterior.single(*theirs).log_prob(z[0][:, own])
        tempered = log_t / self._temperature(batch, names[t])
        log_q_t = torch.logsumexp(tempered, 0) - math.log(len(tempered))
        ratios = torch.exp(tempered - log_q_t).detach()
        ratio = ratios[0]
        if self.variant == "paper":
            together = ratio * (self._weight(s) * log_s - beta * (kl + tempered[0])) + beta * log_q_t
        else:
            together = ratio * (self._weight(s) * log_s - beta * kl - tempered[0]) + CODE_SCALE * log_q_t

        if (has_s & ~paired).any():
            p = self._pseudo_mixture(t, batch.session, generator)
            p = Posterior(p.means[..., own], p.log_variances[..., own], p.present)
            kl = torch.where(paired, kl, log_q - p.log_prob(z[0][:, own]))
        alone = self._weight(s) * log_s - beta * kl
        terms = {
            names[s]: log_s,
            f"kl_{names[s]}": kl.masked_fill(~has_s, 0),
            f"cross_{names[t]}": (torch.logsumexp(log_t, 0) - math.log(len(log_t))).masked_fill(~paired, 0),
            f"ratio_ess_{names[t]}": (ratios.sum(0) ** 2 / (ratios**2).sum(0)).masked_fill(~paired, 0),
        }
        return torch.where(paired, together, alone.masked_fill(~has_s, 0)), terms

    def _pseudo_mixture(self, row: int, session: str | None, generator: torch.Generator | None) -> Posterior:
        """The even mixture of p(z|u_i) over the pseudo-samples of a modality, as of one row (u, 1, d)."""
        name = list(self.modalities)[row]
        found = []
        for owner, inputs in self.pseudo[name].sets(session):
            present = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
            found.append(self.experts(Batch({name: inputs}, {name: present}, owner), [name], generator))
        means, log_variances = (
            torch.cat([getattr(experts, part)[row] for experts in found]).unsqueeze(1)
            for part in ("means", "log_variances")
        )
        return Posterior(means, log_variances, torch.ones_like(means[..., 0], dtype=torch.bool))

    def _temperature(self, batch: Batch, name: str) -> float:
        if self.ratio_temperature is not None:
            return self.ratio_temperature
        return max(1.0, batch.data[name][0].numel() / ELEMENTS) if name in batch.data and len(batch) else 1.0

    def _weight(self, row: int) -> float:
        return list(self.modalities.values())[row].weight

    @staticmethod
    def _members(row: int, rows: Tensor) -> Tensor:
        members = torch.zeros((2, len(rows)), dtype=torch.bool, device=rows.device)
        members[row] = rows
        return members
