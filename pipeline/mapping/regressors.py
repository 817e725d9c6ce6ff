"""Covariates (movement, breathing, ...) as regressors that are taken out of both sides of a test."""

from dataclasses import dataclass

import numpy as np

from pipeline.covariates import Covariates
from pipeline.errors import InputError
from pipeline.mapping.nulls import same_gaps, without_drift

# Fine near 0 for the phase of fast rhythms (breathing, to 12 Hz), with reach for slow ones (running).
LAGS_S = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
SMALLEST_SHARE = 1e-8  # of the largest variance: neighbouring lags of a slow covariate are nearly one


@dataclass(frozen=True)
class Regressors:
    """Covariates at lags of up to 1 s to both sides, in their SDs: `design` (n_bins, n_columns).

    `known` (n_bins,): where all covariates are. Elsewhere the design is no more than a straight line across the gap,
    which bins near a gap see at a lag.
    """

    names: list[str]
    design: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, covariates: Covariates, *, start_s: np.ndarray) -> "Regressors":
        """Covariates on the bins that start at `start_s` (n_bins,). Raises InputError where theirs are others."""
        if not np.array_equal(covariates.start_s, start_s):
            raise InputError("covariates and counts have different bins", mend="run `duet covariates` again")
        steps = np.rint(np.array(LAGS_S) / covariates.bin_width_s).astype(int)
        lags = np.unique(np.concatenate([-steps, steps]))
        bins = np.arange(len(start_s))
        finite = np.isfinite(covariates.values)
        design = np.empty((len(start_s), len(covariates.names), len(lags)), np.float32)
        for index, (values, known) in enumerate(zip(covariates.values.T, finite.T, strict=True)):
            mean, sd = values[known].mean(dtype=float), values[known].std(dtype=float)
            series = np.interp(bins, bins[known], (values[known] - mean) / sd)
            design[:, index] = series[np.clip(bins[:, None] - lags, 0, len(bins) - 1)]
        return cls(list(covariates.names), design.reshape(len(bins), -1), finite.all(axis=1))

    def at(self, bins: slice | np.ndarray) -> "Regressors":
        """The same in some of the bins."""
        return Regressors(self.names, self.design[bins], self.known[bins])

    def basis(self, rows: np.ndarray, **drift: float) -> np.ndarray:
        """An orthonormal basis of the covariates over `rows` (n_bins,) bool, where drift is removed as by
        `without_drift`; 0 elsewhere. Shape (n_bins, n_basis)."""
        return orthonormal(without_drift(self.design, rows[:, None], **drift))

    def removed(self, values: np.ndarray, valid: np.ndarray, **drift: float) -> np.ndarray:
        """What `without_drift` leaves of `values` (n_bins, n_series), without the covariates too."""
        left = without_drift(values, valid, **drift)
        for rows, series in same_gaps(valid):
            left[:, series] = apart(left[:, series], self.basis(rows, **drift))
        return left


def apart(series: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """`series` (n, n_series) without its fit by an orthonormal `basis` (n, n_basis); series by series in memory."""
    return (series.T - (series.T @ basis) @ basis.T).T


def orthonormal(design: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns of `design` (n, n_columns) without what is nearly dependent, (n, n_basis)."""
    variance, axes = np.linalg.eigh(design.T @ design)
    kept = variance > SMALLEST_SHARE * max(variance[-1], np.finfo(float).tiny)
    return design @ (axes[:, kept] / np.sqrt(variance[kept]))
