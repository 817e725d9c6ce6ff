"""Identifiability: which causes of the sound can be read from the latents, and which from the sound at all.

Of each clip: log pitch, level and how long it sounds; of simulated clips also the planted log pitch, log pressure and
log length of the vocal organ. Two decoders, fitted on the training clips, chosen on the validation clips and scored on
the test clips: ridge regression, and kernel ridge regression with a Gaussian kernel on landmarks (Nystroem features,
Williams & Seeger 2001). The same decoders on the data themselves say what the latents could have kept; on the planted
pitch, level and duration of the sound, known exactly, what the sound allows without any noise.

Pitch fixes log n + 0.5 log p - log h of pressure p, length h and mode n, not p and h apart.
"""

from collections.abc import Mapping

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from pipeline.clips import SessionClips
from pipeline.evaluation.factors import FACTORS, KnownClips, known_clips
from pipeline.evaluation.features import coarsened, principal_directions
from pipeline.evaluation.heldout import SPLITS
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.planted import LOG_VALUES, Song
from pipeline.evaluation.readout import explained, fit_readout
from pipeline.evaluation.scores import Ratio, block_sums

N_LANDMARKS = 192
WIDTHS = (0.5, 1.0, 2.0)  # of the kernel, in root mean square distances between clips
N_COMPONENTS = 128  # of a modality's data; fewer lose the duration of short calls
MOST_FEATURES = 1024  # of those data
JITTER = 1e-6  # on the kernel of the landmarks, whose diagonal is 1: some of them may be alike
EXACT_SOUND = ("planted_pitch", "planted_level", "planted_duration")

BySplit = Mapping[str, np.ndarray]


def identifiability_scores(metrics: Metrics, known: KnownClips, z: BySplit, *, given: str) -> None:
    """Add `identifiability:linear` and `identifiability:nonlinear` of each factor that is known.

    z: features by split, (n_clips, n_features): posterior means, or data. Explained variance against the mean of the
    training clips, with its error over blocks.
    """
    names = [name for name in (*FACTORS, *LOG_VALUES) if known.usable(name)]
    if not names:
        return
    targets = {
        split: {name: np.log(found[name]) if name == "pitch" else found[name] for name in names}
        for split, found in known.factors.items()
    }
    for decoder, read in (("linear", read_linearly), ("nonlinear", read_by_kernel)):
        for name, predicted in read(z, targets)["test"].items():
            truth, reference = targets["test"][name], float(np.nanmean(targets["train"][name]))
            parts = explained(truth, predicted, reference=reference)
            metrics.add(
                Ratio(*(block_sums(part, known.blocks) for part in parts), int(np.isfinite(truth).sum())),
                session=known.clips["test"].session,
                split="test",
                target=name,
                given=given,
                metric=f"identifiability:{decoder}",
                unit="1",
            )


def data_scores(session: SessionClips, *, chunk_s: float, min_peak_db: float, song: Song | None) -> list[Metrics]:
    """The same scores of one session from each modality's data, and from the planted sound if that is known.

    chunk_s, min_peak_db, song: see `known_clips`.
    """
    modalities = ("audio", "neural") if session.unit_ids else ("audio",)
    known = known_clips(session, modalities=modalities, min_peak_db=min_peak_db, chunk_s=chunk_s, song=song)
    if known is None:
        return []
    found = Metrics(objective="baseline:data", latent_dim=0, seed=0)
    for name in modalities:
        identifiability_scores(found, known, components(_coarse_data(known.clips, name)), given=name)
    if not all(known.usable(name) for name in EXACT_SOUND):
        return [found]
    exact = Metrics(objective="baseline:exact_sound", latent_dim=0, seed=0)
    sound = {split: np.stack([of[name] for name in EXACT_SOUND], axis=1) for split, of in known.factors.items()}
    mean, sd = np.nanmean(sound["train"], axis=0), np.nanstd(sound["train"], axis=0)
    sound = {split: np.nan_to_num((values - mean) / sd) for split, values in sound.items()}
    identifiability_scores(exact, known, sound, given="planted sound")
    return [found, exact]


def components(data: BySplit) -> dict[str, np.ndarray]:
    """Scores on the principal components of the training clips' data (n_clips, n_features), together of variance 1.

    Missing values count as the mean of the training clips.
    """
    seen = np.isfinite(data["train"])
    mean = np.where(seen, data["train"], 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    centred = {split: np.nan_to_num(values - mean) for split, values in data.items()}
    basis = principal_directions(centred["train"], most=N_COMPONENTS)
    scores = {split: values.astype(np.float64) @ basis for split, values in centred.items()}
    scale = np.sqrt(scores["train"].var(axis=0).sum()) or 1.0
    return {split: values / scale for split, values in scores.items()}


def _coarse_data(clips: Mapping[str, SessionClips], name: str) -> dict[str, np.ndarray]:
    """The sound or the counts of each split, (n_clips, n_features), averaged to about `MOST_FEATURES`."""
    if name == "audio":
        most = int(np.sqrt(MOST_FEATURES))
        bands = {split: coarsened(part.spectrogram, axis=1, most=most) for split, part in clips.items()}
        data = {split: coarsened(values, axis=2, most=most) for split, values in bands.items()}
    else:
        n_units = len(clips["train"].unit_ids)
        data = {s: coarsened(part.counts, axis=2, most=max(MOST_FEATURES // n_units, 1)) for s, part in clips.items()}
    return {split: values.reshape(len(values), -1) for split, values in data.items()}


def read_linearly(z: BySplit, targets: Mapping[str, BySplit]) -> dict[str, dict[str, np.ndarray]]:
    """What ridge regression reads of each target in the validation and test clips, (n_clips,) by split and name."""
    readout = fit_readout(z, targets)
    return {split: readout.read(z[split]) for split in SPLITS}


def read_by_kernel(z: BySplit, targets: Mapping[str, BySplit]) -> dict[str, dict[str, np.ndarray]]:
    """The same of kernel ridge regression; its width is chosen for each target on the validation clips."""
    rows = np.unique(np.linspace(0, len(z["train"]) - 1, N_LANDMARKS).round().astype(int))
    landmarks = z["train"][rows]
    distance2 = {split: cdist(values, landmarks, "sqeuclidean") for split, values in z.items()}
    scale2 = max(2 * float(z["train"].var(axis=0).sum()), np.finfo(np.float32).tiny)
    tries = []
    for width in WIDTHS:
        kernel = {split: np.exp(-values / (2 * width**2 * scale2)) for split, values in distance2.items()}
        root = cholesky(kernel["train"][rows] + JITTER * np.eye(len(rows)), lower=True)
        # features whose inner products are the kernel, as far as the landmarks tell
        features = {split: solve_triangular(root, values.T, lower=True).T for split, values in kernel.items()}
        tries.append(read_linearly(features, targets))
    best = {}
    for name, truth in targets["validation"].items():
        errors = [np.nanmean((truth - found["validation"][name]) ** 2) for found in tries]
        best[name] = tries[int(np.argmin(errors))]
    return {split: {name: found[split][name] for name, found in best.items()} for split in SPLITS}
