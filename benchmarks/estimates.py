"""What `duet check` expects of a run beside what a finished run took.

    python benchmarks/estimates.py --sheet SHEET --results DIR [--config FILE]

Reads the sheet's headers, the run times that the workflow recorded (DIR/benchmarks) and the prepared files, and prints
a table in Markdown. The number of clips is that of the finished run, since headers do not tell when an animal called.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import h5py
import pandas as pd

from pipeline.check import check_sheet, size_of
from pipeline.config_file import load_config
from pipeline.estimate import cost_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sheet", required=True, help="sessions sheet of the run")
    parser.add_argument("--results", type=Path, required=True, help="folder of its results")
    parser.add_argument("--config", help="configuration of the run (default: the defaults)")
    args = parser.parse_args()
    config = load_config(args.config)
    reports, _ = check_sheet(args.sheet, config)
    prepared = args.results / "prepared"
    sizes = []
    for report in reports:
        with h5py.File(prepared / report.session.name / "clips.nc") as clips:
            sizes.append(replace(size_of(report, config), n_clips=len(clips["start_s"])))
    runs = {path: pd.read_csv(path, sep="\t") for path in (args.results / "benchmarks").rglob("*.tsv")}
    n_models = sum(path.parent.name == "train" for path in runs)
    settings = {"n_epochs": config.training.max_epochs, "n_samples": config.evaluation.n_samples}
    expected = cost_of(sizes, n_models=n_models, **settings)
    print("| step | expected core s | took core s | ratio |\n|---|---|---|---|")
    for step, expected_s in expected.seconds.items():
        names = {step, "embed"} if step == "evaluate" else {step}
        took_s = sum(
            run["cpu_time"].sum()
            for path, run in runs.items()
            if names & {path.stem if path.parent.name == "benchmarks" else path.parent.name}
        )
        print(f"| {step} | {expected_s:.0f} | {took_s:.0f} | {ratio(expected_s, took_s)} |")
    took_s = sum(run["cpu_time"].sum() for run in runs.values())
    print(f"| all | {expected.total_s:.0f} | {took_s:.0f} | {ratio(expected.total_s, took_s)} |")
    held = max(run["max_rss"].max() for run in runs.values()) * 1024**2
    print(
        f"| memory, GB | {expected.memory_bytes / 1e9:.2f} | {held / 1e9:.2f} | {ratio(expected.memory_bytes, held)} |"
    )
    files = ("spectrogram.nc", "counts.nc", "clips.nc")
    disk = sum((prepared / report.session.name / name).stat().st_size for report in reports for name in files)
    print(f"| disk, GB | {expected.disk_bytes / 1e9:.2f} | {disk / 1e9:.2f} | {ratio(expected.disk_bytes, disk)} |")


def ratio(expected: float, took: float) -> str:
    return f"{expected / took:.2f}" if took else "-"


if __name__ == "__main__":
    main()
