"""False positives of the p values that need a model, where there is nothing to find.

    python benchmarks/latent_calibration.py [--seeds 5] [--scenarios any_call fading_song] [--family mopoe]
        [--minutes 20] [--out TABLE.csv]

For every scenario and seed one session of 160 units is simulated with its sound in a temporary folder, and the whole
workflow runs by default settings with one training. `any_call`: all units fire to any vocalization, none to bands;
`fading_song`: no unit follows the song, which fades while rates drift. Prints the share of p <= 0.05 of units in
`coupling`, of active latents in `latent_bands`, of latents and units in `latent_units` (not for `any_call`, where these
links are real), mean over sessions with its standard error; and how many sessions hold anything at q <= 0.05. `--out`
keeps the figures of each session as they come, and a call that finds it goes on from there.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import NOMINAL, share
from prediction import run

from pipeline.config import Mapping
from pipeline.storage import read_table, write_table

UNITS = {"units_per_band": 20, "n_vocal": 40, "n_unrelated": 40}
SCENARIOS = {
    "any_call": {"scenario": "vocal_only"},
    "fading_song": {"scenario": "drift_and_habituation", "habituation": 6.0},
}
TRUE_LINKS = ("any_call", "latent_units")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--family", default="mopoe")
    parser.add_argument("--minutes", type=float, default=20, help="length of a session, min")
    parser.add_argument("--out", type=Path, help="table with one row a session and kind of p")
    args = parser.parse_args()
    rows = read_table(args.out) if args.out and args.out.exists() else pd.DataFrame(columns=["scenario", "seed"])
    done = set(zip(rows["scenario"], rows["seed"], strict=True))
    for seed in range(args.seeds):
        for scenario in args.scenarios:
            if (scenario, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                changes = SCENARIOS[scenario] | {"duration_s": 60 * args.minutes} | UNITS
                run(Path(folder), seed=seed, families=[args.family], **changes)
                found = pd.DataFrame(false_positives(Path(folder) / "results/tables"))
            rows = pd.concat([rows, found.assign(scenario=scenario, seed=seed)], ignore_index=True)
            if args.out:
                write_table(rows, args.out)
    report(rows)


def false_positives(tables: Path) -> list[dict]:
    """Share of p <= 0.05 in each table of a finished run, and whether it holds anything at q <= 0.05."""
    of_units = read_table(tables / "coupling.parquet").drop_duplicates("unit_id")
    of_bands = read_table(tables / "latent_bands.parquet").query("run == 0")  # later runs are there by their p
    found = {
        "coupling": of_units,
        "latent_bands": of_bands,
        "latent_units": read_table(tables / "latent_units.parquet"),
    }
    q = Mapping().q
    return [
        {"table": name, "share": share(table["p"]), "any": (table["q"] <= q).any(), "n": table["p"].notna().sum()}
        for name, table in found.items()
    ]


def report(rows: pd.DataFrame) -> None:
    print(f"\n| scenario | p of | tests a session | p <= {NOMINAL:g}, % | sessions with q <= {Mapping().q:g} |")
    print("|---|---|---|---|---|")
    for (scenario, table), own in rows.groupby(["scenario", "table"], sort=False):
        if (scenario, table) == TRUE_LINKS:
            continue
        percent = 100 * own["share"].astype(float)
        shown = f"{percent.mean():.1f} ± {percent.std(ddof=1) / np.sqrt(len(percent)):.1f}"
        print(f"| {scenario} | {table} | {own['n'].mean():.0f} | {shown} | {own['any'].sum()} of {len(own)} |")


if __name__ == "__main__":
    main()
