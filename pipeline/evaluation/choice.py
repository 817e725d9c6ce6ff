"""Choosing among candidate predictions of counts on the validation clips."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Choice:
    """For each unit the candidate that explains the validation clips best, and the floor under its predictions."""

    candidate: np.ndarray  # (n_units,) indices
    floor: np.ndarray  # (n_units,) shares of the mean rate

    def assemble(self, predict: Callable[[int], np.ndarray], reference: np.ndarray) -> np.ndarray:
        """Predictions by the chosen candidates, (n_clips, n_units, n_bins); each candidate is evaluated once."""
        chosen = None
        for index in np.unique(self.candidate):
            predicted = predict(index)
            chosen = np.empty_like(predicted) if chosen is None else chosen
            units = self.candidate == index
            chosen[:, units] = predicted[:, units]
        return np.maximum(chosen, (self.floor * reference)[:, None])


def choose(
    candidates: Iterable[np.ndarray],
    *,
    counts: np.ndarray,
    reference: np.ndarray,
    floors: tuple[float, ...],
    per_unit: bool,
) -> Choice:
    """Try every candidate (n_clips, n_units, n_bins) at every floor; keep the likeliest, by the Poisson likelihood.

    counts: those of the validation clips (n_clips, n_units, n_bins), NaN = missing. reference: mean counts (n_units,).
    floors: shares of the mean rate below which a prediction is lifted to them. The candidate is chosen for each unit by
    itself (per_unit), or one for all units together, which is safer where there are many; the floor always per unit.
    """
    observed = np.isfinite(counts)
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
    best = gain.max(axis=1)  # (n_candidates, n_units)
    candidate = best.argmax(axis=0) if per_unit else np.full(gain.shape[2], best.sum(axis=1).argmax())
    floor = gain[candidate, :, np.arange(gain.shape[2])].argmax(axis=1)
    return Choice(candidate, np.array(floors)[floor])
