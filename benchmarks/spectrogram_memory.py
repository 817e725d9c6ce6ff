"""Peak memory and time of `duet spectrogram` for a short and a long recording: memory must not grow with length.

    python benchmarks/spectrogram_memory.py [--minutes 10 60] [--folder DIR]

Makes white noise at 250 kHz in a temporary folder (60 min: 1.8 GB, and 1.4 GB of spectrogram), runs the step on
each as a subprocess and prints a table in Markdown.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 250_000
# Measures one child: ru_maxrss of children is the largest of all that ended so far, hence a process of its own.
MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
wall_s, cpu_s = time.perf_counter() - start, used.ru_utime + used.ru_stime
print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "peak": used.ru_maxrss}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs=2, default=[10, 60], help="lengths of the recordings, min")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for minutes in args.minutes:
            rows.append((minutes, measured(Path(folder), minutes)))
    print("| recording | peak memory MB | wall s | CPU s | times real time |")
    print("|---|---|---|---|---|")
    for minutes, use in rows:
        speed = minutes * 60 / use["wall_s"]
        print(f"| {minutes:g} min | {use['peak_mb']:.0f} | {use['wall_s']:.1f} | {use['cpu_s']:.1f} | {speed:.0f} |")
    print(f"| ratio | {rows[1][1]['peak_mb'] / rows[0][1]['peak_mb']:.3f} | | | |")


def measured(folder: Path, minutes: float) -> dict:
    """Peak memory (MB) and time (s) of the step on noise of a length; its files are removed."""
    write_noise(folder / "noise.wav", minutes)
    sheet = folder / "sessions.tsv"
    sheet.write_text("session\tsubject\taudio\tnwb\tsync\tannotations\tcondition\nnoise\tnone\tnoise.wav\t\t\t\t\n")
    step = [sys.executable, "-m", "pipeline", "spectrogram", "--sheet", sheet, "--session", "noise"]
    command = [*step, "--out", folder / "spectrogram.nc"]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, capture_output=True, text=True)
    use = json.loads(done.stdout)
    # Linux counts in KiB, macOS in bytes.
    use["peak_mb"] = use["peak"] * (1 if sys.platform == "darwin" else 1024) / 1e6
    for name in ("noise.wav", "spectrogram.nc"):
        (folder / name).unlink()
    return use


def write_noise(path: Path, minutes: float) -> None:
    """White noise, 16 bit, one second repeated: what matters here is its length."""
    second = (300 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for _ in range(round(minutes * 60)):
            file.write(second)


if __name__ == "__main__":
    main()
