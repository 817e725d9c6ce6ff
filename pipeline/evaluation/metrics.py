"""The table of metrics: one row a number, the same columns for models and baselines."""

import numpy as np
import pandas as pd

from pipeline.evaluation.scores import Ratio

# `block_sums` and `block_weights` are the score's numerators and denominators per block (bout or stretch of time): with
# them two rows of the same clips can be compared pairwise, `Ratio(a, weights).minus(Ratio(b, weights))`.
COLUMNS = {
    "objective": str,
    "latent_dim": np.int64,
    "seed": np.int64,
    "session": str,
    "split": str,
    "target": str,
    "given": str,
    "metric": str,
    "unit_id": str,
    "value": np.float64,
    "se": np.float64,
    "ess": np.float64,
    "n": np.int64,
    "unit": str,
    "block_sums": object,
    "block_weights": object,
}


class Metrics:
    """Collects the rows of one model or baseline."""

    def __init__(self, *, objective: str, latent_dim: int, seed: int):
        self.fixed = {"objective": objective, "latent_dim": latent_dim, "seed": seed}
        self.rows: list[dict] = []

    def add(
        self,
        score: Ratio,
        *,
        session: str,
        split: str,
        target: str,
        given: str,
        metric: str,
        unit: str,
        unit_id: str = "",
        unit_ids: list[str] | None = None,
        ess: float = np.nan,
    ) -> None:
        """Add a score; one with an axis of units (`unit_ids`) gives a pooled row and one a unit that has a value."""
        common = {"session": session, "split": split, "target": target, "given": given, "metric": metric, "unit": unit}
        if unit_ids is None:
            self._row(score, ess=ess, unit_id=unit_id, **common)
            return
        self._row(score.pooled(), ess=ess, unit_id="", **common)
        for index, unit_id in enumerate(unit_ids):
            single = Ratio(score.numerator[:, index], score.denominator[:, index], score.n)
            if np.isfinite(single.value):
                self._row(single, ess=ess, unit_id=unit_id, **common)

    def add_all(self, scores: dict[tuple[str, str], Ratio], *, unit_ids: list[str], **common) -> None:
        """Add what `HeldOut.scores` returned."""
        for (metric, unit), score in scores.items():
            per_unit = unit_ids if score.numerator.ndim == 2 else None
            self.add(score, metric=metric, unit=unit, unit_ids=per_unit, **common)

    def _row(self, score: Ratio, **labels) -> None:
        self.rows.append(
            {
                **self.fixed,
                **labels,
                "value": float(score.value),
                "se": float(score.se),
                "n": score.n,
                "block_sums": np.asarray(score.numerator, dtype=np.float64),
                "block_weights": np.asarray(score.denominator, dtype=np.float64),
            }
        )


def metrics_table(*collected: Metrics) -> pd.DataFrame:
    """All rows as one table; without rows it keeps its columns and types."""
    rows = [row for metrics in collected for row in metrics.rows]
    columns = {name: [row[name] for row in rows] for name in COLUMNS}
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kind) for name, kind in COLUMNS.items()})
