"""What sound tells of held-out spikes: Duet's models beside the baselines, over seeds and gains of a simulation.

    python benchmarks/prediction.py [--seeds 5] [--gains 2 3] [--families mopoe] [--minutes 20] [--out TABLE.csv]

For every gain and seed one session (160 units: 80 tuned in 4 bands, 30 that fire to any vocalization, 50 unrelated) is
simulated with its sound in a temporary folder, and the workflow runs up to the metrics by default settings, one
training a family. Prints bits/spike of the test blocks given the sound (mean over seeds, standard error over seeds),
and in how many seeds a family is above every baseline. `--out` keeps the metrics of each as they come, and a call
that finds it goes on from there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.storage import read_table, write_table

REPOSITORY = Path(__file__).resolve().parents[1]
UNITS = {"units_per_band": 20, "n_vocal": 30, "n_unrelated": 50}
SHEET = "session\tsubject\taudio\tnwb\tsync\nmouse1\tmouse1\tdata/mouse1.wav\tdata/mouse1.nwb\tdata/mouse1_sync.csv\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gains", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--families", nargs="+", default=["mopoe"])
    parser.add_argument("--minutes", type=float, default=20, help="length of a session, min")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--out", type=Path, help="table with one row a gain, seed and objective")
    args = parser.parse_args()
    rows = read_table(args.out) if args.out and args.out.exists() else pd.DataFrame(columns=["gain", "seed"])
    done = set(zip(rows["gain"], rows["seed"], strict=True))
    for seed in range(args.seeds):
        for gain in args.gains:
            if (gain, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                found = predicted(Path(folder), gain, seed, 60 * args.minutes, args.families, args.cores)
            rows = pd.concat([rows, found.assign(gain=gain, seed=seed)], ignore_index=True)
            if args.out:
                write_table(rows, args.out)
    report(rows)


def predicted(folder: Path, gain: float, seed: int, duration_s: float, families: list[str], cores: int) -> pd.DataFrame:
    """bits/spike of spikes given sound on the test blocks, one row an objective (bits, se), of one session."""
    (folder / "sessions.tsv").write_text(SHEET)
    settings = {
        "sessions": "sessions.tsv",
        "seed": seed,
        "simulation": {"out_dir": "data", "n_sessions": 1, "duration_s": duration_s, "gain": gain, **UNITS},
        "models": {"families": families, "latent_dims": [32], "seeds": [seed]},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    models = [f"results/models/{family}-k32/seed{seed}/metrics.parquet" for family in families]
    tables = [*models, "results/models/baselines/metrics.parquet"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    command += ["--configfile", folder / "config.json", "--cores", str(cores), "--quiet", "all", "--", *tables]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    metrics = pd.concat([pd.read_parquet(folder / table) for table in tables])
    chosen = metrics.query("split == 'test' and target == 'neural' and given == 'audio' and unit_id == ''")
    chosen = chosen[chosen["metric"] == "bits_per_spike"]
    return chosen[["objective", "value", "se"]].rename(columns={"value": "bits", "se": "bits_se"})


def report(rows: pd.DataFrame) -> None:
    rows = rows.assign(is_baseline=rows["objective"].str.startswith("baseline:"))
    gains = sorted(rows["gain"].unique())
    columns = [f"gain {gain:g} ({rows[rows['gain'] == gain]['seed'].nunique()} seeds)" for gain in gains]
    print("\n| given sound, bits/spike | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name, own in rows.sort_values("is_baseline").groupby("objective", sort=False):
        cells = []
        for gain in gains:
            values = own[own["gain"] == gain]["bits"]
            cells.append(f"{values.mean():+.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}")
        print(f"| {name.removeprefix('baseline:')} | " + " | ".join(cells) + " |")
    best = rows[rows["is_baseline"]].groupby(["gain", "seed"])["bits"].max()
    for name, own in rows[~rows["is_baseline"]].groupby("objective", sort=False):
        above = own.set_index(["gain", "seed"])["bits"] > best
        cells = [f"{above[gain].sum()} of {len(above[gain])}" for gain in gains]
        print(f"| seeds in which {name} is above every baseline | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
