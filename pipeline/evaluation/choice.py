"""Choosing among candidate predictions of counts, or of traces, on the validation clips."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Choice:
    """For each unit the candidate that explains the validation clips best, and the floor under its predictions."""

    candidate: np.ndarray  # (n_units,) indices
    floor: np.ndarray | None  # (n_units,) shares of the mean rate; None: traces, which may be negative

    def assemble(self, predict: Callable[[int], np.ndarray], reference: np.ndarray) -> np.ndarray:
        """Predictions by the chosen candidates, (n_clips, n_units, n_bins); each candidate is evaluated once."""
        chosen = None
        for index in np.unique(self.candidate):
            predicted = predict(index)
            chosen = np.empty_like(predicted) if chosen is None else chosen
            units = self.candidate == index
            chosen[:, units] = predicted[:, units]
        return chosen if self.floor is None else np.maximum(chosen, (self.floor * reference)[:, None])


def choose(
    candidates: Iterable[np.ndarray],
    *,
    counts: np.ndarray,
    reference: np.ndarray,
    floors: tuple[float, ...],
    per_unit: bool,
    kind: str,
) -> Choice:
    """Try every candidate (n_clips, n_units, n_bins) at every floor; keep the likeliest, by the Poisson likelihood.

    Of `kind` traces: by the squared error, without floors.

    counts: those of the validation clips (n_clips, n_units, n_bins), NaN = missing. reference: mean counts (n_units,).
    floors: shares of the mean rate below which a prediction is lifted to them. The candidate is chosen for each unit by
    itself (per_unit), or one for all units together, which is safer where there are many; the floor always per unit.
    """
    observed = np.isfinite(counts)
    if kind == "traces":
        errors = (np.where(observed, counts - predicted, 0.0) for predicted in candidates)
        gain = -np.array([np.square(error).sum(axis=(0, 2)) for error in errors])
        return Choice(_best(gain, per_unit), None)
    spikes = np.where(observed, counts, 0).astype(np.float32)
    observed = observed.astype(np.float32)
    lifted = np.outer(floors, reference).astype(np.float32)[..., None]  # (n_floors, n_units, 1)
    gains = []
    for predicted in candidates:
        expected = np.maximum(predicted, lifted[0], dtype=np.float32)
        log_expected = np.log(expected)
        gains.append(
            [
                np.einsum("cub,cub->u", spikes, np.maximum(log_expected, np.log(low)))
                - np.einsum("cub,cub->u", observed, np.maximum(expected, low))
                for low in lifted
            ]
        )
    gain = np.array(gains, dtype=np.float64)  # (n_candidates, n_floors, n_units), nats
    candidate = _best(gain.max(axis=1), per_unit)
    floor = gain[candidate, :, np.arange(gain.shape[2])].argmax(axis=1)
    return Choice(candidate, np.array(floors)[floor])


def _best(gain: np.ndarray, per_unit: bool) -> np.ndarray:
    """Candidate of each unit, shape (n_units,), by `gain` (n_candidates, n_units): its own, or that of all together."""
    return gain.argmax(axis=0) if per_unit else np.full(gain.shape[1], gain.sum(axis=1).argmax())
