"""All scores of one trained model."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from pipeline.clips import MODALITIES, SessionClips
from pipeline.errors import InputError
from pipeline.evaluation.factorisation import disentanglement_scores, sensitivity_scores
from pipeline.evaluation.factors import known_clips
from pipeline.evaluation.generation import coherence_scores
from pipeline.evaluation.heldout import SPLITS, held_out, with_modalities
from pipeline.evaluation.identifiability import identifiability_scores
from pipeline.evaluation.likelihood import likelihood_scores
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.planted import Song
from pipeline.evaluation.reconstruction import prediction_scores
from pipeline.evaluation.synergy import decoding_scores
from pipeline.evaluation.traversal import aggregate_posterior
from pipeline.seeds import torch_generator
from pipeline.vae.assembly import LoadedModel, to_batch


def model_metrics(
    loaded: LoadedModel,
    clips: Sequence[SessionClips],
    *,
    n_samples: int,
    n_clips: int,
    chunk_s: float,
    min_peak_db: float,
    songs: Mapping[str, Song] | None = None,
) -> Metrics:
    """Predictions, likelihoods, generation, synergy, factorisation and identifiability of a model, on held-out clips.

    n_samples: posterior samples a clip. n_clips: clips a session and split at most for reconstruction and
    log-likelihoods. chunk_s, min_peak_db: see `held_out`. songs: of simulated sessions, by name.

    Raises InputError where clips do not fit the model.
    """
    metrics = Metrics(objective=loaded.family, latent_dim=loaded.latent_dim, seed=loaded.seed)
    shares_latents = loaded.model.cross_generates and len(loaded.modalities) > 1
    sd = None
    if shares_latents:
        batches = [to_batch(session.where("train")) for session in clips]
        sd = aggregate_posterior(loaded.model, batches, loaded.modalities)[1]
    for session in clips:
        check_fit(loaded, session)
        modalities = scored_modalities(loaded, session)
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
        factors = {"min_peak_db": min_peak_db, "song": (songs or {}).get(session.session)}
        latent_scores(loaded, metrics, session, modalities=modalities, sd=sd, chunk_s=chunk_s, **factors)
    return metrics


def latent_scores(
    loaded: LoadedModel,
    metrics: Metrics,
    session: SessionClips,
    *,
    modalities: tuple[str, ...],
    sd: Tensor | None,
    chunk_s: float,
    min_peak_db: float,
    song: Song | None,
) -> None:
    """What the latents carry and generate in one session: decoding and identifiability, coherence, sensitivities, gaps.

    modalities: those that the model decodes for this session. sd: of the aggregate posterior, (n_latents,); None where
    the model's modalities share no latents. song: of a simulated session.
    """
    model = loaded.model
    known = known_clips(session, modalities=modalities, min_peak_db=min_peak_db, chunk_s=chunk_s, song=song)
    if known is not None:
        means = decoding_scores(model, metrics, known, modalities=modalities)
        for given, z in means.items():
            identifiability_scores(metrics, known, z, given=given)
        given = "+".join(modalities)
        if given in means:
            disentanglement_scores(metrics, known, means[given]["test"], given=given)
    if sd is None or not set(MODALITIES) <= set(modalities):
        return
    if known is not None:
        generator = torch_generator(loaded.seed, "coherence", session.session)
        coherence_scores(model, metrics, known, min_peak_db=min_peak_db, generator=generator)
    held = held_out(session, split="test", modalities=modalities, chunk_s=chunk_s, min_peak_db=min_peak_db)
    if held is not None:
        training = with_modalities(session.where("train"), ("audio",))
        generator = torch_generator(loaded.seed, "sensitivity", session.session)
        sensitivity_scores(model, metrics, held, training, modalities=modalities, sd=sd, generator=generator)


def scored_modalities(loaded: LoadedModel, session: SessionClips) -> tuple[str, ...]:
    """What the model decodes for a session; of modalities beside sound and neural those that all splits have, too."""
    known = loaded.known(session.session)
    chosen = tuple(name for name in known if name in MODALITIES)
    for name in (name for name in known if name not in MODALITIES):
        if all(session.where(split).has((*chosen, name)).any() for split in ("train", *SPLITS)):
            chosen = (*chosen, name)
    return chosen


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
    for name in (name for name in loaded.modalities if name != "audio"):
        trained = loaded.channels(name).get(clips.session)
        channels = list(clips.series(name).channels) if name in clips.modalities else []
        if trained is not None and list(trained) != channels:
            what = "units" if name == "neural" else f"channels of {name}"
            raise InputError(
                f"these clips do not fit the model: their {what} differ",
                where=f"session {clips.session}",
                found=f"{len(channels)}: {', '.join(sorted(set(channels) ^ set(trained))[:3])} ...",
                allowed=f"the {len(trained)} that the model was trained on, in that order",
                mend="train again, or evaluate on the clips that the model was trained on",
            )
