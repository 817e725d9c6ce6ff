"""Ridge regression of a few known factors from features, its penalty chosen on the validation clips."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.linear import LinearPath, ridge_path

PENALTIES = np.logspace(-4, 4, 17)  # in mean variances of the features


@dataclass(frozen=True)
class Readout:
    """chosen: index of the penalty of each output, and the outputs' names."""

    path: LinearPath
    chosen: dict[str, int]

    def read(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """What is read from features (n_rows, n_features): by output, shape (n_rows,)."""
        return {
            name: features @ self.path.weights[index][:, column] + self.path.intercepts[index][column]
            for column, (name, index) in enumerate(self.chosen.items())
        }


def fit_readout(features: Mapping[str, np.ndarray], targets: Mapping[str, Mapping[str, np.ndarray]]) -> Readout:
    """Fit on `train`, choose on `validation`: features by split (n_rows, n_features), targets by split and name.

    Targets that are NaN are left out.
    """
    names = list(targets["train"])
    stacked = {split: np.stack([targets[split][name] for name in names], axis=1) for split in ("train", "validation")}
    path = ridge_path(features=np.asarray(features["train"], np.float64), targets=stacked["train"], penalties=PENALTIES)
    errors = [
        np.nanmean((path.predict(features["validation"], index) - stacked["validation"]) ** 2, axis=0)
        for index in range(len(PENALTIES))
    ]
    return Readout(path, dict(zip(names, np.argmin(errors, axis=0).tolist(), strict=True)))


def explained(truth: np.ndarray, predicted: np.ndarray, *, reference: float) -> tuple[np.ndarray, np.ndarray]:
    """Explained and total squares of each clip, (n_clips,) each, against the training mean `reference`; 0 for NaN."""
    known = np.isfinite(truth)
    total = np.where(known, (truth - reference) ** 2, 0.0)
    return np.where(known, total - (truth - predicted) ** 2, 0.0), total
