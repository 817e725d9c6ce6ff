"""One encoder q(z | x_1, ..., x_M) that reads all modalities at once, and what its families share."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from pipeline.vae.base import Batch, MultimodalVAE, Posterior
from pipeline.vae.gaussians import product_of_posteriors
from pipeline.vae.modality import Contextual, full_precision
from pipeline.vae.networks import GaussianHead, dense


class JointEncoder(Contextual):
    """Features of each modality, concatenated -> MLP -> mean and log variance of q(z | x_1, ..., x_M).

    trunks: by modality, a network that turns its data into features (n, hidden), and by `absent()` those of
    standardised data that are all zero (1, hidden), which stand in for a modality that is not given.
    """

    def __init__(
        self,
        trunks: Mapping[str, nn.Module],
        *,
        hidden: int,
        n_latents: int,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.trunks = nn.ModuleDict(trunks)
        self.mix = nn.Sequential(dense(hidden * len(self.trunks), hidden, generator), nn.GELU())
        self.head = GaussianHead(hidden, n_latents, generator)

    def forward(
        self, data: Mapping[str, Tensor], *, session: str | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Data (n, *features) of the modalities that are given -> two of (n, n_latents)."""
        n = len(next(iter(data.values())))
        features = []
        for name, trunk in self.trunks.items():
            if name not in data:
                features.append(trunk.absent().expand(n, -1))
            elif isinstance(trunk, Contextual):
                features.append(trunk(data[name], session=session, generator=generator))
            else:
                features.append(trunk(data[name]))
        return self.head(self.mix(torch.cat(features, -1)))


class JointVAE(MultimodalVAE):
    """A family with a joint encoder beside one of each modality.

    joint_encoder: called with the data (n, *features) by modality of rows that have them all, `session=` and
    `generator=`; returns mean and log variance of q(z | x_1, ..., x_M), each (n, n_latents). Where a modality is not
    in the data, it takes zeros for it.
    """

    needs_joint_encoder = True

    def __init__(self, modalities, *, joint_encoder: nn.Module, **options):
        super().__init__(modalities, **options)
        self.joint_encoder = joint_encoder

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """The joint encoder's where all is given, q(z|x_m) where one is, else the product of those (prior once)."""
        experts = self.experts(batch, given, generator)
        members = experts.mask(experts.present)
        mean, log_variance = product_of_posteriors(experts.means, experts.log_variances, members)
        rows = experts.present.all(0).nonzero().squeeze(-1)
        if len(rows):
            joint = self.joint(batch.take(rows), self.modalities, generator)
            mean, log_variance = (
                apart.index_copy(0, rows, whole.to(apart.dtype))
                for apart, whole in zip((mean, log_variance), joint, strict=True)
            )
        return Posterior.single(mean, log_variance)

    def joint(
        self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """The joint encoder's mean and log variance, (n, n_latents), of rows that all have what is `given`."""
        data = {name: batch.data[name] for name in self.modalities if name in given}
        mean, log_variance = self.joint_encoder(data, session=batch.session, generator=generator)
        return full_precision(mean), full_precision(log_variance)

    @torch.no_grad()
    def share_trunks(self) -> None:
        """Copy the joint encoder's features of each modality, where it has any, to that modality's own encoder.

        Parameters that do not require gradients stay as they are.
        """
        for name, trunk in getattr(self.joint_encoder, "trunks", {}).items():
            own = dict(self.modalities[name].encoder.named_parameters())
            for part, learnt in trunk.named_parameters():
                if own[part].requires_grad:
                    own[part].copy_(learnt)
