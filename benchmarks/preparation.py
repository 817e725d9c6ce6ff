"""Sessions prepared end to end on one core: spectrogram, calls, counts and clips of an hour of song and 500 units.

    python benchmarks/preparation.py [--minutes 60] [--folder DIR]

Simulates a session (250 kHz; in 60 min: 1.8 GB of sound) in a temporary folder, runs the four steps one after the
other, each a process with one thread, and prints a table in Markdown. Calls fill about a sixth of the recording.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from measuring import Use, measured

UNITS = {"units_per_band": 75, "n_vocal": 100, "n_unrelated": 100}  # 500 with four bands


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="length of the recording, min")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    args = parser.parse_args()
    duration_s = 60 * args.minutes
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        uses = prepared(Path(folder), duration_s)
        calls = pd.read_parquet(Path(folder) / "calls.parquet")
    share = (calls["stop_s"] - calls["start_s"]).sum() / duration_s
    print(f"{args.minutes:g} min, 500 units, {len(calls)} calls in {share:.0%} of the time\n")
    print("| step | wall s | times real time | peak memory, MB |\n|---|---|---|---|")
    for step, use in uses.items():
        print(f"| {step} | {use.wall_s:.1f} | {duration_s / use.wall_s:.0f} | {use.peak_mb:.0f} |")
    total_s, peak_mb = sum(use.wall_s for use in uses.values()), max(use.peak_mb for use in uses.values())
    print(f"| all | {total_s:.1f} | {duration_s / total_s:.0f} | {peak_mb:.0f} |")


def prepared(folder: Path, duration_s: float) -> dict[str, Use]:
    """Prepare a simulated session in `folder` (its sheet: sessions.tsv); what each step took."""
    settings = {"simulation": {"out_dir": str(folder), "n_sessions": 1, "duration_s": duration_s, **UNITS}}
    duet = [sys.executable, "-m", "pipeline"]
    subprocess.run(
        [*duet, "simulate", "--config", json.dumps(settings), "--out-dir", folder], check=True, capture_output=True
    )
    sheet = folder / "sessions.tsv"
    sheet.write_text("session\tsubject\taudio\tnwb\tsync\nmouse1\tm\tmouse1.wav\tmouse1.nwb\tmouse1_sync.csv\n")
    of = ["--sheet", sheet, "--session", "mouse1"]
    sound = ["--spectrogram", folder / "spectrogram.nc"]
    calls, counts = ["--calls", folder / "calls.parquet"], ["--counts", folder / "counts.nc"]
    steps = {
        "spectrogram": ["--out", folder / "spectrogram.nc"],
        "calls": [*sound, "--out", folder / "calls.parquet"],
        "bin": [*sound, "--out", folder / "counts.nc", "--units-out", folder / "units.parquet"],
        "clips": [*sound, *calls, *counts, "--out", folder / "clips.nc"],
    }
    return {step: measured([*duet, step, *of, *out]) for step, out in steps.items()}


if __name__ == "__main__":
    main()
