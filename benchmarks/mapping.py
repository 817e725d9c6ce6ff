"""Time and memory of `duet tune` and `duet map`: an hour of song, 500 units and three seeds of a model, on one core.

    python benchmarks/mapping.py [--minutes 60] [--seeds 3] [--folder DIR]

Simulates and prepares a session as benchmarks/preparation.py does, in a temporary folder (in 60 min: 1.8 GB of sound);
sound is heard in a sixth of the time. Between the two steps it trains, embeds and evaluates one small model a seed
for a few epochs: how good it is does not matter to the time. Surrogates, bootstrap draws and consensus draws are the
configuration's defaults. Each step is a process with one thread. Prints a table in Markdown.
"""

import argparse
import json
import sys
import tempfile
from itertools import chain
from pathlib import Path

from measuring import Use, measured
from preparation import prepared

MADE = {"models": "model.pt", "latents": "latents.parquet", "metrics": "metrics.parquet"}
FAMILY, LATENT_DIM, N_EPOCHS = "mopoe", 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="length of the recording, min")
    parser.add_argument("--seeds", type=int, default=3, help="models that are mapped")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        prepared(Path(folder), 60 * args.minutes)
        uses = mapped(Path(folder), args.seeds)
    uses["both"] = Use(*map(sum, zip(*uses.values(), strict=True)))._replace(
        peak_mb=max(u.peak_mb for u in uses.values())
    )
    print(f"{args.minutes:g} min, 500 units, {args.seeds} seeds\n")
    print("| step | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for step, use in uses.items():
        print(f"| {step} | {use.wall_s:.1f} | {use.cpu_s:.1f} | {use.peak_mb:.0f} |")


def mapped(folder: Path, n_seeds: int) -> dict[str, Use]:
    """What the two steps took on a prepared session."""
    duet = [sys.executable, "-m", "pipeline"]
    sheet, clips = ["--sheet", folder / "sessions.tsv"], ["--clips", folder / "clips.nc"]
    units = ["--units", folder / "units.parquet"]
    sounds = ["--spectrogram", folder / "spectrogram.nc", "--calls", folder / "calls.parquet"]
    session = ["--session", "mouse1", *sounds, "--counts", folder / "counts.nc", *units]
    tune = measured([*duet, "tune", *sheet, *clips, *session, "--out", folder / "tuning.nc"])
    models = [_trained(folder / f"seed{seed}", clips, seed) for seed in range(n_seeds)]
    made = [[f"--{name}", *(model / file for model in models)] for name, file in MADE.items()]
    tables = ["--tunings", folder / "tuning.nc", "--out-dir", folder / "tables"]
    return {"tune": tune, "map": measured([*duet, "map", *sheet, *clips, *units, *tables, *chain(*made)])}


def _trained(folder: Path, clips: list, seed: int) -> Path:
    """`folder` with the model of a seed, its latents and its metrics."""
    folder.mkdir()
    model, few = ["--model", folder / "model.pt"], {"training": {"max_epochs": N_EPOCHS}}
    of = ["--family", FAMILY, "--latent-dim", LATENT_DIM, "--seed", seed, "--config", json.dumps(few)]
    kept = ["--history", folder / "history.csv", "--checkpoint", folder / "checkpoint.pt"]
    shown = ["--traversal-out", folder / "traversal.nc", "--examples-out", folder / "examples.nc"]
    for step in (
        ["train", *clips, *of, "--out", folder / "model.pt", *kept],
        ["embed", *clips, *model, "--out", folder / "latents.parquet"],
        ["evaluate", *clips, *model, "--out", folder / "metrics.parquet", *shown],
    ):
        measured([sys.executable, "-m", "pipeline", *map(str, step)])
    return folder


if __name__ == "__main__":
    main()
