"""The networks of the digits benchmark, the same for all families, and the classifiers that judge what they make."""

import torch
from torch import Tensor, nn

from pipeline.vae.base import Modality, MultimodalVAE
from pipeline.vae.joint import JointEncoder
from pipeline.vae.networks import GaussianHead, dense
from pipeline.vae.spec import family_class

SHAPES = {"mnist": (28, 28), "textured": (3, 32, 32)}
SIZES = {name: torch.Size(shape).numel() for name, shape in SHAPES.items()}
HIDDEN, DECODER_HIDDEN = 128, 256


class Features(nn.Module):
    """Pixels 0 to 1 (n, *shape) -> features (n, HIDDEN): an MLP for MNIST, two convolutions for scenes."""

    def __init__(self, name: str):
        super().__init__()
        self.shape = SHAPES[name]
        if name == "mnist":
            self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(SIZES[name], 256), nn.ReLU(), nn.Linear(256, HIDDEN))
        else:
            self.trunk = nn.Sequential(
                nn.Conv2d(3, 48, kernel_size=4, stride=4),  # (n, 48, 8, 8)
                nn.ReLU(),
                nn.Conv2d(48, 64, kernel_size=4, stride=2, padding=1),  # (n, 64, 4, 4)
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64 * 4 * 4, HIDDEN),
            )
        self.trunk.append(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk((x - 0.5) * 2)

    def absent(self) -> Tensor:
        """Features (1, HIDDEN) of even grey."""
        return self.trunk(next(self.parameters()).new_zeros(1, *self.shape))


class Encoder(Features):
    """q(z|x): features -> mean and log variance, (n, n_latents) each."""

    def __init__(self, name: str, n_latents: int):
        super().__init__(name)
        self.head = GaussianHead(HIDDEN, n_latents, None)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(super().forward(x))


class Decoder(nn.Module):
    """p(x|z): z (..., n_latents) -> mean pixels (..., *shape), or their logits, by an MLP; `log_scale` is fixed."""

    def __init__(self, name: str, n_latents: int, log_scale: float | None):
        super().__init__()
        self.log_scale = log_scale
        self.layers = nn.Sequential(
            nn.Linear(n_latents, DECODER_HIDDEN),
            nn.ReLU(),
            dense(DECODER_HIDDEN, SIZES[name], None),
            nn.Unflatten(-1, SHAPES[name]),
        )

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        pixels = self.layers(z)
        if self.log_scale is None:
            return {"logits": pixels}
        return {"mean": torch.sigmoid(pixels), "log_scale": pixels.new_tensor(self.log_scale)}


def build(family: str, *, latent_dim: int, likelihood: str, scale: float, seed: int, options: dict) -> MultimodalVAE:
    """A model of that family; MNIST's likelihood weighs as much more in training as it has fewer pixels.

    likelihood: of MNIST, `laplace` or `bernoulli`; scenes have a Laplace one. scale: of the Laplace likelihoods.
    """
    cls = family_class(family)
    torch.manual_seed(seed)
    private = options.get("private_dim") or cls.default_private_dim(list(SHAPES), latent_dim)
    log_scale = torch.tensor(scale).log().item()
    modalities = []
    for name, size in SIZES.items():
        n_latents = latent_dim + private.get(name, 0)
        kind = likelihood if name == "mnist" else "laplace"
        decoder = Decoder(name, n_latents, None if kind == "bernoulli" else log_scale)
        modalities.append(Modality(name, Encoder(name, n_latents), decoder, kind, max(SIZES.values()) / size))
    needs = {"joint_encoder": cls.needs_joint_encoder, "surrogate_encoder": cls.needs_surrogate_encoder}
    n_all = latent_dim + sum(private.values())
    joint = {
        key: JointEncoder({name: Features(name) for name in SHAPES}, hidden=HIDDEN, n_latents=n_all)
        for key, needed in needs.items()
        if needed
    }
    return cls(modalities, latent_dim=latent_dim, **joint, **options)


def classifier(name: str) -> nn.Sequential:
    """Pixels 0 to 1 (n, *shape) -> logits of the ten classes (n, 10)."""
    channels = 1 if name == "mnist" else 3
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)) if name == "mnist" else nn.Identity(),
        nn.Conv2d(channels, 24, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(24, 48, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(48 * (7 * 7 if name == "mnist" else 8 * 8), 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
