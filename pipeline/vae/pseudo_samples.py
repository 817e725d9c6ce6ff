"""Inputs that a model learns in place of data."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from pipeline.vae.base import Batch
from pipeline.vae.modality import Modality


class PseudoSamples(nn.Module):
    """u_1 .. u_n of one modality: n for each session that its encoder has weights for, else n for all sessions.

    They are kept in SDs about the mean of the samples that they start from, so that a step of the optimizer and its
    weight decay mean the same for dB and for counts.
    """

    def __init__(self, modality: Modality, n: int, n_latents: int):
        super().__init__()
        self.name = modality.name
        # As in the encoder: a session's own weights are told by the last part of their name.
        self.keys: dict[str | None, str] = getattr(modality.encoder, "sessions", None) or {None: "all"}
        like = next(modality.parameters())
        self.values = nn.ParameterDict()
        for session, key in self.keys.items():
            with torch.no_grad():
                decoded = modality.decode(like.new_zeros(1, n_latents), session=session).mean[0]
            self.values[key] = nn.Parameter(like.new_zeros(n, *decoded.shape))
            self.register_buffer(f"center_{key}", torch.zeros_like(decoded))
            self.register_buffer(f"scale_{key}", like.new_ones(()))

    def sets(self, session: str | None) -> Iterator[tuple[str | None, Tensor]]:
        """Session and inputs (n, *features) of the set of `session`; where it has none, an even part of every set."""
        chosen = [session] if session in self.keys else list(self.keys)
        for owner in chosen:
            key = self.keys[owner]
            values = self.values[key][:: len(chosen)]
            values = values * getattr(self, f"scale_{key}") + getattr(self, f"center_{key}")
            yield (session if owner is None else owner), values

    @torch.no_grad()
    def start(self, batches: Sequence[Batch], *, shared: bool = True) -> None:
        """Set each set to samples that have the modality, evenly spread over those of its sessions.

        Elements that are missing take the mean of the chosen samples. Without `shared` the set of all sessions stays.
        """
        for session, key in self.keys.items():
            if session is None and not shared:
                continue
            own = [b for b in batches if self.name in b.data and session in (None, b.session)]
            rows = [b.present[self.name].nonzero().squeeze(-1) for b in own]
            total = sum(len(found) for found in rows)
            if not total:
                continue
            places = torch.linspace(0, total - 1, len(self.values[key])).round().long()
            owner = torch.cat([torch.full((len(found),), index) for index, found in enumerate(rows)])[places]
            row = torch.cat([found.cpu() for found in rows])[places]
            chosen = torch.stack([own[b].data[self.name][r] for b, r in zip(owner.tolist(), row.tolist(), strict=True)])
            chosen = chosen.to(self.values[key])
            center = chosen.nanmean(0).nan_to_num(nan=0.0)
            apart = (chosen - center).nan_to_num(nan=0.0)
            scale = apart.square().mean().sqrt()
            scale = scale if scale > 0 else torch.ones_like(scale)
            self.values[key].copy_(apart / scale)
            getattr(self, f"center_{key}").copy_(center)
            getattr(self, f"scale_{key}").copy_(scale)
