"""What all families share: batches with missing modalities, objectives per sample, posteriors, decoding."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.errors import InputError
from pipeline.vae.likelihoods import Likelihood
from pipeline.vae.modality import Modality
from pipeline.vae.posterior import Posterior

__all__ = ["Batch", "Experts", "Modality", "MultimodalVAE", "Objective", "Posterior"]


@dataclass(frozen=True)
class Batch:
    """Samples of one session: data (n, *features) and presence (n,) by modality; labels int (n,), -1 where missing.

    Rows that are not present may hold anything; NaN elements of present rows are missing too.
    """

    data: dict[str, Tensor]
    present: dict[str, Tensor]
    session: str | None = None
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    def to(self, device: torch.device | str) -> "Batch":
        """The same samples on `device`."""
        return self._each(lambda x: x.to(device))

    def take(self, rows: Tensor) -> "Batch":
        """The samples at `rows`."""
        return self._each(lambda x: x[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            data={name: change(x) for name, x in self.data.items()},
            present={name: change(x) for name, x in self.present.items()},
            labels=None if self.labels is None else change(self.labels),
        )


@dataclass(frozen=True)
class Objective:
    """What is maximised, per sample in nats, and the parts that it is made of (log-likelihoods, KL), unweighted."""

    value: Tensor  # (n,)
    terms: dict[str, Tensor] = field(default_factory=dict)  # each (n,)

    @property
    def loss(self) -> Tensor:
        """Minus the mean over samples, nats."""
        return -self.value.mean()

    def spread(self, rows: Tensor, n: int) -> "Objective":
        """The same at `rows` of `n` samples, 0 for the others."""
        return Objective(
            self.value.new_zeros(n).index_copy(0, rows, self.value),
            {name: term.new_zeros(n).index_copy(0, rows, term) for name, term in self.terms.items()},
        )


@dataclass(frozen=True)
class Experts:
    """Encoder outputs laid out over all latents: means, log_variances (m, n, d); present bool (m, n).

    speaks: bool (m, d), the latents that modality m has a say in (shared ones and its private ones).
    """

    means: Tensor
    log_variances: Tensor
    present: Tensor
    speaks: Tensor

    def mask(self, members: Tensor) -> Tensor:
        """The `present` of `product_of_experts`, (m, n, d), for subset members bool (m, n)."""
        return members.unsqueeze(-1) & self.speaks.unsqueeze(1)


class MultimodalVAE(nn.Module):
    """Modalities around one latent space with prior N(0, I), unless the family has another.

    z holds `latent_dim` shared latents, then the private ones of each modality in order (`private_dim`); a decoder
    sees the shared ones and its own. `beta` weighs the KL terms and rises from 0 over the first `warmup_fraction`
    of the training. A family overrides `posterior` and `objective`. What it takes beside `modalities`, `latent_dim`,
    `beta`, `warmup_fraction` and encoders are its options: annotations give types and bounds (`options` checks them).
    """

    cross_generates = True  # whether z inferred from one modality can be decoded to another
    needs_pairs = False  # whether samples with a missing modality cannot be trained on
    most_modalities: int | None = None  # that it can have; None: any number
    needs_joint_encoder = False  # whether the constructor takes a `joint_encoder` of all modalities
    needs_surrogate_encoder = False  # whether it takes another such network, `surrogate_encoder`
    labels: Sequence[str] = ()  # those that it learns; `Batch.labels` are places in here

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        latent_dim: int,
        beta: float = 1.0,
        warmup_fraction: float = 0.0,
        private_dim: dict[str, Annotated[int, Field(ge=0)]] | None = None,
    ):
        super().__init__()
        names = [modality.name for modality in modalities]
        private = self.default_private_dim(names, latent_dim) if private_dim is None else private_dim
        self.modalities = nn.ModuleDict({modality.name: modality for modality in modalities})
        self.beta = beta
        self.warmup_fraction = warmup_fraction
        self.n_latents = latent_dim + sum(private.get(name, 0) for name in self.modalities)
        speaks = torch.zeros(len(self.modalities), self.n_latents, dtype=torch.bool)
        speaks[:, :latent_dim] = True
        start = latent_dim
        for row, name in enumerate(self.modalities):
            speaks[row, start : start + private.get(name, 0)] = True
            start += private.get(name, 0)
        self.register_buffer("speaks", speaks, persistent=False)
        self.all_shared = self.n_latents == latent_dim

    @classmethod
    def default_private_dim(cls, names: list[str], latent_dim: int) -> dict[str, int]:
        """Private latents of each modality where `private_dim` is not given: none in most families."""
        return {}

    def posterior(self, batch: Batch, given: Collection[str], generator: torch.Generator | None = None) -> Posterior:
        """q(z | those modalities of `given` that a row has); the prior for rows that have none."""
        raise NotImplementedError

    def objective(self, batch: Batch, step: float, generator: torch.Generator | None = None) -> Objective:
        """What is maximised; `step` is the share of the training that is done, 0 to 1 (it sets beta)."""
        raise NotImplementedError

    def start(self, batches: Sequence[Batch], *, shared: bool = True) -> None:
        """Set what starts from data, before the training: one batch of training samples a session.

        Without `shared` only what belongs to those sessions. In most families there is nothing of the kind.
        """

    def decode(
        self,
        z: Tensor,
        *,
        session: str | None = None,
        names: Collection[str] | None = None,
        places: dict[str, Tensor] | None = None,
    ) -> dict[str, Likelihood]:
        """p(x_m|z) for z (..., n_latents), of all modalities or of `names`.

        places: by modality, int (p,): z (..., n, n_latents) only there, on the axis before the last.
        Modalities that `session` was trained without are left out. `session` may be None where no network is specific
        to a session or the model knows one session only; otherwise InputError names the sessions.
        """
        places = places or {}
        wanted = self.modalities if names is None else names
        common = {} if self.all_shared else None  # decoders that see the same z run once what they have in common
        return {
            name: modality.decode(
                z if self.all_shared else z[..., self.speaks[row]],
                session=session,
                courses=common,
                places=places.get(name),
            )
            for row, (name, modality) in enumerate(self.modalities.items())
            if name in wanted and self._serves(modality, session)
        }

    def generate(
        self, n: int, generator: torch.Generator | None = None, *, session: str | None = None
    ) -> dict[str, Tensor]:
        """Expected data of `n` draws from the prior, the same draw for all modalities: (n, *features) each."""
        z = self.sample_prior(n, generator)
        return {name: likelihood.mean for name, likelihood in self.decode(z, session=session).items()}

    @property
    def prior(self) -> Posterior:
        """p(z) as a distribution of one row, (1, n_latents); N(0, I) unless the family has another."""
        dtype = next((p.dtype for p in self.modalities.parameters()), torch.get_default_dtype())
        zero = torch.zeros((1, self.n_latents), device=self.speaks.device, dtype=dtype)
        return Posterior.single(zero, zero)

    def sample_prior(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` draws from p(z), (n, n_latents)."""
        return self.prior.rsample(n, generator).squeeze(1)

    def prior_log_prob(self, z: Tensor, latents: Tensor | None = None) -> Tensor:
        """log p(z) in nats, (..., n, n_latents) -> (..., n); of those `latents` only, bool (n_latents,)."""
        return self.prior.log_prob(z, latents)

    def beta_at(self, step: float) -> float:
        """The weight of the KL terms when a share `step` of the training is done."""
        return self.beta * min(1.0, step / self.warmup_fraction) if self.warmup_fraction else self.beta

    def usable(self, present: Tensor, step: float) -> Tensor:
        """Which samples teach the model when a share `step` of the training is done: presence (m, n) -> bool (n,)."""
        return present.all(0) & (len(present) > 1) if self.needs_pairs else present.any(0)

    def advance(self, before: float, now: float) -> None:
        """Called ahead of each training step with the shares of the training done at the one before and now."""

    def settled(self, step: float) -> bool:
        """Whether all parts have begun to train by `step`, so that the best epoch may be chosen from here on."""
        return True

    def presence(self, batch: Batch, given: Collection[str] | None = None) -> Tensor:
        """Which rows have which modality of `given` (all where None), bool (m, n)."""
        unknown = set(given or ()) - set(self.modalities)
        if unknown:
            raise InputError("no such modality in this model", found=sorted(unknown)[0], allowed=list(self.modalities))
        absent = torch.zeros_like(next(iter(batch.present.values())))
        return torch.stack(
            [
                batch.present[name] if name in batch.data and (given is None or name in given) else absent
                for name in self.modalities
            ]
        )

    def experts(
        self, batch: Batch, given: Collection[str] | None = None, generator: torch.Generator | None = None
    ) -> Experts:
        """Run each encoder on the rows that have its modality."""
        present = self.presence(batch, given)  # (m, n)
        means, log_variances = [], []
        for row, (name, modality) in enumerate(self.modalities.items()):
            mean = torch.zeros((len(batch), self.n_latents), device=self.speaks.device)
            log_variance = mean
            rows = present[row].nonzero().squeeze(-1)
            if len(rows):
                x = batch.data[name] if len(rows) == len(batch) else batch.data[name][rows]
                parts = modality.encode(x, session=batch.session, generator=generator)
                latents = self.speaks[row].nonzero().squeeze(-1)
                mean, log_variance = (self._spread(part, rows, latents, len(batch)) for part in parts)
            means.append(mean)
            log_variances.append(log_variance)
        return Experts(torch.stack(means), torch.stack(log_variances), present, self.speaks)

    def log_likelihoods(
        self, batch: Batch, z: Tensor, members: Tensor, rows: Tensor | None = None
    ) -> dict[str, Tensor]:
        """log p(x_m|z) in nats, 0 where members (m, p) is False: z (..., p, d) -> (..., p) by modality.

        rows: int (p,), the row of the batch that each z is compared with; None: each with its own (p = n).
        Only what is asked for is decoded and compared.
        """
        asked = members.any(0)
        if not asked.all():
            kept = asked.nonzero().squeeze(-1)
            of = kept if rows is None else rows[kept]
            part = self.log_likelihoods(batch, z.index_select(-2, kept), members[:, kept], of)
            none = z.new_zeros(z.shape[:-1])
            return {name: none.index_copy(-1, kept, value) for name, value in part.items()}
        wanted = {name: some for name, some in zip(self.modalities, members, strict=True) if some.any()}
        places = {name: some.nonzero().squeeze(-1) for name, some in wanted.items() if not some.all()}
        found = {name: z.new_zeros(z.shape[:-1]) for name in self.modalities}
        for name, likelihood in self.decode(z, session=batch.session, names=wanted, places=places).items():
            of = places.get(name) if rows is None else rows[places[name]] if name in places else rows
            value = likelihood.log_prob(batch.data[name] if of is None else batch.data[name][of]).to(z.dtype)
            found[name] = found[name].index_copy(-1, places[name], value) if name in places else value
        return found

    def weighted(self, log_likelihoods: dict[str, Tensor]) -> Tensor:
        """sum_m lambda_m log p(x_m|z)."""
        return sum(self.modalities[name].weight * value for name, value in log_likelihoods.items())

    def _spread(self, values: Tensor, rows: Tensor, latents: Tensor, n: int) -> Tensor:
        if len(rows) == n and len(latents) == self.n_latents:
            return values
        wide = values.new_zeros((len(rows), self.n_latents)).index_copy(1, latents, values)
        return values.new_zeros((n, self.n_latents)).index_copy(0, rows, wide)

    @staticmethod
    def _serves(modality: Modality, session: str | None) -> bool:
        if session is None and not modality.serves(None):
            raise InputError("name the session to decode for", allowed=list(modality.decoder.sessions))
        return modality.serves(session)
