"""Holds the results of the demo to their targets: what was planted must be found.

python tests/demo.py [FOLDER]       FOLDER: the working directory of the run (default: the repository)
"""

import json
import sys
from pathlib import Path

import pandas as pd

MEASURE = "metric == 'bits_per_spike' and split == 'test' and target == 'neural' and given == 'audio' and unit_id != ''"


def main(folder: Path) -> int:
    recovery = pd.read_csv(folder / "results" / "tables" / "recovery.csv").set_index(["metric", "of"])["value"]
    lines = [
        ("cluster ARI over assigned units", recovery["cluster_ari", "assigned units"], ">=", 0.9),
        *((f"overlap with the band {of}", value, ">=", 0.7) for of, value in recovery["band_iou"].items()),
        ("unrelated units in a cluster", recovery["share_in_cluster", "unrelated units"], "<=", 0.05),
        ("median peak error, kHz", recovery["median_peak_error", "tuned units found"], "<=", 1.5),
        ("bits/spike over planted units, beside the best baseline", *prediction(folder)),
    ]
    failed = 0
    for name, value, relation, target in lines:
        met = value >= target if relation == ">=" else value <= target  # NaN meets nothing
        failed += not met
        print(f"{'met   ' if met else 'MISSED'} {name}: {value:.3f} {relation} {target:.3f}")
    return 1 if failed else 0


def prediction(folder: Path) -> tuple[float, str, float]:
    """Mean bits/spike of the primary model over the units that hear calls, and that of the best baseline."""
    truth = json.loads((folder / "data" / "demo" / "truth.json").read_text(encoding="utf-8"))
    planted = [
        name
        for session in truth["sessions"].values()
        for name, unit in session["units"].items()
        if unit["kind"] != "unrelated"
    ]
    primary = json.loads((folder / "results" / "tables" / "summary.json").read_text(encoding="utf-8"))["primary"]
    metrics = pd.concat([pd.read_parquet(path) for path in folder.glob("results/models/**/metrics.parquet")])
    metrics = metrics.query(MEASURE)
    metrics = metrics[metrics["unit_id"].isin(planted)]
    model = metrics["objective"].eq(primary["family"]) & metrics["latent_dim"].eq(primary["latent_dim"])
    baselines = metrics[metrics["objective"].str.startswith("baseline:")]
    return metrics.loc[model, "value"].mean(), ">=", baselines.groupby("objective")["value"].mean().max()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])))
