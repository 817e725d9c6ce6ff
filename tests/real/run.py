"""Runs the whole workflow on real recordings, by configuration alone, and holds the results to their targets.

    python tests/real/run.py [ferret] [unsynced] [usv] [null]

Writes under results/real. The recordings are not part of the repository: DUET_REAL_DATA names their folder
(default: ../shared/data beside the repository); without it nothing runs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

REPOSITORY = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DUET_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
RESULTS = REPOSITORY / "results" / "real"
FERRET = RESULTS / "ferret_recording"


@dataclass(frozen=True)
class Run:
    """A row of the sheet, the configuration, and what the results must show."""

    config: str
    row: dict[str, str]
    check: Callable[[Path], list[str]]
    before: Callable[[], None] | None = None


def main(names: list[str]) -> int:
    if not DATA.is_dir():
        print(f"skipped: no recordings in {DATA} (set DUET_REAL_DATA to the folder that holds them)")
        return 0
    unknown = set(names) - set(RUNS)
    if unknown:
        print(f"no such run: {', '.join(sorted(unknown))}; there are {', '.join(RUNS)}", file=sys.stderr)
        return 2
    failures = []
    for name in names or RUNS:
        run = RUNS[name]
        started = time.perf_counter()
        if run.before:
            run.before()
        folder = RESULTS / name
        problems = run.check(folder / "results") if workflow(folder, run) else [f"{name}: the workflow failed"]
        print(f"{name}: {time.perf_counter() - started:.0f} s; {'; '.join(problems) or 'targets met'}", flush=True)
        failures += problems
    return 1 if failures else 0


def workflow(folder: Path, run: Run) -> bool:
    """Run the workflow in a folder of its own; returns whether it ended well."""
    folder.mkdir(parents=True, exist_ok=True)
    sheet = "\t".join(run.row) + "\n" + "\t".join(run.row.values()) + "\n"
    if not (folder / "sessions.tsv").is_file() or (folder / "sessions.tsv").read_text(encoding="utf-8") != sheet:
        (folder / "sessions.tsv").write_text(sheet, encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    command += ["--configfile", REPOSITORY / "tests" / "real" / run.config, "--cores", "2", "--rerun-incomplete"]
    command += ["--quiet", "rules", "reason", "host"]
    return subprocess.run([str(part) for part in command]).returncode == 0


def build_ferret() -> None:
    """Lay four repeats of the recordings out as one continuous session, once."""
    if not (FERRET / "ferret_sync.csv").is_file():
        script = DATA / "build_ferret_session.py"
        subprocess.run([sys.executable, str(script), str(FERRET), "--repeats", "4"], check=True)


def per_unit(results: Path, objective: str) -> pd.Series:
    """bits/spike of sound -> spikes on the test blocks, one a unit, mean over seeds."""
    metrics = pd.concat([pd.read_parquet(path) for path in results.glob("models/**/metrics.parquet")])
    chosen = metrics.query("metric == 'bits_per_spike' and split == 'test' and target == 'neural' and given == 'audio'")
    chosen = chosen[(chosen["objective"] == objective) & (chosen["unit_id"] != "")]
    return chosen.groupby("unit_id")["value"].mean()


def check_ferret(results: Path) -> list[str]:
    model, ridge = per_unit(results, "mopoe"), per_unit(results, "baseline:ridge")
    print(f"  mopoe:  mean {model.mean():+.3f} bits/spike, {(model > 0).sum()} of {len(model)} units above 0")
    print(f"  ridge: mean {ridge.mean():+.3f} bits/spike, {(ridge > 0).sum()} of {len(ridge)} units above 0")
    problems = []
    if len(model) != 19 or (model > 0).sum() < 17:
        problems.append(f"{(model > 0).sum()} of {len(model)} units above 0 bits/spike, not 17 of 19")
    if model.mean() < 0.15:
        problems.append(f"mean {model.mean():.3f} bits/spike, not 0.15")
    if ridge.empty:
        problems.append("no ridge to stand beside")
    units = pd.read_parquet(results / "tables" / "unit_clusters.parquet")
    selective = (units["q_band"] <= 0.05).sum()
    with xr.open_dataset(results / "prepared" / "ferret" / "tuning.nc") as tuning:
        null = tuning.attrs["null_band"]
    print(f"  {selective} of {len(units)} units prefer some frequencies, against {null}")
    if selective < 15 or not null.startswith("the presentations in other orders"):
        problems.append(f"{selective} selective units, not 15 of 19, against {null}")
    return problems


def check_unsynced(results: Path) -> list[str]:
    synced = per_unit(RESULTS / "ferret" / "results", "mopoe").mean()
    unsynced = per_unit(results, "mopoe").mean()
    print(f"  mopoe without the sync table: mean {unsynced:+.3f} bits/spike ({unsynced / synced:.0%} of {synced:+.3f})")
    return [] if unsynced <= 0.1 * synced else [f"{unsynced:.3f} bits/spike, more than 10 % of {synced:.3f}"]


def check_usv(results: Path) -> list[str]:
    calls = pd.read_parquet(results / "prepared" / "usv" / "calls.parquet")
    print(f"  {len(calls)} calls (people marked 128), {calls['duration_s'].median() * 1e3:.0f} ms in the median")
    print(
        f"  mean frequency {calls['mean_hz'].quantile(0.05) / 1e3:.0f}-{calls['mean_hz'].quantile(0.95) / 1e3:.0f} kHz"
    )
    problems = [] if 110 <= len(calls) <= 150 else [f"{len(calls)} calls, not about 128"]
    features = ["peak_hz", "bandwidth_hz", "slope_hz_s", "level_db", "entropy"]
    problems += [f"calls without {name}" for name in features if calls[name].isna().mean() > 0.05]
    written = ["prepared/usv/spectrogram.nc", "report.html"]
    return problems + [f"{name} is missing" for name in written if not (results / name).is_file()]


def check_null(results: Path) -> list[str]:
    bands = pd.read_parquet(results / "tables" / "cluster_bands.parquet")
    summary = json.loads((results / "tables" / "summary.json").read_text(encoding="utf-8"))
    print("  " + "\n  ".join(summary["headlines"]))
    problems = ["a cluster with q <= 0.05"] if (bands["q"] <= 0.05).any() else []
    first_screen = (results / "report.html").read_text(encoding="utf-8").split('id="answer"')[1].split("</section>")[0]
    if not any(words in first_screen for words in ("Nothing to see", "no cluster of units holds up")):
        problems.append("the report's first screen does not say that there is nothing to see")
    return problems


def sheet_row(session: str, **files: Path | str) -> dict[str, str]:
    return {"session": session, "subject": session} | {column: str(path) for column, path in files.items()}


AMVOC = DATA / "usv" / "amvoc" / "rec_*.wav"
FERRET_FILES = {"audio": FERRET / "ferret.wav", "nwb": FERRET / "ferret.nwb"}
RUNS = {
    "ferret": Run(
        config="ferret.yaml",
        row=sheet_row(
            "ferret",
            **FERRET_FILES,
            sync=FERRET / "ferret_sync.csv",
            annotations=f"{FERRET / 'ferret.nwb'}:/intervals/trials",
        ),
        check=check_ferret,
        before=build_ferret,
    ),
    "unsynced": Run(
        config="ferret.yaml",
        row=sheet_row("ferret", **FERRET_FILES),
        check=check_unsynced,
        before=build_ferret,
    ),
    "usv": Run(config="usv.yaml", row=sheet_row("usv", audio=AMVOC), check=check_usv),
    "null": Run(
        config="null.yaml",
        row=sheet_row("null", audio=AMVOC, nwb=DATA / "nwb" / "A8604-211122.nwb"),
        check=check_null,
    ),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
