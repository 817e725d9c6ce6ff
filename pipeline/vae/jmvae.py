"""JMVAE: one encoder of all modalities, one of each beside it (JMVAE-zero and JMVAE-kl of Suzuki, Nakayama & Matsuo
2016, https://arxiv.org/abs/1611.01891)."""

from collections.abc import Collection
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from pipeline.vae.base import Batch, Objective, Posterior
from pipeline.vae.gaussians import kl_divergence, kl_to_standard_normal
from pipeline.vae.joint import JointVAE

SETTLED = 1e-4  # posterior standard deviations; imputing that moves the latents by less has settled


class JMVAE(JointVAE):
    """E_{q(z|x)}[sum_m lambda_m log p(x_m|z)] - beta KL(q(z|x) || p) - alpha sum_m KL(q(z|x) || q(z|x_m)).

    x is all modalities; samples that lack one are not trained on. variant `kl`: as above, and q(z|x_m) is what one
    modality tells; both sides of the last KL learn, and it counts the latents that m speaks for. variant `zero`:
    without the last term. What is missing starts as zeros and is imputed: x_m <- E p(x_m|z) at the mean z of q(z|x),
    until z settles, at most `impute_iterations` times.
    """

    needs_pairs = True

    def __init__(
        self,
        modalities,
        *,
        variant: Literal["zero", "kl"] = "kl",
        alpha: Annotated[float, Field(ge=0)] = 0.1,
        impute_iterations: Annotated[int, Field(ge=0)] = 50,
        **options,
    ):
        super().__init__(modalities, **options)
        self.variant = variant
        self.alpha = alpha
        self.impute_iterations = impute_iterations

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """q(z|x) where all is given; else by the unimodal encoders (`kl`) or by imputation (`zero`)."""
        if self.variant == "kl":
            return super().posterior(batch, given, generator)
        present = self.presence(batch, given)  # (m, n)
        mean = torch.zeros((len(batch), self.n_latents), device=present.device)
        log_variance = mean
        for pattern in torch.unique(present, dim=1).T:
            names = [name for name, has in zip(self.modalities, pattern.tolist(), strict=True) if has]
            rows = (present == pattern.unsqueeze(1)).all(0).nonzero().squeeze(-1)
            if names:
                found = self._imputed(batch.take(rows), names, generator)
                mean, log_variance = (
                    whole.to(part.dtype).index_copy(0, rows, part)
                    for whole, part in zip((mean, log_variance), found, strict=True)
                )
        return Posterior.single(mean, log_variance)

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        rows = self.presence(batch).all(0).nonzero().squeeze(-1)
        if not len(rows):
            return Objective(torch.zeros(len(batch), device=self.speaks.device))
        paired = batch.take(rows)
        mean, log_variance = self.joint(paired, self.modalities, generator)
        z = Posterior.single(mean, log_variance).rsample(1, generator)[0]  # (rows, d)
        terms = self.log_likelihoods(paired, z, self.presence(paired))
        kl = kl_to_standard_normal(mean, log_variance)
        value = self.weighted(terms) - self.beta_at(step) * kl
        terms = terms | {"kl": kl}
        if self.variant == "kl":
            experts = self.experts(paired, generator=generator)
            for row, name in enumerate(self.modalities):
                own = self.speaks[row]
                apart = kl_divergence(
                    mean[:, own], log_variance[:, own], experts.means[row][:, own], experts.log_variances[row][:, own]
                )
                terms[f"kl_to_{name}"] = apart
                value = value - self.alpha * apart
        return Objective(value, terms).spread(rows, len(batch))

    def _imputed(
        self, batch: Batch, given: Collection[str], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z | what is given, the rest imputed), each row until it settles."""
        mean, log_variance = self.joint(batch, given, generator)
        missing = [name for name in self.modalities if name not in given]
        rows = torch.arange(len(batch), device=mean.device)
        for _ in range(self.impute_iterations if missing else 0):
            made = self.decode(mean[rows], session=batch.session, names=missing) if len(rows) else {}
            if not made:
                break
            filled = batch.take(rows)
            filled = Batch(filled.data | {name: x.mean for name, x in made.items()}, filled.present, batch.session)
            now, spread = self.joint(filled, [*given, *made], generator)
            moved = ((now - mean[rows]).abs() * torch.exp(-0.5 * spread)).amax(-1)
            mean, log_variance = mean.index_copy(0, rows, now), log_variance.index_copy(0, rows, spread)
            rows = rows[moved > SETTLED]
        return mean, log_variance
