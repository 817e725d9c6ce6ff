"""All scores of one trained model."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from pipeline.clips import MODALITIES, SessionClips
from pipeline.errors import InputError
from pipeline.evaluation.heldout import SPLITS, held_out
from pipeline.evaluation.likelihood import likelihood_scores
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.reconstruction import prediction_scores
from pipeline.seeds import torch_generator
from pipeline.vae.assembly import LoadedModel


def model_metrics(
    loaded: LoadedModel,
    clips: Sequence[SessionClips],
    *,
    n_samples: int,
    n_clips: int,
    chunk_s: float,
    min_peak_db: float,
) -> Metrics:
    """Predictions and likelihoods of a model on the validation and test clips of every session.

    n_samples: posterior samples a clip. n_clips: clips a session and split at most for reconstruction and
    log-likelihoods. chunk_s, min_peak_db: see `held_out`.

    Raises InputError where clips do not fit the model.
    """
    metrics = Metrics(objective=loaded.family, latent_dim=loaded.latent_dim, seed=loaded.seed)
    for session in clips:
        check_fit(loaded, session)
        has_units = session.session in loaded.sessions
        modalities = tuple(name for name in MODALITIES if name in loaded.modalities and (name != "neural" or has_units))
        for split in SPLITS:
            choose = partial(held_out, session, split=split, chunk_s=chunk_s, min_peak_db=min_peak_db)
            common = {
                "modalities": modalities,
                "held_out": lambda wanted, choose=choose: choose(modalities=wanted),
                "n_samples": n_samples,
                "n_clips": n_clips,
            }
            for scores in (prediction_scores, likelihood_scores):
                generator = torch_generator(loaded.seed, scores.__name__, session.session, split)
                scores(loaded.model, metrics, generator=generator, **common)
    return metrics


def check_fit(loaded: LoadedModel, clips: SessionClips) -> None:
    """Raise InputError unless the clips have the bands, frames, bins and units that the model was trained on."""
    pairs = {name: (getattr(clips, name), getattr(loaded, name)) for name in ("frequency_hz", "frame_s", "bin_s")}
    for name, (found, wanted) in pairs.items():
        if len(found) != len(wanted) or not np.allclose(found, wanted):
            raise InputError(
                f"these clips do not fit the model: {name} differs",
                where=f"session {clips.session}",
                found=f"{len(found)} values from {found[0]:g}" if len(found) else "no values",
                allowed=f"{len(wanted)} values from {wanted[0]:g}" if len(wanted) else "no values",
                mend="evaluate on the clips that the model was trained on",
            )
    trained = loaded.sessions.get(clips.session)
    if trained is not None and list(trained) != list(clips.unit_ids):
        raise InputError(
            "these clips do not fit the model: their units differ",
            where=f"session {clips.session}",
            found=f"{len(clips.unit_ids)} units: {', '.join(sorted(set(clips.unit_ids) ^ set(trained))[:3])} ...",
            allowed=f"the {len(trained)} units that the model was trained on, in that order",
            mend="train again, or evaluate on the clips that the model was trained on",
        )
