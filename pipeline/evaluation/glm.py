"""Poisson regression with a log link for many units at once."""

import numpy as np
from scipy.optimize import minimize

# Where a fit has strayed to, exp must not overflow; no unit fires e^8 spikes a bin.
LARGEST_LOG_COUNT = 8.0


def poisson_path(
    *, features: np.ndarray, counts: np.ndarray, penalties: np.ndarray, max_iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Poisson regressions for a falling series of penalties, each started from the one before.

    features: shape (n_rows, n_features). counts: shape (n_rows, n_units), NaN = missing, skipped. penalties: shape
    (n_penalties,), falling. Returns weights (n_penalties, n_features, n_units) and intercepts (n_penalties, n_units) of
    log E[count] = intercept + features @ weights.

    Minimises mean_rows (E[count] - count log E[count]) / mean count + penalty/2 |w|^2 per unit (McCullagh & Nelder
    1989, with L2), the penalty being relative to the features' mean variance. All units run in one L-BFGS on
    coordinates in which the curvature of each is about 1; they do not interact, the objective being a sum over units.
    """
    features, counts = np.asarray(features, np.float32), np.asarray(counts, np.float32)
    observed = np.isfinite(counts).astype(np.float32)
    n_observed = np.maximum(observed.sum(axis=0), 1)
    counts = np.where(observed > 0, counts, 0)
    mean_count = np.maximum(counts.sum(axis=0), 0.5) / n_observed
    row_weight = observed / (n_observed * mean_count)  # (n_rows, n_units): each unit's objective is of order 1
    mean_x = features.mean(axis=0)
    variances, basis = np.linalg.eigh(np.cov(features.T).reshape(features.shape[1], -1))
    rotated = (features - mean_x) @ basis.astype(np.float32)
    variances = np.maximum(variances, 0)
    scale = max(float(variances.mean()), np.finfo(np.float32).tiny)
    shape = (features.shape[1] + 1, counts.shape[1])
    parameters = np.zeros(shape)  # rotated weights, then the intercept over the log mean count

    def negative(coordinates: np.ndarray, stretch: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        values = coordinates.reshape(shape) / stretch
        linear = rotated @ values[:-1].astype(np.float32) + values[-1].astype(np.float32)
        linear = np.minimum(linear, LARGEST_LOG_COUNT - np.log(mean_count))
        expected = np.exp(linear) * mean_count
        value = np.sum(row_weight * (expected - counts * linear), dtype=np.float64)
        slope = row_weight * (expected - counts)
        gradient = np.concatenate([rotated.T @ slope + penalty * values[:-1], slope.sum(axis=0, keepdims=True)])
        return value + 0.5 * penalty * np.sum(values[:-1] ** 2), (gradient / stretch).ravel()

    weights = np.empty((len(penalties), *counts.shape[1:], features.shape[1]), np.float32).transpose(0, 2, 1)
    intercepts = np.empty((len(penalties), counts.shape[1]), np.float32)
    for index, penalty in enumerate(np.asarray(penalties) * scale):
        stretch = np.sqrt(np.append(variances + penalty, 1.0))[:, None]
        found = minimize(
            negative,
            (parameters * stretch).ravel(),
            args=(stretch, penalty),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "ftol": 1e-7, "gtol": 1e-6},
        )
        parameters = found.x.reshape(shape) / stretch
        weights[index] = basis @ parameters[:-1]
        intercepts[index] = parameters[-1] + np.log(mean_count) - mean_x @ weights[index]
    return weights, intercepts


def expected_counts(features: np.ndarray, weights: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Expected counts (n_rows, n_units) for features (n_rows, n_features)."""
    return np.exp(np.minimum(features @ weights + intercepts, LARGEST_LOG_COUNT))
