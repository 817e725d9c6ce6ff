"""Duet's models on simulated sessions, from sound and spikes to tables: prediction beside the baselines, and recovery.

    python benchmarks/prediction.py [--seeds 5] [--gains 2 3] [--families mopoe] [--minutes 20] [--out TABLE.csv]

For every gain and seed one session (160 units: 80 tuned in 4 bands, 30 that fire to any vocalization, 50 unrelated) is
simulated with its sound in a temporary folder, and the whole workflow runs by default settings with one training of
each family. Prints, each as the mean over seeds with its standard error: bits/spike of the test blocks given the sound,
and in how many seeds a family is above every baseline; then, with the tables of each family alone, what they recover of
the plan, and in how many units the family's own map (`coupling`) is significant at p <= 0.05. `--out` keeps the figures
of each session as they come, and a call that finds it goes on from there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config import Mapping
from pipeline.evaluation.planted import read_truth
from pipeline.mapping.recovery import recovery
from pipeline.mapping.run import map_run
from pipeline.storage import read_table, write_table

REPOSITORY = Path(__file__).resolve().parents[1]
UNITS = {"units_per_band": 20, "n_vocal": 30, "n_unrelated": 50}
SHEET = "session\tsubject\taudio\tnwb\tsync\nmouse1\tmouse1\tdata/mouse1.wav\tdata/mouse1.nwb\tdata/mouse1_sync.csv\n"
BITS = "bits/spike given sound"
NOMINAL = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gains", type=float, nargs="+", default=[2.0, 3.0])
    parser.add_argument("--families", nargs="+", default=["mopoe"])
    parser.add_argument("--minutes", type=float, default=20, help="length of a session, min")
    parser.add_argument("--out", type=Path, help="table with one row a gain, seed and figure")
    args = parser.parse_args()
    rows = read_table(args.out) if args.out and args.out.exists() else pd.DataFrame(columns=["gain", "seed"])
    done = set(zip(rows["gain"], rows["seed"], strict=True))
    for seed in range(args.seeds):
        for gain in args.gains:
            if (gain, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as folder:
                run(Path(folder), seed=seed, families=args.families, gain=gain, duration_s=60 * args.minutes, **UNITS)
                maps = [mapped(Path(folder), family, seed=seed) for family in args.families]
                found = pd.concat([prediction(Path(folder)), *maps])
            rows = pd.concat([rows, found.assign(gain=gain, seed=seed)], ignore_index=True)
            if args.out:
                write_table(rows, args.out)
    report(rows)


def run(folder: Path, *, seed: int, families: list[str], **simulation) -> None:
    """The whole workflow on one simulated session, in `folder`, by default settings but for those of `simulation`."""
    (folder / "sessions.tsv").write_text(SHEET)
    settings = {
        "sessions": "sessions.tsv",
        "seed": seed,
        "simulation": {"out_dir": "data", "n_sessions": 1, **simulation},
        "models": {"families": families, "seeds": [seed]},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    command += ["--configfile", folder / "config.json", "--cores", "1", "--quiet", "all"]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def prediction(folder: Path) -> pd.DataFrame:
    """bits/spike of the test blocks given the sound, one row an objective (metric, of, value)."""
    metrics = pd.concat([pd.read_parquet(path) for path in folder.glob("results/models/**/metrics.parquet")])
    metrics = metrics.query("split == 'test' and target == 'neural' and given == 'audio' and unit_id == ''")
    metrics = metrics[metrics["metric"] == "bits_per_spike"]
    return metrics.assign(metric=BITS, family="").rename(columns={"objective": "of"})[
        ["metric", "of", "value", "family"]
    ]


def mapped(folder: Path, family: str, *, seed: int) -> pd.DataFrame:
    """What the tables of one family recover, and how often its coupling is significant in units of each kind."""
    models = sorted(folder.glob(f"results/models/{family}-k*/**/model.pt"))
    of_session, tables, mapping = folder / "results/prepared/mouse1", folder / f"tables_{family}", Mapping()
    map_run(
        sheet=folder / "sessions.tsv",
        models=models,
        latents=[path.with_name("latents.parquet") for path in models],
        metrics=[
            *(path.with_name("metrics.parquet") for path in models),
            folder / "results/models/baselines/metrics.parquet",
        ],
        clips=[of_session / "clips.nc"],
        tunings=[of_session / "tuning.nc"],
        units=[of_session / "units.parquet"],
        out_dir=tables,
        n_bootstrap=mapping.n_bootstrap,
        n_consensus=mapping.n_consensus,
        n_surrogates=mapping.n_surrogates_fine,
        max_clusters=mapping.max_clusters,
        min_units=mapping.min_cluster_units,
        max_lag_s=mapping.max_lag_s,
        q=mapping.q,
        seed=seed,
    )
    clusters, bands, coupling = (
        read_table(tables / f"{name}.parquet") for name in ("unit_clusters", "cluster_bands", "coupling")
    )
    truth = read_truth(folder / "data/truth.json")
    scores = recovery(truth, clusters, bands, q=mapping.q)
    scores["metric"] = scores["metric"] + " (" + scores["unit"] + ")"
    coupling = coupling.drop_duplicates("unit_id")
    kind = coupling["unit_id"].map({unit: one["kind"] for unit, one in truth["sessions"]["mouse1"]["units"].items()})
    share = (coupling["p"] <= NOMINAL).groupby(kind).mean()
    own = [("coupling, p <= 0.05 (1)", f"{kind} units", value) for kind, value in share.items()]
    own = pd.DataFrame(own, columns=["metric", "of", "value"])
    return pd.concat([scores[["metric", "of", "value"]], own]).assign(family=family)


def report(rows: pd.DataFrame) -> None:
    rows = rows.assign(value=pd.to_numeric(rows["value"], errors="coerce"))
    gains = sorted(rows["gain"].unique())
    columns = [f"gain {gain:g} ({rows[rows['gain'] == gain]['seed'].nunique()} seeds)" for gain in gains]
    print("\n| family | | | " + " | ".join(columns) + " |\n|---|---|---|" + "---|" * len(columns))
    for (family, metric, of), own in rows.fillna({"family": ""}).groupby(["family", "metric", "of"], sort=False):
        cells = []
        for gain in gains:
            values = own[own["gain"] == gain]["value"].dropna()
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            cells.append(f"{values.mean():.3f} ± {error:.3f}")
        print(f"| {family} | {metric} | {of} | " + " | ".join(cells) + " |")
    bits = rows[rows["metric"] == BITS].pivot(index=["gain", "seed"], columns="of", values="value")
    simple = bits.columns.str.startswith("baseline:")
    for name in bits.columns[~simple]:
        above = bits[name] > bits.loc[:, simple].max(axis=1)
        cells = [f"{above[gain].sum()} of {len(above[gain])}" for gain in gains]
        print(f"| {name} | seeds above every baseline | | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
