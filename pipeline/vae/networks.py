"""The networks of the two modalities: small MLPs for spectrograms, per-session low-rank layers for units."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import InputError
from pipeline.vae.modality import Contextual

FRAME_HIDDEN, FRAME_FEATURES = 64, 16  # widths of what is shared by the frames of a spectrogram
MAX_LOG_COUNT = 7.0  # e^7 = 1100 spikes a bin: no neuron, but a guard against overflow in the first steps


def dense(n_in: int, n_out: int, generator: torch.Generator | None, gain: float = 1.0) -> nn.Linear:
    """A linear layer with weights U(-gain/sqrt(n_in), gain/sqrt(n_in)) from `generator` and no bias yet."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    with torch.no_grad():
        layer.weight.uniform_(-gain / math.sqrt(n_in), gain / math.sqrt(n_in), generator=generator)
        layer.bias.zero_()
    return layer


class GaussianHead(nn.Module):
    """Features -> mean and log variance of q(z|x)."""

    def __init__(self, n_in: int, n_latents: int, generator: torch.Generator | None):
        super().__init__()
        self.mean = dense(n_in, n_latents, generator)
        self.log_variance = dense(n_in, n_latents, generator, gain=0.1)
        self.log_variance.bias.data.fill_(-1.0)  # narrower than the prior at the start: the data is heard

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(n, n_in) -> two of (n, n_latents)."""
        return self.mean(features), self.log_variance(features)


class SpectrogramFeatures(nn.Module):
    """Spectrogram (n, n_frequencies, n_frames) in dB -> the same small MLP on every frame -> features (n, hidden).

    Sharing over frames makes every frame an example of what a pitch looks like: a plain MLP on all pixels learns each
    place anew and overfits.
    """

    def __init__(self, *, n_frequencies: int, n_frames: int, hidden: int, generator: torch.Generator | None = None):
        super().__init__()
        self.n_frames = n_frames
        self.register_buffer("center_db", torch.zeros(n_frequencies, 1))
        self.register_buffer("scale_db", torch.ones(()))
        self.frame = nn.Sequential(
            dense(n_frequencies, FRAME_HIDDEN, generator), nn.GELU(), dense(FRAME_HIDDEN, FRAME_FEATURES, generator)
        )
        self.trunk = nn.Sequential(
            nn.GELU(), nn.Flatten(), dense(FRAME_FEATURES * n_frames, hidden, generator), nn.GELU()
        )

    def forward(self, spectrogram: Tensor) -> Tensor:
        standard = ((spectrogram - self.center_db) / self.scale_db).nan_to_num(nan=0.0)
        return self.trunk(self.frame(standard.mT))

    def absent(self) -> Tensor:
        """Features (1, hidden) of a standardised spectrogram of zeros."""
        return self.trunk(self.frame(self.center_db.new_zeros(1, self.n_frames, len(self.center_db))))


class SpectrogramEncoder(SpectrogramFeatures):
    """q(z|audio): spectrogram (n, n_frequencies, n_frames) in dB -> features -> mean and log variance."""

    def __init__(
        self,
        *,
        n_frequencies: int,
        n_frames: int,
        hidden: int,
        n_latents: int,
        generator: torch.Generator | None = None,
    ):
        super().__init__(n_frequencies=n_frequencies, n_frames=n_frames, hidden=hidden, generator=generator)
        self.head = GaussianHead(hidden, n_latents, generator)

    def forward(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(super().forward(spectrogram))


class TimeCourses(nn.Module):
    """Latents (..., d) -> what happens when in a clip: (..., n_frames, FRAME_FEATURES).

    The decoders of both modalities read the same courses, frame by frame: the sound, which is plentiful, teaches where
    in a clip a latent puts which pitch, and the scarce spikes only have to tell which pitch a unit likes and how late.
    """

    def __init__(self, *, n_frames: int, hidden: int, n_latents: int, generator: torch.Generator | None = None):
        super().__init__()
        self.layers = nn.Sequential(
            dense(n_latents, hidden, generator),
            nn.GELU(),
            dense(hidden, FRAME_FEATURES * n_frames, generator),
            nn.Unflatten(-1, (n_frames, FRAME_FEATURES)),
            nn.GELU(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class SpectrogramDecoder(nn.Module):
    """p(audio|z): z (..., d) -> mean dB (..., n_frequencies, n_frames) and the log of one learned scale."""

    def __init__(self, *, n_frequencies: int, courses: TimeCourses, generator: torch.Generator | None = None):
        super().__init__()
        self.register_buffer("center_db", torch.zeros(n_frequencies, 1))
        self.register_buffer("scale_db", torch.ones(()))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.courses = courses
        self.frame = nn.Sequential(
            dense(FRAME_FEATURES, FRAME_HIDDEN, generator), nn.GELU(), dense(FRAME_HIDDEN, n_frequencies, generator)
        )

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return self.read(self.courses(z))

    def read(self, frames: Tensor) -> dict[str, Tensor]:
        """The parameters from the time courses (..., n_frames, FRAME_FEATURES)."""
        *hidden, last = self.frame
        for layer in hidden:
            frames = layer(frames)
        bias = last.bias * self.scale_db + self.center_db.squeeze(-1)  # the units are in the last layer's weights
        mean = functional.linear(frames, last.weight * self.scale_db, bias).mT
        return {"mean": mean, "log_scale": self.log_scale + self.scale_db.log()}


class PerSession(Contextual):
    """Weights for each session's own units, beside what all sessions share."""

    def __init__(self, sessions: dict[str, int]):
        super().__init__()
        # Module names must not hold dots, session names may.
        self.sessions = {name: f"session{index}" for index, name in enumerate(sessions)}

    def key(self, session: str | None) -> str:
        """The name of the session's weights; None stands for the only session.

        Raises InputError where the session is not known.
        """
        if session is None and len(self.sessions) == 1:
            return next(iter(self.sessions.values()))
        if session not in self.sessions:
            raise InputError(
                "the model has no weights for the units of this session",
                found=session,
                allowed=list(self.sessions),
                mend="train with it, or add it with `duet train --freeze-shared`",
            )
        return self.sessions[session]


class CountFeatures(PerSession):
    """Counts (n, n_units, n_bins), NaN where missing -> per-session read-in -> shared trunk -> features (n, hidden).

    In training a share `dropout` of the counts is hidden, so that no unit or moment is relied upon alone.
    """

    def __init__(
        self,
        *,
        sessions: dict[str, int],
        n_bins: int,
        n_factors: int,
        hidden: int,
        dropout: float,
        generator: torch.Generator | None = None,
    ):
        super().__init__(sessions)
        self.dropout = dropout
        self.read_in = nn.ParameterDict()
        for name, n_units in sessions.items():
            bound = math.sqrt(3 / max(n_units, 1))
            weight = torch.empty(n_units, n_factors).uniform_(-bound, bound, generator=generator)
            self.read_in[self.sessions[name]] = nn.Parameter(weight)
            self.register_buffer(f"center_{self.sessions[name]}", torch.zeros(n_units, 1))
            self.register_buffer(f"scale_{self.sessions[name]}", torch.ones(n_units, 1))
        self.trunk = nn.Sequential(dense(n_factors * n_bins, hidden, generator), nn.GELU())

    def forward(self, counts: Tensor, *, session: str | None, generator: torch.Generator | None) -> Tensor:
        key = self.key(session)
        kept = ~torch.isnan(counts)
        if self.training and self.dropout:
            kept &= torch.rand(counts.shape, generator=generator, device=counts.device) >= self.dropout
        standard = (counts - getattr(self, f"center_{key}")) / getattr(self, f"scale_{key}")
        seen = standard.masked_fill(~kept, 0)
        # What is missing is made up for by what is left of the same bin, so that gaps do not shrink the drive.
        share = kept.to(seen.dtype).mean(1, keepdim=True).clamp(min=1 / max(counts.shape[1], 1))
        factors = torch.einsum("nub,uf->nfb", seen / share, self.read_in[key])
        return self.trunk(factors.flatten(1))

    def absent(self) -> Tensor:
        """Features (1, hidden) of standardised counts of zeros, in any session."""
        first = self.trunk[0]
        return self.trunk(first.weight.new_zeros(1, first.in_features))


class CountEncoder(CountFeatures):
    """q(z|neural): counts (n, n_units, n_bins), NaN where missing -> features -> mean and log variance."""

    def __init__(
        self,
        *,
        sessions: dict[str, int],
        n_bins: int,
        n_factors: int,
        hidden: int,
        n_latents: int,
        dropout: float,
        generator: torch.Generator | None = None,
    ):
        super().__init__(
            sessions=sessions, n_bins=n_bins, n_factors=n_factors, hidden=hidden, dropout=dropout, generator=generator
        )
        self.head = GaussianHead(hidden, n_latents, generator)

    def forward(
        self, counts: Tensor, *, session: str | None, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        return self.head(super().forward(counts, session=session, generator=generator))


class CountDecoder(PerSession):
    """p(neural|z): z (..., d) -> time courses -> n_factors, each with its own small kernel in time -> the units.

    Low rank and the same for every bin, because counts are few: a plain MLP to units x bins overfits. `bias` starts at
    the log of the unit's mean count (its mean, where `log_link` is off); `spread` is the log dispersion of a negative
    binomial or the log scale of a Gaussian, one a unit.
    """

    def __init__(
        self,
        *,
        sessions: dict[str, int],
        lag_basis: Tensor,
        n_factors: int,
        courses: TimeCourses,
        log_link: bool,
        spread: str | None,
        generator: torch.Generator | None = None,
    ):
        super().__init__(sessions)
        self.log_link = log_link
        self.spread = spread
        self.courses = courses
        self.frame = nn.Sequential(
            dense(FRAME_FEATURES, FRAME_HIDDEN, generator), nn.GELU(), dense(FRAME_HIDDEN, n_factors, generator)
        )
        self.register_buffer("lag_basis", lag_basis)  # (basis, bins, frames)
        n_basis = len(lag_basis)
        self.kernel = nn.Parameter(torch.empty(n_factors, n_basis).uniform_(0, 2 / n_basis, generator=generator))
        self.read_out = nn.ParameterDict()
        self.bias = nn.ParameterDict()
        self.log_spread = nn.ParameterDict()
        bound = 0.3 / math.sqrt(n_factors)
        for name, n_units in sessions.items():
            weight = torch.empty(n_units, n_factors).uniform_(-bound, bound, generator=generator)
            self.read_out[self.sessions[name]] = nn.Parameter(weight)
            self.bias[self.sessions[name]] = nn.Parameter(torch.zeros(n_units))
            if spread:
                self.log_spread[self.sessions[name]] = nn.Parameter(torch.zeros(n_units))

    def forward(self, z: Tensor, *, session: str | None, generator: torch.Generator | None) -> dict[str, Tensor]:
        return self.read(self.courses(z), session=session, generator=generator)

    def read(self, frames: Tensor, *, session: str | None, generator: torch.Generator | None) -> dict[str, Tensor]:
        """The parameters from the time courses (..., n_frames, FRAME_FEATURES)."""
        key = self.key(session)
        frames = self.frame(frames)  # (..., t, f)
        response = torch.einsum("fk,kbt->fbt", self.kernel, self.lag_basis)
        factors = torch.einsum("...tf,fbt->...bf", frames, response)
        if self.log_link:  # never above MAX_LOG_COUNT
            gap = functional.linear(factors, -self.read_out[key], MAX_LOG_COUNT - self.bias[key])  # (..., bin, u)
            parameters = {"log_mean": MAX_LOG_COUNT - functional.softplus(gap).mT}
        else:
            parameters = {"mean": functional.linear(factors, self.read_out[key], self.bias[key]).mT}
        if self.spread:
            parameters[self.spread] = self.log_spread[key].unsqueeze(-1)
        return parameters


def lag_hats(*, frame_s: Sequence[float], bin_s: Sequence[float], bin_width_s: float, n_basis: int) -> Tensor:
    """Weights of the frames for each bin at `n_basis` lags, overlapping triangles: (n_basis, n_bins, n_frames).

    The lags (positive: the bin comes after the sound) are those at which every bin finds sound inside the clip, at
    least one frame either way. Rows sum to 1; where a lag leads out of the clip, the frame at the edge stands in.
    """
    frame = torch.as_tensor(frame_s, dtype=torch.float64)
    middle = torch.as_tensor(bin_s, dtype=torch.float64) + bin_width_s / 2
    step = float(frame[1] - frame[0])
    least, most = min(float(middle[-1] - frame[-1]), -step), max(float(middle[0] - frame[0]), step)
    lags = torch.linspace(least, most, n_basis, dtype=torch.float64)
    width = max((most - least) / max(n_basis - 1, 1), step)
    heard = (middle - lags.unsqueeze(1)).clamp(float(frame[0]), float(frame[-1]))  # (basis, bins)
    hats = (1 - (heard.unsqueeze(-1) - frame).abs() / width).clamp(min=0)
    return (hats / hats.sum(-1, keepdim=True)).float()
