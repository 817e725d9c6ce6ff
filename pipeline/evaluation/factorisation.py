"""Latent factorisation: which latents serve the sound, which the spikes, which a further modality, which several.

The sensitivity of a modality to a latent is how much its expected data change for +1 SD of the latent's aggregate
posterior, in units of the data's own scale: SDs of the log spectrogram, log rate of spikes, SDs of traces; root mean
square over a clip's elements, mean over clips. A latent's share of sound is its sensitivity of sound over the sum of
all modalities'.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.clips import SessionClips
from pipeline.evaluation.factors import FACTORS, KnownClips
from pipeline.evaluation.heldout import HeldOut
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.scores import clip_mean, correlation, jackknifed
from pipeline.vae.assembly import to_batch
from pipeline.vae.base import MultimodalVAE

SMALLEST_COUNT = 1e-8
PRIVATE_SHARE = 0.9  # of one modality: from here on the latent is its own
SMALLEST_SENSITIVITY = 0.02  # all together, SDs and log rate; a latent below it does nothing
N_POINTS = 32  # clips a session
N_LEVELS = 10  # equally filled ones, for mutual information
MOST_BLOCKS = 20  # of the jackknife of MIG and SAP


def sensitivities(decode: Callable[[Tensor], dict[str, Tensor]], z: Tensor, sd: Tensor) -> dict[str, np.ndarray]:
    """Change for +1 SD of each latent (half of that from -1 to +1 SD), by modality, shape (n, n_latents).

    decode: z (n, n_latents) -> by modality (n, *features), in units of its own scale. sd: (n_latents,).
    """
    found: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for step in torch.diag(sd):
            up, down = decode(z + step), decode(z - step)
            for name in up:
                change = ((up[name] - down[name]) / 2).flatten(1)
                found.setdefault(name, []).append(change.square().mean(dim=1).sqrt())
    return {name: torch.stack(parts, dim=1).double().cpu().numpy() for name, parts in found.items()}


def audio_shares(sizes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Share of the sensitivity that is the sound's, from (n_latents,) by modality; NaN where there is none."""
    total = np.sum(list(sizes.values()), axis=0)
    return np.divide(sizes["audio"], total, out=np.full(len(total), np.nan), where=total > 0)


def spaces(sizes: Mapping[str, np.ndarray]) -> np.ndarray:
    """shared, the one modality that a latent serves, or inactive, from the sensitivities (n_latents,) by modality."""
    names, each = np.array([*sizes], object), np.stack(list(sizes.values()))
    total, largest = each.sum(axis=0), each.max(axis=0)
    idle = ~(total >= SMALLEST_SENSITIVITY)  # NaN too
    own = largest >= PRIVATE_SHARE * total
    return np.select([idle, own], ["inactive", names[each.argmax(axis=0)]], "shared").astype(object)


def factorisation(sizes: np.ndarray) -> float:
    """sum_j (M max_m s_mj - t_j) / ((M - 1) sum_j t_j), t_j = sum_m s_mj, of sensitivities s (n_modalities, n_latents).

    1: each latent serves one of the M modalities alone; 0: all serve all alike. Of two modalities the numerator is
    their difference, |s_1j - s_2j|.
    """
    n, total = len(sizes), sizes.sum()
    return float((n * sizes.max(axis=0).sum() - total) / ((n - 1) * max(total, np.finfo(float).tiny)))


def sensitivity_scores(
    model: MultimodalVAE,
    metrics: Metrics,
    held: HeldOut,
    training: SessionClips,
    *,
    modalities: tuple[str, ...],
    sd: Tensor,
    generator: torch.Generator,
) -> None:
    """Add `sensitivity` of each modality to each latent and `factorisation` of the model.

    held: clips with all modalities; points are drawn from q(z|all) of some of them. sd: of the aggregate posterior.
    """
    held = held.thinned(N_POINTS)
    clips = held.clips
    scale_db = float(np.sqrt(np.square(training.spectrogram - held.mean_spectrogram).mean(dtype=np.float64))) or 1.0
    with torch.inference_mode():
        z = model.posterior(to_batch(clips), modalities).rsample(1, generator)[0]

    def decode(z: Tensor) -> dict[str, Tensor]:
        decoded = {}
        for name, likelihood in model.decode(z, session=clips.session, names=modalities).items():
            if name == "audio":
                decoded[name] = likelihood.mean / scale_db
            else:
                is_spikes = clips.series(name).kind == "spikes"
                decoded[name] = likelihood.mean.clamp(min=SMALLEST_COUNT).log() if is_spikes else likelihood.mean
        return decoded

    found = sensitivities(decode, z, sd)
    labels = {"session": clips.session, "split": held.split, "given": "+".join(modalities)}
    for name in modalities:
        unit = "log rate" if name != "audio" and clips.series(name).kind == "spikes" else "SD"
        for latent, values in enumerate(found[name].T):
            score = clip_mean(values, held.blocks)
            metrics.add(score, target=name, metric="sensitivity", unit=unit, unit_id=f"z{latent}", **labels)

    def factorised(rows: np.ndarray) -> float:
        return factorisation(np.stack([found[name][rows].mean(axis=0) for name in modalities]))

    score = jackknifed(factorised, held.blocks, n_blocks=held.blocks.max() + 1)
    metrics.add(score, target="", metric="factorisation", unit="1", **labels)


def disentanglement_scores(metrics: Metrics, known: KnownClips, z: np.ndarray, *, given: str) -> None:
    """Add MIG and SAP of each known factor over the posterior means z (n_clips, n_latents) of the test clips."""
    blocks = known.blocks % MOST_BLOCKS
    n_blocks = int(min(known.blocks.max() + 1, MOST_BLOCKS))
    for factor in (name for name in FACTORS if known.usable(name)):
        values = known.factors["test"][factor]
        seen = np.isfinite(values)
        for metric, gap in (("mig", mutual_information_gap), ("sap", separated_predictability)):

            def statistic(rows: np.ndarray, gap=gap, z=z[seen], values=values[seen]) -> float:
                return gap(z[rows], values[rows])

            metrics.add(
                jackknifed(statistic, blocks[seen], n_blocks=n_blocks),
                session=known.clips["test"].session,
                split="test",
                target=factor,
                given=given,
                metric=metric,
                unit="1",
            )


def mutual_information_gap(z: np.ndarray, factor: np.ndarray) -> float:
    """Gap between the two latents that tell most of a factor, in shares of its entropy (Chen et al. 2018).

    z: (n, n_latents), factor: (n,), both cut into ten equally filled levels.
    """
    codes = [_levels(column) for column in z.T]
    target = _levels(factor)
    entropy = _entropy(np.bincount(target))
    if entropy <= 0:
        return 0.0
    told = [entropy + _entropy(np.bincount(code)) - _entropy(np.bincount(code * N_LEVELS + target)) for code in codes]
    return _gap(told) / entropy


def separated_predictability(z: np.ndarray, factor: np.ndarray) -> float:
    """Gap between the R2 of the two single latents that predict a factor best, linearly (Kumar et al. 2018, SAP)."""
    return _gap([correlation(column, factor) ** 2 for column in z.T])


def _gap(values: Sequence[float]) -> float:
    ordered = sorted(values, reverse=True)
    return float(ordered[0] - ordered[1]) if len(ordered) > 1 else float(sum(ordered))


def _levels(values: np.ndarray) -> np.ndarray:
    edges = np.quantile(values, np.arange(1, N_LEVELS) / N_LEVELS) if len(values) else []
    return np.searchsorted(edges, values, side="right")


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())
