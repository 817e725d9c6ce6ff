"""Reconstruction and cross generation: how well each modality is predicted from itself, from others, from all."""

from collections.abc import Callable

import torch

from pipeline.evaluation.heldout import HeldOut
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.predictions import expected_data, possible_givens, possible_targets
from pipeline.vae.assembly import to_batch
from pipeline.vae.base import MultimodalVAE


def prediction_scores(
    model: MultimodalVAE,
    metrics: Metrics,
    *,
    modalities: tuple[str, ...],
    held_out: Callable[[tuple[str, ...]], HeldOut | None],
    n_samples: int,
    n_clips: int,
    generator: torch.Generator,
) -> None:
    """Add the scores of every (target, given) that the model can predict; a target within `given` is a reconstruction.

    modalities: those that the model decodes for this session. held_out: the clips that have certain modalities, None
    where there are none. n_clips: reconstructions, which are easy to estimate, use no more clips than this.
    """
    for given in possible_givens(model, modalities):
        targets = possible_targets(model, modalities, given)
        own = [target for target in targets if target in given]
        for wanted in (own, *([target] for target in targets if target not in given)):
            held = held_out(tuple(name for name in modalities if name in given or name in wanted))
            if held is None:
                continue
            held = held.thinned(n_clips) if wanted == own else held
            batch = to_batch(held.clips)
            predicted = expected_data(
                model, batch, given=given, targets=wanted, n_samples=n_samples, generator=generator
            )
            for target, values in predicted.items():
                labels = {
                    "session": held.clips.session,
                    "split": held.split,
                    "target": target,
                    "given": "+".join(given),
                }
                unit_ids = [] if target == "audio" else held.clips.series(target).channels
                metrics.add_all(held.scores(target, values), unit_ids=unit_ids, **labels)
