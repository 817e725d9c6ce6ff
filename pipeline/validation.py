"""What an epoch of training is judged by, on the validation clips: the objective, and what sound tells of spikes."""

import math

import torch
from torch import Tensor

from pipeline.seeds import torch_generator
from pipeline.vae.base import Batch, MultimodalVAE
from pipeline.vae.likelihoods.gaussian import Gaussian
from pipeline.vae.likelihoods.negative_binomial import NegativeBinomial
from pipeline.vae.likelihoods.poisson import Poisson

SAMPLES = 8  # of the posterior, for bits/spike: enough to rank epochs
CHUNK = 256  # clips that are predicted at once


@torch.no_grad()
def validate(model: MultimodalVAE, validation: list[Batch], rates: dict[str, Tensor], seed: int) -> dict[str, float]:
    """Objective with the final beta, its terms, and `neural_bits`: what `cross_gain` says, NaN where it says nothing.

    The same noise in every epoch, so that epochs differ by their weights only.
    """
    model.eval()
    device = model.speaks.device
    noise = torch_generator(seed, "validation", device=str(device))
    sums: dict[str, float] = {}
    gain, size = 0.0, 0.0
    for batch in validation:
        for rows in torch.arange(len(batch)).split(CHUNK):
            piece = batch.take(rows.to(next(iter(batch.present.values())).device)).to(device)
            objective = model.objective(piece, 1.0, noise)
            for name, value in ({"objective": objective.value} | objective.terms).items():
                sums[name] = sums.get(name, 0.0) + float(value.sum())
            if batch.session in rates:
                more = cross_gain(model, piece, rates[batch.session], noise)
                gain, size = gain + more[0], size + more[1]
    n = sum(len(batch) for batch in validation)
    bits = gain / (math.log(2) * size) if size else math.nan
    return {f"validation_{name}": value / n for name, value in sums.items()} | {"neural_bits": bits}


@torch.no_grad()
def cross_gain(model: MultimodalVAE, batch: Batch, rates: Tensor, generator: torch.Generator) -> tuple[float, float]:
    """Log-likelihood of the counts given the audio over that of mean counts `rates` (n_units,), nats; number of spikes.

    The likelihood is Poisson; of traces it is Gaussian with an SD of 1, and the number is that of bins. The prediction
    is the mean over posterior samples of the decoded expected count.
    """
    both = batch.present["audio"] & batch.present["neural"]
    if not both.any():
        return 0.0, 0.0
    paired = batch.take(both)
    z = model.posterior(paired, ["audio"]).rsample(SAMPLES, generator)
    expected = model.decode(z, session=batch.session, names=["neural"])["neural"].mean.mean(0)  # (n, u, bin)
    counts = paired.data["neural"]
    null = rates.unsqueeze(-1)
    if model.modalities["neural"].likelihood is Gaussian:
        gain = ((counts - null) ** 2 - (counts - expected) ** 2) / 2
        return float(gain.nansum()), float(counts.isfinite().sum())
    gain = counts * torch.log(expected / null) - (expected - null)
    return float(gain.nansum()), float(counts.nansum())


def mean_counts(model: MultimodalVAE, training: list[Batch], *, kind: str) -> dict[str, Tensor]:
    """Mean count of each unit in training, by session; empty where `cross_gain` has no meaning for the model."""
    if not model.cross_generates or not {"audio", "neural"} <= set(model.modalities):
        return {}
    if kind == "spikes" and model.modalities["neural"].likelihood not in (Poisson, NegativeBinomial):
        return {}
    rates = {}
    for batch in training:
        if batch.present.get("neural", torch.zeros(1)).any():
            counts = batch.data["neural"][batch.present["neural"]]
            means = counts.nanmean((0, 2)).nan_to_num(nan=0.0).to(model.speaks.device)
            rates[batch.session] = means.clamp(min=0.5 / counts[:, 0].numel()) if kind == "spikes" else means
    return rates
