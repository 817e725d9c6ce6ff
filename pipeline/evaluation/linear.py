"""Ridge and reduced-rank regression for many outputs at once, with missing elements."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearPath:
    """Linear maps for several penalties: predicted = features @ weights[i] + intercepts[i].

    weights: shape (n_penalties, n_features, n_outputs). intercepts: shape (n_penalties, n_outputs).
    penalties: shape (n_penalties,), shares of the features' mean variance. residual_penalty: shape (n_penalties,), the
    penalty on squared weights, in units of the mean squared error.
    """

    weights: np.ndarray
    intercepts: np.ndarray
    penalties: np.ndarray
    residual_penalty: np.ndarray

    def predict(self, features: np.ndarray, index: int) -> np.ndarray:
        """Predictions of penalty `index` for features (n_rows, n_features), shape (n_rows, n_outputs)."""
        return features @ self.weights[index] + self.intercepts[index]


def ridge_path(*, features: np.ndarray, targets: np.ndarray, penalties: np.ndarray) -> LinearPath:
    """Ridge regression for every penalty from one eigendecomposition (Hoerl & Kennard 1970).

    features: shape (n_rows, n_features). targets: shape (n_rows, n_outputs), NaN = missing: an output is fitted on the
    rows where it was observed; outputs that share those rows share the decomposition. penalties: shape (n_penalties,),
    relative to the features' mean variance, so that they mean the same for any loudness and any number of rows.

    Minimises mean_rows (y - b - x w)^2 + penalty * mean variance * |w|^2 per output.
    """
    n_features, n_outputs = features.shape[1], targets.shape[1]
    weights = np.zeros((len(penalties), n_features, n_outputs), features.dtype)
    intercepts = np.zeros((len(penalties), n_outputs), features.dtype)
    observed = np.isfinite(targets)
    scale = max(float(features.var(axis=0).mean()), np.finfo(np.float32).tiny)
    for outputs in _sharing_rows(observed):
        rows = observed[:, outputs[0]]
        if not rows.any():
            continue
        x = features if rows.all() else features[rows]
        y = targets[np.ix_(rows, outputs)]
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        x = x - mean_x
        variances, basis = np.linalg.eigh(x.T @ x / len(x))  # columns of basis (n_features, n_features)
        rotated = basis.T @ (x.T @ (y - mean_y)) / len(x)  # (n_features, n_outputs of this group)
        for index, penalty in enumerate(penalties):
            solved = basis @ (rotated / (np.maximum(variances, 0.0) + penalty * scale)[:, None])
            weights[index][:, outputs] = solved
            intercepts[index][outputs] = mean_y - mean_x @ solved
    return LinearPath(weights, intercepts, np.asarray(penalties), np.asarray(penalties) * scale)


def rank_directions(*, weights: np.ndarray, residual_penalty: float, features: np.ndarray, most: int) -> np.ndarray:
    """Directions of the outputs that reduced-rank regression keeps, best first, shape (n_outputs, <= most).

    weights: of one penalty (n_features, n_outputs), the outputs in units in which errors count alike. residual_penalty:
    see `LinearPath`. features: centred training rows (n_rows, n_features). The rank-r map is `weights @ d @ d.T`, d =
    the first r columns (Izenman 1975; with a ridge penalty: Mukherjee & Zhu 2011).
    """
    fitted = features @ weights
    moments = fitted.T @ fitted / len(fitted) + residual_penalty * (weights.T @ weights)
    return np.linalg.eigh(moments)[1][:, ::-1][:, :most]


def _sharing_rows(observed: np.ndarray) -> list[np.ndarray]:
    """Outputs of `observed` (n_rows, n_outputs) in groups that were observed on the same rows."""
    packed = np.packbits(observed, axis=0).T  # (n_outputs, n_bytes)
    groups: dict[bytes, list[int]] = {}
    for output, pattern in enumerate(packed):
        groups.setdefault(pattern.tobytes(), []).append(output)
    return [np.array(outputs) for outputs in groups.values()]
