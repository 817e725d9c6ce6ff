"""What is measured of each trained model of the digits benchmark; shares come with their standard errors."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from networks import SHAPES, classifier
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from data import Part
from pipeline.evaluation.likelihood import Draws, draw
from pipeline.evaluation.predictions import expected_data, possible_givens, possible_targets
from pipeline.seeds import torch_generator
from pipeline.vae.base import Batch, MultimodalVAE

AT_ONCE = 500  # images that a network sees at once where there is no gradient
BATCH_SIZE, LEARNING_RATE = 128, 2e-3  # of the classifiers


@dataclass(frozen=True)
class Figure:
    """A mean and its standard error, and the effective number of samples of an importance-sampling estimate."""

    mean: float
    error: float
    ess: float = math.nan

    @classmethod
    def of(cls, values: np.ndarray, ess: float = math.nan) -> "Figure":
        values = np.asarray(values, float)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), ess)


Found = dict[tuple[str, str], Figure]  # by target and what is given


def train_classifier(name: str, train: Part, *, n_epochs: int, seed: int) -> nn.Module:
    """A classifier of one modality from real training images."""
    torch.manual_seed(seed)
    network = classifier(name)
    n_drawings = train.scenes.shape[1] if name == "textured" else 1
    images = train.scenes.flatten(0, 1) if name == "textured" else train.digits
    labels = train.labels.repeat_interleave(n_drawings)
    n_steps = n_epochs * (len(images) // BATCH_SIZE)
    optimizer = torch.optim.Adam(network.parameters())
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, n_steps)
    for _ in range(n_epochs):
        for rows in torch.randperm(len(images)).split(BATCH_SIZE)[: len(images) // BATCH_SIZE]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows] / 255), labels[rows]).backward()
            optimizer.step()
            pace.step()
    return network.eval()


@torch.inference_mode()
def classified(network: nn.Module, images: Tensor) -> Tensor:
    """The class of each image, pixels 0 to 1, int64 (n,)."""
    return torch.cat([network(some).argmax(-1) for some in images.split(AT_ONCE)])


@torch.inference_mode()
def made_from(
    model: MultimodalVAE, batch: Batch, given: Collection[str], targets: Collection[str], generator: torch.Generator
) -> dict[str, Tensor]:
    """The decoded mean image of one posterior sample a row, by target."""
    z = model.posterior(batch, given).rsample(1, generator)[0]
    return {name: likelihood.mean for name, likelihood in model.decode(z, names=targets).items()}


def coherence(model: MultimodalVAE, test: Batch, judges: dict[str, nn.Module], *, seed: int) -> Found:
    """Share of the images made from what is given that are of its class, by target and given."""
    found = {}
    for given in possible_givens(model, tuple(SHAPES)):
        targets = possible_targets(model, tuple(SHAPES), given)
        made = made_from(model, test, given, targets, torch_generator(seed, "coherence", *given))
        for target in targets:
            right = classified(judges[target], made[target]) == test.labels
            found[target, "+".join(given)] = Figure.of(right.numpy())
    return found


def errors(model: MultimodalVAE, test: Batch, *, n_samples: int, seed: int) -> Found:
    """Mean absolute error a pixel of E[x_t | x_given], by target and given."""
    found = {}
    for given in possible_givens(model, tuple(SHAPES)):
        targets = [name for name in possible_targets(model, tuple(SHAPES), given) if name in given]
        noise = torch_generator(seed, "errors", *given)
        made = expected_data(model, test, given=given, targets=targets, n_samples=n_samples, generator=noise)
        for name in targets:
            apart = np.abs(made[name] - test.data[name].numpy()).reshape(len(test), -1).mean(1)
            found[name, "+".join(given)] = Figure.of(apart)
    return found


@torch.inference_mode()
def joint_images(model: MultimodalVAE, n: int, *, seed: int) -> dict[str, Tensor]:
    """Mean images decoded from `n` prior samples."""
    z = model.sample_prior(n, torch_generator(seed, "prior"))
    return {name: likelihood.mean for name, likelihood in model.decode(z).items()}


def joint_coherence(model: MultimodalVAE, judges: dict[str, nn.Module], *, n: int, seed: int) -> tuple[Figure, float]:
    """Share of prior samples whose decoded images are of one class to both judges; the same if pairs were shuffled."""
    if not model.cross_generates:
        return Figure(math.nan, math.nan), math.nan
    made = joint_images(model, n, seed=seed)
    first, second = (classified(judges[name], made[name]).numpy() for name in SHAPES)
    shares = [np.bincount(classes, minlength=10) / n for classes in (first, second)]
    return Figure.of(first == second), float(shares[0] @ shares[1])


@torch.inference_mode()
def latent_means(model: MultimodalVAE, batch: Batch, given: Collection[str]) -> np.ndarray:
    """Posterior means (n, d)."""
    parts = [batch.take(rows) for rows in torch.arange(len(batch)).split(AT_ONCE)]
    return torch.cat([model.posterior(part, given).mean for part in parts]).numpy()


def latent_classes(model: MultimodalVAE, train: Batch, test: Batch) -> dict[str, Figure]:
    """Share of test rows whose class a linear classifier reads from the posterior mean, by what is given."""
    found = {}
    for given in possible_givens(model, tuple(SHAPES)):
        linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        linear.fit(latent_means(model, train, given), train.labels.numpy())
        found["+".join(given)] = Figure.of(linear.predict(latent_means(model, test, given)) == test.labels.numpy())
    return found


@dataclass(frozen=True)
class Table:
    """log p(x_t), nats, by target and proposal, and what the proposal x_t,x_n gains over x_t, of the same rows.

    gains: with as many samples in all; gains_each: with as many from every component of a mixture, as MMVAE's bounds
    have them.
    """

    log_probs: Found
    gains: dict[str, Figure]
    gains_each: dict[str, Figure]


def likelihoods(model: MultimodalVAE, test: Batch, *, n_samples: int, seed: int) -> Table:
    """Importance-sampling estimates with `n_samples` draws."""
    found, single, both, each = {}, {}, {}, {}
    for given in possible_givens(model, tuple(SHAPES)):
        targets = possible_targets(model, tuple(SHAPES), given)
        noise = torch_generator(seed, "likelihoods", *given)
        n_components = len(model.posterior(test.take(torch.arange(1)), given).means)
        total = n_samples * n_components
        draws = draw(model, test, given=given, targets=targets, n_samples=total, generator=noise)
        # Draws come component by component: every n-th ones are spread evenly, too.
        parts = (draws.log_likelihoods, draws.log_ratios)
        thinned = Draws(*({name: values[::n_components] for name, values in part.items()} for part in parts))
        for target in targets:
            estimate = thinned.marginal(target)
            found[target, "+".join(given)] = Figure.of(estimate.log_prob, float(estimate.ess.mean()))
            if given == (target,):
                single[target] = estimate.log_prob
            elif len(given) > 1:
                both[target], each[target] = estimate.log_prob, draws.marginal(target).log_prob
    gains, gains_each = ({name: Figure.of(x - single[name]) for name, x in more.items()} for more in (both, each))
    return Table(found, gains, gains_each)
