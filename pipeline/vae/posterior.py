"""Distributions of the latents: one, or an even mixture a row, of normal or Laplace components."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.vae.gaussians import kl_divergence


@dataclass(frozen=True)
class Posterior:
    """q(z|x): for each row an equally weighted mixture of those components that are present.

    means, log_variances: (c, n, d), those of the components whatever their family (a Laplace one has the scale
    sqrt(variance / 2)); present: bool (c, n), at least one a row. family: `normal` or `laplace`.
    """

    means: Tensor
    log_variances: Tensor
    present: Tensor
    family: str = "normal"

    @classmethod
    def single(cls, mean: Tensor, log_variance: Tensor, family: str = "normal") -> "Posterior":
        """One component a row, from (n, d) each."""
        present = torch.ones((1, len(mean)), dtype=torch.bool, device=mean.device)
        return cls(mean.unsqueeze(0), log_variance.unsqueeze(0), present, family)

    @property
    def _shares(self) -> Tensor:
        present = self.present.to(self.means.dtype)
        return (present / present.sum(0)).unsqueeze(-1)  # (c, n, 1)

    @property
    def mean(self) -> Tensor:
        """E[z], (n, d)."""
        return (self._shares * self.means).sum(0)

    @property
    def variance(self) -> Tensor:
        """Var[z] of the mixture per latent, (n, d)."""
        return (self._shares * (self.log_variances.exp() + (self.means - self.mean) ** 2)).sum(0)

    def rsample(self, k: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """`k` pathwise samples (k, n, d), spread evenly over each row's components.

        Systematic: every component's expected number of samples is k / (its row's components), the real one is at
        most one off; with k = 1 the component is drawn at random, for every row on its own.
        """
        _, n, d = self.means.shape
        if len(self.means) == 1:
            mean, log_variance = self.means, self.log_variances  # (1, n, d)
        else:
            start = torch.rand(n, generator=generator, device=self.means.device)
            steps = torch.arange(k, device=self.means.device).unsqueeze(1)  # (k, 1)
            counts = self.present.sum(0)
            place = ((steps + start) / k * counts).long().clamp(max=counts - 1)  # (k, n), among the present ones
            order = torch.argsort((~self.present).to(torch.int8), dim=0, stable=True)  # present components first
            component = order.gather(0, place)
            rows = torch.arange(n, device=self.means.device)
            mean, log_variance = self.means[component, rows], self.log_variances[component, rows]  # (k, n, d)
        noise = standard_noise(self.family, (k, n, d), like=self.means, generator=generator)
        return mean + torch.exp(0.5 * log_variance) * noise

    def log_prob(self, z: Tensor, latents: Tensor | None = None) -> Tensor:
        """log q(z|x) of the whole mixture, (..., n, d) -> (..., n) in nats; of those `latents` only, bool (n, d)."""
        return self._mixed(self.component_log_probs(z, latents))

    def component_log_probs(self, z: Tensor, latents: Tensor | None = None) -> Tensor:
        """log density of each component in nats, (..., n, d) -> (..., c, n); of absent ones any finite number."""
        each = self._elements(z)
        return (each if latents is None else each * latents).sum(-1)

    def latent_log_prob(self, z: Tensor) -> Tensor:
        """log q(z_j|x) of each latent on its own, (..., n, d) -> (..., n, d) in nats."""
        return self._mixed(self._elements(z).movedim(-1, 0)).movedim(0, -1)

    def _elements(self, z: Tensor) -> Tensor:
        absent = ~self.present.unsqueeze(-1)
        means, log_variances = self.means.masked_fill(absent, 0), self.log_variances.masked_fill(absent, 0)
        distance = (z.unsqueeze(-3) - means) * torch.exp(-0.5 * log_variances)  # (..., c, n, d), in SD
        if self.family == "normal":
            return -0.5 * (distance**2 + log_variances + math.log(2 * math.pi))
        return -math.sqrt(2) * distance.abs() - 0.5 * (log_variances + math.log(2))

    def detach(self) -> "Posterior":
        """The same with constant parameters."""
        return replace(self, means=self.means.detach(), log_variances=self.log_variances.detach())

    def _mixed(self, each: Tensor) -> Tensor:
        """log of the mean density over the present components, (..., c, n) -> (..., n)."""
        if len(self.means) == 1:
            return each.squeeze(-2)
        count = self.present.sum(0).to(each.dtype)
        return torch.logsumexp(each.masked_fill(~self.present, -math.inf), -2) - count.log()


def standard_noise(
    family: str, shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draws with mean 0 and variance 1, on the device and in the precision of `like`."""
    if family == "normal":
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
    pair = torch.empty((2, *shape), device=like.device, dtype=like.dtype).exponential_(generator=generator)
    return (pair[0] - pair[1]) / math.sqrt(2)  # the difference of two exponentials is Laplace


def latent_kl(q: Posterior, p: Posterior) -> Tensor | None:
    """KL(q(z_j|x) || p(z_j)) of each latent in nats, (n, d); None where it has no closed form."""
    if len(q.means) > 1 or len(p.means) > 1 or q.family != p.family:
        return None
    if q.family == "normal":
        parts = (q.means[0], q.log_variances[0], p.means[0], p.log_variances[0])
        return kl_divergence(*(part.unsqueeze(-1) for part in torch.broadcast_tensors(*parts)))
    distance, log_ratio = (q.means[0] - p.means[0]).abs(), 0.5 * (q.log_variances[0] - p.log_variances[0])
    scale_q, scale_p = (torch.exp(0.5 * x.log_variances[0]) / math.sqrt(2) for x in (q, p))
    return distance / scale_p + torch.exp(log_ratio - distance / scale_q) - log_ratio - 1
