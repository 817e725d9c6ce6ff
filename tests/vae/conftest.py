"""Linear-Gaussian modalities: x_m = W_m z + b_m + s_m noise, with exact inference as encoders.

The columns of W_m are orthogonal, so that q_m proportional to p(x_m|z) is a diagonal Gaussian and a product of such
experts with the prior is the exact posterior.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn

from pipeline.vae.base import Batch, Modality


@dataclass
class Linear:
    """The numbers of one modality: w (p, d), b (p,), s."""

    w: np.ndarray
    b: np.ndarray
    s: float

    @property
    def precision(self):
        return (self.w**2).sum(0) / self.s**2  # (d,)

    def expert_mean(self, x):
        return (x - self.b) @ self.w / (self.w**2).sum(0)

    def log_lik(self, x, z):
        residual = (x - z @ self.w.T - self.b) / self.s
        return (-0.5 * residual**2 - np.log(self.s) - 0.5 * np.log(2 * np.pi)).sum(-1)

    def expected_log_lik(self, x, mean, variance):
        """E of log p(x|z) over z ~ N(mean, variance)."""
        return self.log_lik(x, mean) - 0.5 * variance @ (self.w**2).sum(0) / self.s**2


class LinearEncoder(nn.Module):
    def __init__(self, parts: Linear):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(parts.w / (parts.w**2).sum(0)))
        self.shift = nn.Parameter(torch.tensor(parts.b))
        self.log_variance = nn.Parameter(torch.tensor(-np.log(parts.precision)))

    def forward(self, x):
        mean = (x - self.shift) @ self.weight
        return mean, self.log_variance.expand(mean.shape)


class LinearJointEncoder(nn.Module):
    """q(z | x_1, ..., x_M) with the exact posterior's numbers; a modality that is not given counts as zeros."""

    def __init__(self, names: list[str], parts: list[Linear]):
        super().__init__()
        total = 1 + sum(p.precision for p in parts)
        self.weights = nn.ParameterDict(
            {n: torch.tensor(p.w / p.s**2 / total) for n, p in zip(names, parts, strict=True)}
        )
        self.shifts = nn.ParameterDict({n: torch.tensor(p.b) for n, p in zip(names, parts, strict=True)})
        self.log_variance = nn.Parameter(torch.tensor(-np.log(total)))

    def forward(self, data, *, session, generator):
        mean = sum((data.get(name, 0.0) - shift) @ self.weights[name] for name, shift in self.shifts.items())
        return mean, self.log_variance.expand(mean.shape)


class LinearDecoder(nn.Module):
    def __init__(self, parts: Linear):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(parts.w))
        self.shift = nn.Parameter(torch.tensor(parts.b))
        self.log_scale = nn.Parameter(torch.tensor(np.log(parts.s)))

    def forward(self, z):
        return z @ self.weight.T + self.shift, self.log_scale


def fit(model, batch, *, learnt=lambda name: True, n_steps=300, begin=0.0, end=1.0, seed=0):
    """Start the parameters that are `learnt` anew and train them; the objective's step runs from `begin` to `end`."""
    noise = generator(seed)
    parameters = [p for name, p in model.named_parameters() if learnt(name)]
    for parameter in parameters:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=noise, dtype=torch.float64)
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    pace = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for index in range(n_steps):
        rows = torch.randint(len(batch), (256,), generator=noise)
        optimizer.zero_grad()
        model.objective(batch.take(rows), begin + (end - begin) * index / n_steps, noise).loss.backward()
        optimizer.step()
        pace.step()


def evidence(parts: list[Linear], xs: list[np.ndarray]) -> np.ndarray:
    """Exact log p(x_1, x_2, ...) of rows."""
    w = np.concatenate([p.w for p in parts])
    noise = np.concatenate([np.full(len(p.b), p.s**2) for p in parts])
    density = multivariate_normal(np.concatenate([p.b for p in parts]), w @ w.T + np.diag(noise))
    return np.atleast_1d(density.logpdf(np.concatenate(xs, 1)))


def product(parts: list[Linear], xs: list[np.ndarray], prior: bool):
    """Mean and variance of the product of exact experts, (n, d) each, by plain precisions."""
    precision = float(prior) + sum(p.precision for p in parts)
    mean = sum(p.precision * p.expert_mean(x) for p, x in zip(parts, xs, strict=True)) / precision
    return mean, np.broadcast_to(1 / precision, mean.shape)


def kl(mean, variance):
    """KL(N(mean, variance) || N(0, I)), (n,)."""
    return 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(-1)


class Lab:
    """Hands the above to the tests."""

    evidence = staticmethod(evidence)
    product = staticmethod(product)
    kl = staticmethod(kl)
    fit = staticmethod(fit)

    def __init__(self, n_modalities=2, weights=None, seed=0, n_latents=2):
        rng = np.random.default_rng(seed)
        self.parts = []
        for m in range(n_modalities):
            basis, _ = np.linalg.qr(rng.normal(size=(4 + m, n_latents)))
            w = basis * rng.uniform(0.6, 1.8, n_latents)
            self.parts.append(Linear(w, rng.normal(size=4 + m), rng.uniform(0.6, 1.2)))
        self.names = [f"m{m}" for m in range(n_modalities)]
        self.weights = weights or [1.0] * n_modalities
        self.rng = rng

    def modalities(self):
        return [
            Modality(name, LinearEncoder(p), LinearDecoder(p), "gaussian", weight)
            for name, p, weight in zip(self.names, self.parts, self.weights, strict=True)
        ]

    def exact_modalities(self):
        """As `modalities`, but the encoders hold the prior: they are the exact posteriors given one modality."""
        made = self.modalities()
        for modality, part in zip(made, self.parts, strict=True):
            precision = torch.tensor(part.precision)
            modality.encoder.weight.data *= precision / (1 + precision)
            modality.encoder.log_variance.data = -torch.log(1 + precision)
        return made

    def joint_encoder(self):
        """The exact posterior given all modalities."""
        return LinearJointEncoder(self.names, self.parts)

    def data(self, n):
        z = self.rng.normal(size=(n, self.parts[0].w.shape[1]))
        return [z @ p.w.T + p.b + p.s * self.rng.normal(size=(n, len(p.b))) for p in self.parts]

    def batch(self, xs, present=None, session="only"):
        """present: (m, n) bool; rows that are absent get NaN."""
        present = np.ones((len(xs), len(xs[0])), bool) if present is None else np.asarray(present)
        filled = [np.where(p[:, None], x, np.nan) for x, p in zip(xs, present, strict=True)]
        return Batch(
            {name: torch.tensor(x) for name, x in zip(self.names, filled, strict=True)},
            {name: torch.tensor(p) for name, p in zip(self.names, present, strict=True)},
            session,
        )


@pytest.fixture
def lab():
    return Lab


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(name="generator")
def _generator():
    return generator
