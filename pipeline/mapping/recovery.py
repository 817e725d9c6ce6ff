"""How much of a planted truth the tables recover (simulated sessions only)."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from pipeline.errors import InputError
from pipeline.mapping.bands import overlap

COLUMNS = ("metric", "of", "value", "n", "unit", "description")


def planted_units(truth: dict) -> pd.DataFrame:
    """The truth's units as a table: index unit_id; kind, cluster, best_hz, low_hz, high_hz, lag_s.

    Raises InputError where the truth holds no units.
    """
    units = {
        unit_id: unit for session in truth.get("sessions", {}).values() for unit_id, unit in session["units"].items()
    }
    if not units:
        raise InputError("this truth names no units", mend="use the truth.json that `duet simulate` wrote")
    return pd.DataFrame.from_dict(units, orient="index")


def recovery(truth: dict, unit_clusters: pd.DataFrame, cluster_bands: pd.DataFrame, *, q: float) -> pd.DataFrame:
    """One row a metric; values are NaN where there was nothing to measure on (no unit assigned, no band planted).

    Cluster ARI over the units that were assigned; for each planted band the best cluster's intersection over union;
    shares of units of each kind that were found selective, modulated, or put into a cluster; median error of the best
    frequency over tuned units that were found.
    """
    planted = planted_units(truth)
    table = unit_clusters.set_index("unit_id").join(planted.add_prefix("true_"), how="inner")
    if not len(table):
        raise InputError(
            "the tables hold none of the truth's units",
            found=list(unit_clusters["unit_id"])[:3],
            allowed=planted.index[:3],
        )
    assigned = table[table["cluster"] >= 0]
    rows = [
        (
            "cluster_ari",
            "assigned units",
            _ari(assigned),
            len(assigned),
            "1",
            "agreement of clusters with the planted ones",
        ),
    ]
    for band in truth.get("bands", []):
        matches = [
            overlap(row.low_khz, row.high_khz, band["low_hz"] / 1e3, band["high_hz"] / 1e3)
            for row in cluster_bands.itertuples()
        ]
        name = f"{band['low_hz'] / 1e3:g}-{band['high_hz'] / 1e3:g} kHz"
        best = max(matches, default=0.0)
        rows.append(("band_iou", name, best, len(matches), "1", "best cluster's overlap with the planted band"))
    for kind, of in table.groupby("true_kind"):
        of_kind = {
            "in_cluster": of["cluster"] >= 0,
            "band_selective": of["q_band"] <= q,
            "vocally_modulated": of["q_vocal"] <= q,
        }
        for name, passed in of_kind.items():
            rows.append((f"share_{name}", f"{kind} units", float(passed.mean()), len(of), "1", f"q <= {q:g}"))
    found = table[table["true_kind"].eq("tuned") & (table["q_band"] <= q)]
    error_khz = (found["best_khz"] - found["true_best_hz"].astype(float) / 1e3).abs().median()
    rows.append(("median_peak_error", "tuned units found", error_khz, len(found), "kHz", "error of the best frequency"))
    error_ms = (found["lag_ms"] - found["true_lag_s"].astype(float) * 1e3).abs().median()
    rows.append(("median_lag_error", "tuned units found", error_ms, len(found), "ms", "error of the lag"))
    n_planted = len(truth.get("bands", []))
    rows.append(
        ("n_clusters", "", float(cluster_bands["cluster"].nunique()), n_planted, "1", "clusters found (n: planted)")
    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _ari(assigned: pd.DataFrame) -> float:
    """Units that were planted in no cluster count as clusters of their own, so that taking one in costs."""
    if not len(assigned):
        return float("nan")
    true = assigned["true_cluster"].to_numpy()
    true = np.where(true >= 0, true, true.max() + 1 + np.arange(len(true)))
    return float(adjusted_rand_score(true, assigned["cluster"]))


def print_recovery(table: pd.DataFrame, *, where: str | Path) -> None:
    """Print the table, and where it was written."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="Recovery of what was planted", caption=str(where))
    for name in ("metric", "of", "value", "n"):
        shown.add_column(name, justify="right" if name in ("value", "n") else "left")
    for row in table.itertuples():
        unit = "" if row.unit == "1" else f" {row.unit}"
        shown.add_row(row.metric, row.of, "-" if np.isnan(row.value) else f"{row.value:.3g}{unit}", str(row.n))
    Console().print(shown)
