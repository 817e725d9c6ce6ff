"""Joint generation: do the sound and the spikes of one draw from the prior belong together?

What belongs together is learned from real pairs: a ridge regression reads the pitch and the level of the sound from
the counts of the training clips. Coherence is the correlation, over draws, of what it reads from the decoded counts
with what the decoded sound shows. Beside it stand the same correlation for real held-out pairs, and for draws whose
sound and spikes were paired at random. Decoded counts are expected counts, which lack the noise of spikes, so that
coherent draws may agree better than real pairs do.
"""

import numpy as np
import torch

from pipeline.clips import SessionClips
from pipeline.evaluation.design import count_features
from pipeline.evaluation.factors import KnownClips, sound_factors
from pipeline.evaluation.features import coarsened
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.predictions import DECODED_AT_ONCE
from pipeline.evaluation.readout import fit_readout
from pipeline.evaluation.scores import Ratio, correlation, jackknifed, mean_counts
from pipeline.vae.base import MultimodalVAE

READ = ("pitch", "level")
N_DRAWS = 512
N_BLOCKS = 64  # draws are independent: blocks of them only serve the standard error
MOST_BINS = 4  # of counts that the regression sees for each unit


def coherence_scores(
    model: MultimodalVAE, metrics: Metrics, known: KnownClips, *, min_peak_db: float, generator: torch.Generator
) -> None:
    """Add `joint_coherence` of pitch and level: `given` the prior, real pairs, and shuffled draws.

    known: clips with both modalities. min_peak_db: see `sound_factors`.
    """
    training, test = known.clips["train"], known.clips["test"]
    factors = [name for name in READ if known.usable(name)]
    if not factors:
        return
    reference = mean_counts(training.counts, kind=training.kind)
    noise_sd = np.sqrt(reference) if training.kind == "spikes" else np.ones_like(reference)

    def features(clips: SessionClips) -> np.ndarray:
        flat = count_features(clips, reference=reference, noise_sd=noise_sd)
        binned = flat.reshape(len(clips), len(reference), -1)
        return coarsened(binned, axis=2, most=MOST_BINS).reshape(len(clips), -1)

    readout = fit_readout(
        {split: features(known.clips[split]) for split in ("train", "validation")},
        {split: {name: found[name] for name in factors} for split, found in known.factors.items()},
    )
    draws = joint_draws(model, test, n=N_DRAWS, generator=generator)
    shown = sound_factors(draws["audio"], frequency_hz=test.frequency_hz, frame_s=test.frame_s, min_peak_db=min_peak_db)
    drawn = test.take(np.zeros(N_DRAWS, int))
    drawn.counts = draws["neural"]
    read, read_real = readout.read(features(drawn)), readout.read(features(test))
    other = torch.randperm(N_DRAWS, generator=generator).numpy()
    blocks = np.arange(N_DRAWS) % N_BLOCKS
    for name in factors:
        labels = {"session": test.session, "split": "test", "target": name, "metric": "joint_coherence", "unit": "r"}
        metrics.add(agreement(shown[name], read[name], blocks, n_blocks=N_BLOCKS), given="prior", **labels)
        metrics.add(agreement(shown[name], read[name][other], blocks, n_blocks=N_BLOCKS), given="shuffled", **labels)
        real = agreement(known.factors["test"][name], read_real[name], known.blocks, n_blocks=known.blocks.max() + 1)
        metrics.add(real, given="real", **labels)


def joint_draws(
    model: MultimodalVAE, clips: SessionClips, *, n: int, generator: torch.Generator
) -> dict[str, np.ndarray]:
    """Expected sound (n, n_frequencies, n_frames), dB, counts (n, n_units, n_bins), ... of `n` draws from the prior."""
    width = clips.spectrogram[0].size + clips.counts[0].size
    at_once = max(DECODED_AT_ONCE // width, 1)
    parts = []
    with torch.inference_mode():
        for start in range(0, n, at_once):
            parts.append(model.generate(min(at_once, n - start), generator, session=clips.session))
    return {name: torch.cat([part[name] for part in parts]).float().cpu().numpy() for name in parts[0]}


def agreement(shown: np.ndarray, read: np.ndarray, blocks: np.ndarray, *, n_blocks: int) -> Ratio:
    """Correlation of two series (n,) over the rows where `shown` is known; blocks (n,) are left out one by one."""
    known = np.isfinite(shown)
    shown, read = shown[known], read[known]
    return jackknifed(lambda rows: correlation(shown[rows], read[rows]), blocks[known], n_blocks=n_blocks)
