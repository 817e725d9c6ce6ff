"""Linear predictions of the spectrogram from the clip's counts, with all choices made on the validation clips."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.clips import SessionClips
from pipeline.evaluation.candidates import PENALTIES, RANKS
from pipeline.evaluation.design import count_features, thinned
from pipeline.evaluation.heldout import HeldOut
from pipeline.evaluation.linear import LinearPath, rank_directions, ridge_path

SMOOTHING_S = (0.0, 0.015, 0.03)  # SDs of the kernels over counts to choose from, s
N_RANK_PENALTIES = 3  # reduced-rank regression wants a little less penalty than ridge


def spectrogram_predictions(
    training: SessionClips, held: dict[str, HeldOut]
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Predict held-out spectrograms from nothing, by ridge and by reduced-rank regression on counts.

    Yields (baseline, {split: dB (n_clips, n_frequencies, n_frames)}). No canonical correlation analysis here: it would
    weigh what hardly varies as much as the song, while scores are in dB2.
    """
    shape = training.spectrogram.shape[1:]
    yield "mean", {split: np.broadcast_to(p.mean_spectrogram, (len(p.clips), *shape)) for split, p in held.items()}

    parts = {"train": training.take(thinned(len(training), len(training)))}
    parts |= {split: part.clips for split, part in held.items()}
    units = {"reference": held["validation"].mean_counts, "noise_sd": held["validation"].noise_sd}
    truth = parts["validation"].spectrogram.reshape(-1, int(np.prod(shape)))
    target = parts["train"].spectrogram.reshape(len(parts["train"]), -1)

    def error(predicted: np.ndarray) -> float:
        return float(np.square(truth - predicted).mean())

    options = []  # (error, smoothing, penalty)
    paths: dict[float, tuple[dict[str, np.ndarray], LinearPath]] = {}
    for smoothing_s in SMOOTHING_S:
        features = {split: smoothed(count_features(p, **units), p, smoothing_s) for split, p in parts.items()}
        path = ridge_path(features=features["train"], targets=target, penalties=PENALTIES)
        paths[smoothing_s] = features, path
        options += [(error(path.predict(features["validation"], i)), smoothing_s, i) for i in range(len(PENALTIES))]
    _, smoothing_s, best = min(options)
    features, path = paths[smoothing_s]
    yield "ridge", {split: path.predict(features[split], best).reshape(-1, *shape) for split in held}

    mean_x = features["train"].mean(axis=0)
    options = []  # (error, penalty, rank)
    directions = {}
    for index in range(max(best - N_RANK_PENALTIES + 1, 0), best + 1):
        directions[index] = rank_directions(
            weights=path.weights[index],
            residual_penalty=path.residual_penalty[index],
            features=features["train"] - mean_x,
            most=max(RANKS),
        )
        for rank in (r for r in RANKS if r <= directions[index].shape[1]):
            kept = directions[index][:, :rank]
            options.append((error(_projected(path, index, features["validation"], mean_x, kept)), index, rank))
    _, index, rank = min(options)
    kept = directions[index][:, :rank]
    yield (
        "reduced_rank",
        {split: _projected(path, index, features[split], mean_x, kept).reshape(-1, *shape) for split in held},
    )


def smoothed(features: np.ndarray, clips: SessionClips, sd_s: float) -> np.ndarray:
    """Count features (n_clips, n_units * n_bins) smoothed over the clip's bins by a Gaussian of `sd_s` seconds."""
    if sd_s == 0 or not clips.unit_ids:
        return features
    binned = features.reshape(len(clips), len(clips.unit_ids), -1)
    width_s = clips.bin_width_s * clips.counts.shape[2] / binned.shape[2]
    return gaussian_filter1d(binned, sd_s / width_s, axis=2, mode="nearest").reshape(len(clips), -1)


def _projected(path: LinearPath, index: int, features: np.ndarray, mean_x: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The ridge prediction, its departure from the mean confined to the directions `kept` (n_outputs, rank)."""
    mean = path.intercepts[index] + mean_x @ path.weights[index]
    return mean + ((features - mean_x) @ (path.weights[index] @ kept)) @ kept.T
