"""What simple models reach on the same clips with the same information: the bar that a multimodal model has to pass.

Every penalty, rank and floor is chosen on the validation clips; the test clips are only scored.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.evaluation.candidates import (
    Candidates,
    count_correlation,
    drift,
    fitted_ridge,
    mean_rate,
    poisson,
    reduced_rank,
    ridge,
)
from pipeline.evaluation.choice import choose
from pipeline.evaluation.design import lagged_design, whole_design
from pipeline.evaluation.heldout import SPLITS, HeldOut, held_out, with_modalities
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.psth import psth
from pipeline.evaluation.sound_from_counts import spectrogram_predictions

BOTH = ("audio", "neural")


def baseline_metrics(clips: SessionClips, *, chunk_s: float, min_peak_db: float) -> list[Metrics]:
    """Scores of every baseline in both directions on one session; none for a session of one modality.

    `given` is the modality that a baseline may use; mean and drift leave it aside.
    chunk_s, min_peak_db: see `held_out`.

    Raises InputError where the session has both modalities but no validation clips to choose on.
    """
    training = with_modalities(clips.where("train"), BOTH)
    found = {
        split: held_out(clips, split=split, modalities=BOTH, chunk_s=chunk_s, min_peak_db=min_peak_db)
        for split in SPLITS
    }
    held = {split: part for split, part in found.items() if part is not None}
    if not with_modalities(clips, BOTH).split.size or not clips.unit_ids:
        return []
    if "validation" not in held:
        raise InputError(
            "no clips to train on, or to choose a baseline on, have both modalities",
            where=f"session {clips.session}",
            found={split: int(np.sum(with_modalities(clips, BOTH).split == split)) for split in ("train", *SPLITS)},
            mend="more clips (clips.stride_s, calls thresholds), or fewer and smaller guards (clips.split)",
        )
    return [
        *_scored("neural", "audio", count_predictions(training, held), held),
        *_scored("audio", "neural", spectrogram_predictions(training, held), held),
    ]


def count_predictions(training: SessionClips, held: dict[str, HeldOut]) -> Iterable[tuple[str, dict[str, np.ndarray]]]:
    """Predict held-out counts from nothing, time, the edges of the sound, its level, and the sound.

    Yields (baseline, {split: expected counts (n_clips, n_units, n_bins)}). Traces have no Poisson regression.
    """
    parts = {"train": training, **{split: part.clips for split, part in held.items()}}
    reference, noise_sd = held["validation"].mean_counts, held["validation"].noise_sd
    yield from _chosen("mean", mean_rate(parts, reference=reference), held)
    yield from _chosen("drift", drift(parts, reference=reference), held)
    edges = psth(parts, reference=reference, noise_sd=noise_sd, min_peak_db=held["validation"].min_peak_db)
    yield from _chosen("psth", edges, held)
    yield from _chosen("level", ridge([fitted_ridge(lagged_design(parts, n_bands=1))]), held)
    lagged = lagged_design(parts)
    if training.kind == "spikes":
        yield from _chosen("poisson_glm", poisson(lagged), held)
    designs = [fitted_ridge(lagged), fitted_ridge(whole_design(parts))]
    yield from _chosen("ridge", ridge(designs), held)
    yield from _chosen("reduced_rank", reduced_rank(designs, noise_sd=noise_sd), held)
    together = count_correlation(training.counts, reference=reference, noise_sd=noise_sd)
    yield from _chosen("cca", reduced_rank(designs, noise_sd=noise_sd, correlation=together), held)


def _chosen(name: str, candidates: Candidates, held: dict[str, HeldOut]):
    validation = held["validation"]
    choice = choose(
        (candidates.predict("validation", index) for index in range(candidates.n)),
        counts=validation.clips.counts,
        reference=validation.mean_counts,
        floors=candidates.floors,
        per_unit=candidates.per_unit,
        kind=validation.clips.kind,
    )
    predicted = {
        split: choice.assemble(lambda index, split=split: candidates.predict(split, index), part.mean_counts)
        for split, part in held.items()
    }
    yield name, predicted


def _scored(target: str, given: str, predictions, held: dict[str, HeldOut]) -> Iterable[Metrics]:
    for name, predicted in predictions:
        metrics = Metrics(objective=f"baseline:{name}", latent_dim=0, seed=0)
        for split, part in held.items():
            labels = {"session": part.clips.session, "split": split, "target": target, "given": given}
            metrics.add_all(part.scores(target, predicted[split]), unit_ids=part.clips.unit_ids, **labels)
        yield metrics
