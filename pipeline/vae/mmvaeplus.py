"""MMVAE+: shared and private latents, with an auxiliary prior for crossing over (Palumbo et al. 2023, ICLR).

https://openreview.net/forum?id=sdQGxouELX
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import InputError
from pipeline.vae.base import Experts
from pipeline.vae.mmvae import MMVAE
from pipeline.vae.posterior import Posterior


class MMVAEPlus(MMVAE):
    """MMVAE's objectives with z shared and w_m private, and for sample k from expert m

    log w = log p(x_m|z, w_m) + sum_{n != m} log p(x_n|z, w~_n) + log p(z) p(w_m) / (q(z|x) q(w_m|x_m)),
    z ~ q(z|x_m), w_m ~ q(w_m|x_m), w~_n ~ r(w_n), q(z|x) = (1/|S|) sum_m q(z|x_m).

    What modality m tells about the private latents of others is nothing: they come from an auxiliary prior r with mean
    0 and learned SDs, so that no expert can smuggle its own sound or spikes through them. The likelihoods carry
    lambda, the densities beta, as in MMVAE. DReG's second factor goes to z and w_m, which have a density in w; w~_n has
    none. With r = p the bounds hold for log p(x); the further r moves from p(w), the more they are those of a model
    with r. Posteriors for use after the training take the private latents of absent modalities from p(w), as in the
    paper. private_dim: by default half of latent_dim for each modality.
    """

    def __init__(self, modalities, *, latent_dim: int, **options):
        super().__init__(modalities, latent_dim=latent_dim, **options)
        if self.n_latents == latent_dim:
            raise InputError("mmvaeplus: private_dim must be above 0 for at least one modality", found=0)
        self.auxiliary_log_sd = nn.Parameter(torch.zeros(self.n_latents - latent_dim))

    @classmethod
    def default_private_dim(cls, names: list[str], latent_dim: int) -> dict[str, int]:
        return {name: max(latent_dim // 2, 1) for name in names}

    def _mixture(self, experts: Experts) -> Posterior:
        """One component an expert, which differ in z; all have w_m of every modality present, and p(w_m) of others."""
        q = super()._mixture(experts)
        shared = self.speaks.all(0)
        knows = experts.mask(experts.present) & ~shared  # (m, n, d), at most one m for each row and latent
        means = torch.where(shared, q.means, q.means.masked_fill(~knows, 0).sum(0))
        known = q.log_variances.masked_fill(~knows, 0).sum(0)
        private = torch.where(knows.any(0), known, self.prior.log_variances[0])
        return Posterior(means, torch.where(shared, q.log_variances, private), q.present, q.family)

    def _proposals(self, experts: Experts, expert: Tensor, rows: Tensor) -> tuple[Posterior, Tensor]:
        q, _ = super()._proposals(experts, expert, rows)
        own = self.speaks[expert]  # (p, d)
        latent_dim = self.n_latents - len(self.auxiliary_log_sd)
        auxiliary = functional.pad(2 * self.auxiliary_log_sd, (latent_dim, 0))
        means = q.means.masked_fill(~own, 0)
        return Posterior(means, torch.where(own, q.log_variances, auxiliary), q.present, q.family), own
