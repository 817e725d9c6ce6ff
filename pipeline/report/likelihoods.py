"""The log-likelihood table in the form of papers: rows are targets, columns are what the latents are inferred from."""

import numpy as np
import pandas as pd

from pipeline.report.tables import Cell, Column, TableView

BOTH = "audio+neural"
SIDES = ("audio", "neural")
MEANING = "nats a clip ± standard error over blocks, in brackets the effective sample size"
PAIRED = "nats a clip ± standard error over blocks, paired"
# column: (metric, what is given: the target itself (t), the other side (n) or both; value, or delta to what it is held
# against)
COLUMNS = {
    "x_t | x_t, x_n": ("marginal", "tn", "value", f"log p(x_t), latents drawn from q(z|both); {MEANING}"),
    "x_t | x_n": ("marginal", "n", "value", f"log p(x_t), latents drawn from q(z|other side); {MEANING}"),
    "x_t | x_t": ("marginal", "t", "value", f"log p(x_t), latents drawn from q(z|target); {MEANING}"),
    "joint": ("joint", "tn", "value", f"log p(x_t, x_n); {MEANING}"),
    "joint, gain": ("joint", "tn", "delta", f"joint less log p(x_t) and log p(x_n) of unimodal models; {PAIRED}"),
    "conditional": ("conditional", "n", "value", f"log p(x_t|x_n): joint less log p(x_n); {MEANING}"),
    "conditional, gain": ("conditional", "n", "delta", f"conditional less the model's own log p(x_t); {PAIRED}"),
    "predictive": ("predictive", "n", "value", f"log of the mean of p(x_t|z) over q(z|x_n); {MEANING}"),
}


def likelihood_table(table: pd.DataFrame, *, csv: str | None) -> TableView | None:
    """Held-out log-likelihoods of every family and target; None where `table` (log_likelihood) has none.

    Test blocks only. Sessions are averaged by their clips; over seeds values, errors and effective sample sizes are
    averaged (the seeds share their clips, so that the error over blocks does not shrink with them).
    """
    if table.empty:
        return None
    rows = table[table["split"].eq("test")]
    cells = _averaged(rows)
    heads = [
        Column("objective", "family", "family of the model", False),
        Column("latent_dim", "latents", "latents of the model", True),
        Column("target", "target t", "modality t whose data are explained; n is the other one", False),
        *(Column(name, name, meaning, True) for name, (*_, meaning) in COLUMNS.items()),
    ]
    body = []
    models = rows[["objective", "latent_dim"]].drop_duplicates().sort_values(["objective", "latent_dim"])
    for model in models.itertuples(index=False):
        for target in SIDES:
            other = next(name for name in SIDES if name != target)
            given = {"t": target, "n": other, "tn": BOTH}
            line = [
                cells.get((*model, BOTH if metric == "joint" else target, given[kind], f"log_likelihood:{metric}", of))
                for metric, kind, of, _ in COLUMNS.values()
            ]
            if any(cell is not None for cell in line):
                names = [model.objective, str(int(model.latent_dim)), target]
                body.append([*(Cell(name, name) for name in names), *(cell or Cell("–", "") for cell in line)])
    return TableView(name="likelihoods", columns=heads, rows=body, n_rows=len(body), csv=csv) if body else None


def _averaged(rows: pd.DataFrame) -> dict[tuple, Cell]:
    """By objective, latent_dim, target, given, metric, and value or delta."""
    cells = {}
    for key, group in rows.groupby(["objective", "latent_dim", "target", "given", "metric"]):
        value, se, ess = _over_seeds(group, "value", "se")
        cells[*key, "value"] = Cell(f"{value:.2f}{_error(se)} ({ess:.1f})", str(value))
        if group["delta"].notna().all():
            delta, se, _ = _over_seeds(group, "delta", "delta_se")
            cells[*key, "delta"] = Cell(f"{delta:+.2f}{_error(se)}", str(delta))
    return cells


def _over_seeds(group: pd.DataFrame, value: str, se: str) -> np.ndarray:
    """Value, standard error and effective sample size."""
    seeds = [
        (
            np.average(one[value], weights=one["n"]),
            np.sqrt(np.sum((one["n"] * one[se]) ** 2)) / one["n"].sum(),
            np.average(one["ess"], weights=one["n"]),
        )
        for _, one in group.groupby("seed")
    ]
    return np.mean(seeds, axis=0)


def _error(se: float) -> str:
    return f" ± {se:.2f}" if np.isfinite(se) else ""
