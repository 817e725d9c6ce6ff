"""MFM: factors that are shared and factors of one modality (Tsai et al. 2019, https://arxiv.org/abs/1806.06176)."""

from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.vae.base import Batch, Objective, Posterior
from pipeline.vae.gaussians import kl_to_standard_normal, normal_log_prob
from pipeline.vae.joint import JointVAE
from pipeline.vae.modality import full_precision

Label = Annotated[str, Field(strict=False, coerce_numbers_to_str=True)]  # the column may hold numbers
KERNEL_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # times 2 d, the mean squared distance of two prior draws
CODE_SD = 0.1  # of samples around a deterministic code


class MFM(JointVAE):
    """sum_m lambda_m log p(x_m|z_am, z_y) + label_weight log p(y|z_y) - beta penalty + sum_S log s(z_y, z_a|x_S) / |S|.

    z_y: the shared latents, from the joint encoder; z_am: the private latents of m, from its own encoder. The label y
    (one of `labels`, e.g. call types; by their place in `Batch.labels`) is read from z_y by a linear layer and drops
    out where it is missing. Nothing but this and the penalty asks for what is shared to be in z_y: few private latents
    and labels both do. prior_penalty `mmd`: deterministic encoders and `mmd_weight` MMD^2(z, N(0, I)) of the whole z
    over the samples at hand. `kl`: sampled latents and KL(q || N(0, I)) of each factor. Samples that lack a modality
    are not trained on.

    s(z|x_S) is a second joint encoder, the surrogate for every subset S of the modalities: it learns z_y and the z_am
    of the modalities m outside S by their likelihood, from codes that have no gradient. With `mmd` it is deterministic
    like the others, s = N(code, I), so that it learns E[z|x_S] and cross generation decodes that; with `kl` a sample of
    s may lie where no code does. The family's posterior is the encoders' where all is given and the surrogate's else,
    with z_am of what is given. A deterministic code has a standard deviation of 0.1 there, which is no uncertainty:
    log-likelihoods that take it as the proposal are bounds from below, and loose ones.
    """

    needs_pairs = True
    needs_surrogate_encoder = True

    def __init__(
        self,
        modalities,
        *,
        surrogate_encoder: nn.Module,
        prior_penalty: Literal["mmd", "kl"] = "mmd",
        mmd_weight: Annotated[float, Field(ge=0)] = 100.0,
        labels: Sequence[Label] = (),
        label_weight: Annotated[float, Field(ge=0)] = 1.0,
        **options,
    ):
        super().__init__(modalities, **options)
        if len(self.modalities) < 2:
            raise InputError("mfm needs two or more modalities", found=", ".join(self.modalities) or "none")
        if len(labels) == 1 or len(set(labels)) < len(labels):
            found = ", ".join(map(str, labels))
            raise InputError("mfm: labels must be two or more that differ, or none", found=found)
        self.surrogate_encoder = surrogate_encoder
        self.prior_penalty = prior_penalty
        self.mmd_weight = mmd_weight
        self.labels = tuple(labels)
        self.label_weight = label_weight
        if labels:
            like = next(self.modalities.parameters())
            self.label_head = nn.utils.skip_init(
                nn.Linear, int(self.shared.sum()), len(labels), device=like.device, dtype=like.dtype
            )
            for parameter in self.label_head.parameters():  # convex in it: no random start needed
                nn.init.zeros_(parameter)

    @property
    def shared(self) -> Tensor:
        """Which latents are z_y, bool (d,)."""
        return self.speaks.all(0)

    @classmethod
    def default_private_dim(cls, names: list[str], latent_dim: int) -> dict[str, int]:
        return {name: max(latent_dim // 4, 1) for name in names}

    def start(self, batches: Sequence[Batch], *, shared: bool = True) -> None:
        """Check that there are labels, where the model is to learn from them."""
        if not self.labels:
            return
        known = [batch.labels[batch.labels >= 0] for batch in batches if batch.labels is not None]
        if not sum(len(labels) for labels in known):
            raise InputError("mfm: no training sample has one of the labels", found=", ".join(self.labels))
        highest = max(int(labels.max()) for labels in known if len(labels))
        if highest >= len(self.labels):
            raise InputError("mfm: more labels than were named", found=highest, allowed=f"0 to {len(self.labels) - 1}")

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """By the encoders where all is given, else by the surrogate; see the class."""
        present = self.presence(batch, given)  # (m, n)
        own = self.experts(batch, given, generator)
        mean, log_variance = torch.zeros_like(own.means[0]), torch.zeros_like(own.means[0])
        for pattern in torch.unique(present, dim=1).T:
            names = [name for name, has in zip(self.modalities, pattern.tolist(), strict=True) if has]
            rows = (present == pattern.unsqueeze(1)).all(0).nonzero().squeeze(-1)
            if not names:
                continue
            some = batch.take(rows)
            codes = own.means[:, rows].sum(0), self._spread_of(own.log_variances[:, rows].sum(0))
            if len(names) == len(self.modalities):
                joint = self.joint(some, names, generator)
                found, ours = (joint[0], self._spread_of(joint[1])), ~self.shared
            else:
                guess = self._surrogate(some, names, generator)
                found, ours = (guess[0], self._spread_of(guess[1])), ~self._unknown(names)
            mean, log_variance = (
                whole.index_copy(0, rows, torch.where(ours, code, other).to(whole.dtype))
                for whole, code, other in zip((mean, log_variance), codes, found, strict=True)
            )
        return Posterior.single(mean, log_variance)

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        rows = self.presence(batch).all(0).nonzero().squeeze(-1)
        if not len(rows):
            return Objective(torch.zeros(len(batch), device=self.speaks.device))
        paired = batch.take(rows)
        present = self.presence(paired)
        q = self.posterior(paired, self.modalities, generator)
        z = q.means[0] if self.prior_penalty == "mmd" else q.rsample(1, generator)[0]  # (rows, d)
        terms = self.log_likelihoods(paired, z, present)
        value = self.weighted(terms)
        if self.labels and paired.labels is not None:
            terms["label"] = self._label_log_prob(z, paired.labels)
            value = value + self.label_weight * terms["label"]
        if self.prior_penalty == "mmd":
            terms["mmd"] = squared_mmd(z, torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype))
            penalty = self.mmd_weight * terms["mmd"]
        else:
            kls = self._kl_of_factors(q)
            terms = terms | kls
            penalty = sum(kls.values())
        surrogates = self._surrogate_log_probs(paired, z.detach(), generator)
        value = value - self.beta_at(step) * penalty + sum(surrogates.values()) / len(surrogates)
        return Objective(value, terms | surrogates).spread(rows, len(batch))

    def _kl_of_factors(self, q: Posterior) -> dict[str, Tensor]:
        factors = {"shared": self.shared} | {
            name: self.speaks[row] & ~self.shared for row, name in enumerate(self.modalities)
        }
        return {
            f"kl_{name}": kl_to_standard_normal(q.means[0][:, own], q.log_variances[0][:, own])
            for name, own in factors.items()
        }

    def _surrogate_log_probs(self, batch: Batch, codes: Tensor, generator: torch.Generator | None) -> dict[str, Tensor]:
        """log s(z_y, z_a of the others | x_S) of each non-empty subset S but the whole, nats, (n,)."""
        found = {}
        for size in range(1, len(self.modalities)):
            for names in combinations(self.modalities, size):
                wanted = self._unknown(names)
                mean, log_variance = self._surrogate(batch, names, generator)
                if self.prior_penalty == "mmd":
                    log_variance = torch.zeros_like(mean)
                found["surrogate_" + "+".join(names)] = normal_log_prob(
                    codes[:, wanted], mean[:, wanted], log_variance[:, wanted]
                )
        return found

    def _surrogate(
        self, batch: Batch, given: Collection[str], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        data = {name: batch.data[name] for name in self.modalities if name in given}
        mean, log_variance = self.surrogate_encoder(data, session=batch.session, generator=generator)
        return full_precision(mean), full_precision(log_variance)

    def _unknown(self, given: Collection[str]) -> Tensor:
        """Latents that the encoders of `given` do not tell: the shared ones and those of the others, (d,)."""
        own = [self.speaks[row] & ~self.shared for row, name in enumerate(self.modalities) if name in given]
        return ~torch.stack(own).any(0)

    def _spread_of(self, log_variance: Tensor) -> Tensor:
        if self.prior_penalty == "kl":
            return log_variance
        return torch.full_like(log_variance, CODE_SD**2).log()

    def _label_log_prob(self, z: Tensor, labels: Tensor) -> Tensor:
        known = labels >= 0
        log_probs = torch.log_softmax(self.label_head(z[:, self.shared]), -1)
        each = log_probs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return each.masked_fill(~known, 0)


def squared_mmd(z: Tensor, prior: Tensor) -> Tensor:
    """Unbiased MMD^2 between two samples of n points (n, d), as n parts (n,) whose mean is the estimate.

    Kernel: sum over scales c of 2 d c / (2 d c + |x - y|^2) (as in the Wasserstein auto-encoders of
    Tolstikhin et al. 2018); the unbiased estimate of Gretton et al. 2012. 0 for one point.
    """
    n, d = z.shape
    if n < 2:
        return torch.zeros_like(z[:, 0])

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        lengths = x.square().sum(1).unsqueeze(1) + y.square().sum(1)
        squared = (lengths - 2 * x @ y.T).clamp(min=0)  # (n, n)
        return sum(1 / (1 + squared / (2 * d * scale)) for scale in KERNEL_SCALES)

    apart = 1 - torch.eye(n, device=z.device, dtype=z.dtype)
    within = (apart * (kernel(z, z) + kernel(prior, prior))).sum(1) / (n - 1)
    return within - 2 * kernel(z, prior).mean(1)
