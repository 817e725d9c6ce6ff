"""Simple models of counts, each as a series of candidates from which the validation clips choose."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.covariance import ledoit_wolf

from pipeline.clips import SessionClips
from pipeline.evaluation.design import Design, thinned
from pipeline.evaluation.features import principal_directions
from pipeline.evaluation.glm import expected_counts, poisson_path
from pipeline.evaluation.linear import LinearPath, rank_directions, ridge_path

PENALTIES = np.logspace(-2, 4, 13)  # of ridge, in mean variances of the features; the last all but gives the mean rate
N_RANK_PENALTIES = 7  # reduced-rank regression needs only the weaker ones
RANKS = (1, 2, 3, 5, 8, 12, 20)
MOMENT_ROWS = 5000  # are enough to find the directions that reduced-rank regression keeps
GLM_PENALTIES = np.logspace(1.5, -2.5, 9)
GLM_ITERATIONS = 60
GLM_COMPONENTS = 256  # principal components of band power: about 99 % of its variance
TIMESCALES_S = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1e6)  # of drift; the last is the mean rate
NO_FLOOR = (1e-3,)
# Shares of a unit's mean rate below which a linear prediction, which may be negative, is not believed.
FLOORS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Candidates:
    """`predict(split, index)` gives expected counts (n_clips, n_units, n_bins), for index below n.

    floors, per_unit: see `choose`.
    """

    n: int
    predict: Callable[[str, int], np.ndarray]
    floors: tuple[float, ...] = NO_FLOOR
    per_unit: bool = True


def mean_rate(parts: dict[str, SessionClips], *, reference: np.ndarray) -> Candidates:
    """The unit's mean rate: scores 0 by definition."""

    def predict(split: str, index: int) -> np.ndarray:
        return np.tile(reference[:, None], (len(parts[split]), 1, parts[split].counts.shape[2]))

    return Candidates(1, predict)


def drift(parts: dict[str, SessionClips], *, reference: np.ndarray) -> Candidates:
    """Slow changes of the rate: the mean over training clips nearby in time, for several meanings of nearby."""

    def predict(split: str, index: int) -> np.ndarray:
        means = drifting_counts(
            counts=parts["train"].counts,
            start_s=parts["train"].start_s,
            at_s=parts[split].start_s,
            timescale_s=TIMESCALES_S[index],
            reference=reference,
        )
        return np.repeat(means[:, :, None], parts[split].counts.shape[2], axis=2)

    return Candidates(len(TIMESCALES_S), predict)


def ridge(designs: list[tuple[Design, LinearPath]]) -> Candidates:
    """Ridge regression on each design, for each penalty."""
    n_penalties = len(PENALTIES)

    def predict(split: str, index: int) -> np.ndarray:
        design, path = designs[index // n_penalties]
        return design.per_clip(path.predict(design.features[split], index % n_penalties))

    return Candidates(n_penalties * len(designs), predict, FLOORS)


def reduced_rank(
    designs: list[tuple[Design, LinearPath]], *, noise_sd: np.ndarray, correlation: np.ndarray | None = None
) -> Candidates:
    """Reduced-rank regression on each design, for some penalties and ranks; `noise_sd` (n_units,) weighs the units.

    With `correlation` (see `count_correlation`) errors count in uncorrelated mixtures of units instead, and what is
    left of rank r are the r leading canonical variates (Izenman 1975): noise that units share is not fitted.
    """
    root, inverse_root = _roots(np.eye(len(noise_sd)) if correlation is None else correlation)
    white, coloured = inverse_root / noise_sd[:, None], root * noise_sd
    readings, options = [], []
    for design, path in designs:
        features = design.features["train"]
        mean_x = features.mean(axis=0)
        some = features[:: max(len(features) // MOMENT_ROWS, 1)] - mean_x
        for index in range(N_RANK_PENALTIES):
            weights = _over_units(path.weights[index], white)
            directions = rank_directions(
                weights=weights, residual_penalty=path.residual_penalty[index], features=some, most=max(RANKS)
            )
            reading = weights @ directions  # (n_features, n_directions)
            writing = _over_units(directions.T, coloured)
            mean = path.intercepts[index] + mean_x @ path.weights[index]
            readings.append((design, reading, mean_x @ reading))
            options += [(len(readings) - 1, writing[:rank], mean) for rank in RANKS if rank <= len(writing)]

    @cache
    def scores(split: str, which: int) -> np.ndarray:  # (n_rows, n_directions), shared by all ranks
        design, reading, centre = readings[which]
        return design.features[split] @ reading - centre

    def predict(split: str, index: int) -> np.ndarray:
        which, writing, mean = options[index]
        return readings[which][0].per_clip(scores(split, which)[:, : len(writing)] @ writing + mean)

    return Candidates(len(options), predict, FLOORS, per_unit=False)


def count_correlation(counts: np.ndarray, *, reference: np.ndarray, noise_sd: np.ndarray) -> np.ndarray:
    """Covariance of units in one bin, in noise variances, shrunk (Ledoit & Wolf 2004), shape (n_units, n_units).

    It is all but that of the noise: sound explains a few percent of counts in a bin.

    counts (n_clips, n_units, n_bins; NaN = missing: taken as the mean). reference, noise_sd: mean counts in a bin and
    their SD (n_units,).
    """
    counts = counts[thinned(counts.shape[0] * counts.shape[2], len(counts))]
    scaled = ((counts - reference[:, None]) / noise_sd[:, None]).transpose(0, 2, 1).reshape(-1, len(reference))
    return ledoit_wolf(np.nan_to_num(scaled), assume_centered=True)[0]


def poisson(design: Design) -> Candidates:
    """Poisson regression with a log link on the principal components of a design's features, for each penalty."""
    directions = principal_directions(design.features["train"], most=GLM_COMPONENTS)
    components = {split: features @ directions for split, features in design.features.items()}
    weights, intercepts = poisson_path(
        features=components["train"], counts=design.targets, penalties=GLM_PENALTIES, max_iterations=GLM_ITERATIONS
    )

    def predict(split: str, index: int) -> np.ndarray:
        return design.per_clip(expected_counts(components[split], weights[index], intercepts[index]))

    return Candidates(len(GLM_PENALTIES), predict)


def drifting_counts(
    *, counts: np.ndarray, start_s: np.ndarray, at_s: np.ndarray, timescale_s: float, reference: np.ndarray
) -> np.ndarray:
    """Mean count in a bin of each unit round the times `at_s`, shape (n_times, n_units).

    A Gaussian-weighted mean (SD `timescale_s`) over training clips: counts (n_clips, n_units, n_bins; NaN = missing)
    that start at start_s (n_clips,). Far from all of them it falls back to `reference` (n_units,), which weighs as much
    as one clip at three timescales' distance.
    """
    spikes, n_observed = np.nansum(counts, axis=2), np.isfinite(counts).sum(axis=2)
    weight = np.exp(-0.5 * ((at_s[:, None] - start_s) / timescale_s) ** 2)  # (n_times, n_clips)
    prior = np.exp(-4.5) * counts.shape[2]
    return (weight @ spikes + prior * reference) / (weight @ n_observed + prior)


def _over_units(rows: np.ndarray, map_: np.ndarray) -> np.ndarray:
    """Rows of outputs (n_rows, n_units * n), their units combined by map_ (n_units, n_units)."""
    each = rows.reshape(len(rows), len(map_), -1)
    return np.einsum("rub,uv->rvb", each, map_.astype(rows.dtype), optimize=True).reshape(rows.shape)


def _roots(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric square root of a positive matrix, and its inverse."""
    variances, basis = np.linalg.eigh(covariance)
    variances = np.maximum(variances, 1e-6)  # a unit that was never observed has none
    return (basis * np.sqrt(variances)) @ basis.T, (basis / np.sqrt(variances)) @ basis.T


def fitted_ridge(design: Design) -> tuple[Design, LinearPath]:
    """A design with its ridge regressions."""
    return design, ridge_path(features=design.features["train"], targets=design.targets, penalties=PENALTIES)
