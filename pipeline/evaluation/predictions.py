"""What a model expects of each modality when it is given some of them."""

from collections.abc import Collection, Iterator
from itertools import combinations

import numpy as np
import torch

from pipeline.vae.base import Batch, MultimodalVAE

DECODED_AT_ONCE = 1_000_000  # numbers: bounds the memory whatever the number of samples


def expected_data(
    model: MultimodalVAE,
    batch: Batch,
    *,
    given: Collection[str],
    targets: Collection[str],
    n_samples: int,
    generator: torch.Generator,
) -> dict[str, np.ndarray]:
    """E[x_t | x_given] = E_{q(z|x_given)} E[x_t|z] for each target, over `n_samples` posterior samples.

    Returns arrays (n_clips, *features); targets that the model cannot decode for this session are left out.
    """
    found: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode():
        for part in pieces(batch, targets, n_samples):
            z = model.posterior(part, given).rsample(n_samples, generator)  # (k, n, d)
            for name, likelihood in model.decode(z, session=batch.session, names=targets).items():
                found.setdefault(name, []).append(likelihood.mean.mean(dim=0).float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def pieces(batch: Batch, targets: Collection[str], n_samples: int) -> Iterator[Batch]:
    """Consecutive rows of a batch, few enough to decode `n_samples` of each at once."""
    width = sum(batch.data[name][0].numel() for name in targets if name in batch.data and len(batch))
    n_rows = max(DECODED_AT_ONCE // max(width * n_samples, 1), 1)
    for rows in torch.arange(len(batch)).split(n_rows):
        yield batch.take(rows)


def possible_givens(model: MultimodalVAE, modalities: tuple[str, ...]) -> list[tuple[str, ...]]:
    """What a model can infer its latents from: each modality and, where they share latents, each set of them."""
    sizes = range(1, len(modalities) + 1) if model.cross_generates else (1,)
    return [given for size in sizes for given in combinations(modalities, size)]


def possible_targets(model: MultimodalVAE, modalities: tuple[str, ...], given: tuple[str, ...]) -> tuple[str, ...]:
    """What a model can decode from latents that were inferred from `given`."""
    return modalities if model.cross_generates else given
