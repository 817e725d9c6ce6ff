"""Synergy: what sound and spikes together tell that neither tells alone.

In nats: log p(x_t|x_t, x_n) - log p(x_t|x_t), the difference of two columns of the likelihood table (`likelihood.py`),
both estimates of log p(x_t), so that it says which posterior is the better proposal. In known factors: how much of the
pitch, level, duration and call type of real clips a ridge regression decodes from the posterior means of q(z|audio),
q(z|neural) and q(z|both), and what the last has over the better of the others. Of three modalities or more: every set.
"""

from collections.abc import Collection

import numpy as np
import torch
from scipy.stats import binomtest

from pipeline.evaluation.factors import KnownClips
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.predictions import possible_givens
from pipeline.evaluation.readout import explained, fit_readout
from pipeline.evaluation.scores import Ratio, block_sums
from pipeline.vae.assembly import to_batch
from pipeline.vae.base import Batch, MultimodalVAE

CHUNK = 1024  # clips that are embedded at once


def posterior_means(model: MultimodalVAE, batch: Batch, given: Collection[str]) -> np.ndarray:
    """E[z|x_given] of each clip, shape (n_clips, n_latents)."""
    with torch.inference_mode():
        rows = torch.arange(len(batch)).split(CHUNK)
        return torch.cat([model.posterior(batch.take(part), given).mean for part in rows]).double().cpu().numpy()


def decoding_scores(
    model: MultimodalVAE, metrics: Metrics, known: KnownClips, *, modalities: tuple[str, ...]
) -> dict[str, dict[str, np.ndarray]]:
    """Add `decoding` of each known factor from each posterior, and `decoding_synergy`: several less the best alone.

    Explained variance on the test clips of a fit on the training clips (of call types that of one 0-1 variable a type,
    together); which one alone is best is decided on the validation clips. Returns the clips' posterior means by what is
    given, joined by `+`, and by split.
    """
    batches = {split: to_batch(clips) for split, clips in known.clips.items()}
    factors = known.decodable
    columns = [column for own in factors.values() for column in own]
    session = known.clips["test"].session
    scores: dict[tuple[str, str], dict[str, Ratio]] = {}
    means = {}
    for names in possible_givens(model, modalities):
        given = "+".join(names)
        z = {split: posterior_means(model, batch, names) for split, batch in batches.items()}
        means[given] = z
        if not factors:
            continue
        readout = fit_readout(z, {s: {c: found[c] for c in columns} for s, found in known.factors.items()})
        for split in ("validation", "test"):
            read = readout.read(z[split])
            blocks = known.blocks if split == "test" else np.zeros(len(z[split]), int)
            for factor, own in factors.items():
                truth = {column: known.factors[split][column] for column in own}
                reference = {column: float(np.nanmean(known.factors["train"][column])) for column in own}
                each = [explained(truth[column], read[column], reference=reference[column]) for column in own]
                sums = (block_sums(sum(of), blocks) for of in zip(*each, strict=True))
                score = Ratio(*sums, int(np.isfinite(truth[own[0]]).sum()))
                scores.setdefault((split, factor), {})[given] = score
    for factor in factors:
        labels = {"session": session, "split": "test", "target": factor, "unit": "1"}
        found = scores["test", factor]
        for given, score in found.items():
            metrics.add(score, metric="decoding", given=given, **labels)
        for names in (names for names in possible_givens(model, modalities) if len(names) > 1):
            alone = {name: scores["validation", factor][name].value for name in names}
            gain = found["+".join(names)].minus(found[max(alone, key=alone.get)])
            metrics.add(gain, metric="decoding_synergy", given="+".join(names), **labels)
    return means


def sign_test_p(score: Ratio) -> float:
    """Two-sided p of as many blocks above (below) 0, under even chances; blocks of exactly 0 do not count."""
    sums = score.numerator[score.denominator != 0]
    n_above, n_below = int((sums > 0).sum()), int((sums < 0).sum())
    return float(binomtest(n_above, n_above + n_below).pvalue) if n_above + n_below else float("nan")
