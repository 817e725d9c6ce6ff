"""Speed and memory of the spectrogram beside peers that do the same, measured in one run on one core.

    python benchmarks/spectrogram.py [--minutes 10] [--long-minutes 60] [--repeats 3] [--folder DIR]

The task: the log power between 30 and 125 kHz of a 16-bit recording at 250 kHz, window 1024, hop 512. Each row runs in
a process of its own with one thread, on a file that was read before; time is the best of the repeats (those that hold
the whole recording in memory run once), memory the peak above what the imports take. "floor" is reading the samples
and transforming as many frames, nothing else: no program can be faster with that transform. The streaming rows let
go of each block, so that they compare with each other; "Duet, whole step" writes the file, marks bad stretches and
finds the noise floor. Ratios are of wall times; where CPU times are far below those, the machine was busy. Two
processes work on a file each, started together. Temporary files (10 min: 600 MB of sound and 230 MB of spectrogram;
60 min: six times that) are removed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATE_HZ, WINDOW, HOP, LOW_HZ, HIGH_HZ = 250_000, 1024, 512, 30_000, 125_000
BLOCK = 256  # frames
FIRST_BIN = -(-LOW_HZ * WINDOW // RATE_HZ)
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
START_S = 20.0  # by then two processes have imported everything


def duet(path: str):
    from pipeline.audio.recording import open_recording
    from pipeline.audio.spectrogram import BandPower

    band = {"low_hz": LOW_HZ, "high_hz": HIGH_HZ, "hop_s": HOP / RATE_HZ, "window_s": WINDOW / RATE_HZ}

    def run():
        recording = open_recording([path], series=None, channel=0)
        for _ in BandPower(recording, scale="linear", n_bands=None, **band).blocks():
            pass

    return run


def duet_step(path: str):
    from pipeline.audio.recording import open_recording
    from pipeline.audio.spectrogram import compute_spectrogram

    band = {"low_hz": LOW_HZ, "high_hz": HIGH_HZ, "hop_s": HOP / RATE_HZ, "window_s": WINDOW / RATE_HZ}

    def run():
        out = Path(path).with_suffix(".nc")
        out.unlink(missing_ok=True)
        recording = open_recording([path], series=None, channel=0)
        compute_spectrogram(recording, out, scale="linear", n_bands=None, **band)

    return run


def floor_scipy(path: str):
    import numpy as np
    import scipy.fft

    frames = np.random.default_rng(0).standard_normal((BLOCK, WINDOW)).astype(np.float32)
    return lambda: read_and(path, lambda: scipy.fft.rfft(frames, axis=1, workers=1))


def floor_mkl(path: str):
    import torch

    frames = torch.randn(BLOCK, WINDOW)
    out = torch.empty(BLOCK, WINDOW // 2 + 1, dtype=torch.complex64)
    return lambda: read_and(path, lambda: torch.fft.rfft(frames, dim=1, out=out))


def read_and(path: str, transform) -> None:
    """Read a block of int16 and transform as many frames as it holds, over the whole file."""
    import numpy as np
    import soundfile

    samples = np.empty(BLOCK * HOP, np.int16)
    with soundfile.SoundFile(path) as file:
        while len(file.read(out=samples)) == len(samples):
            transform()


def librosa_stream(path: str):
    import librosa
    import numpy as np

    def run():
        blocks = librosa.stream(path, block_length=BLOCK, frame_length=WINDOW, hop_length=HOP, dtype=np.float32)
        for samples in blocks:
            spectrum = librosa.stft(samples, n_fft=WINDOW, hop_length=HOP, center=False)
            librosa.power_to_db(np.abs(spectrum[FIRST_BIN:]) ** 2, top_db=None)

    return run


def librosa_whole(path: str):
    import librosa
    import numpy as np

    def run():
        samples, _ = librosa.load(path, sr=None)
        spectrum = librosa.stft(samples, n_fft=WINDOW, hop_length=HOP, center=False)
        librosa.power_to_db(np.abs(spectrum[FIRST_BIN:]) ** 2, top_db=None)

    return run


def scipy_whole(path: str):
    import numpy as np
    import soundfile
    from scipy import signal

    def run():
        samples, rate_hz = soundfile.read(path)
        _, _, spectrum = signal.stft(samples, rate_hz, nperseg=WINDOW, noverlap=WINDOW - HOP)
        np.log10(np.abs(spectrum[FIRST_BIN:]) ** 2 + 1e-12)

    return run


TASKS = {
    "floor: read + bare rFFT (MKL)": floor_mkl,
    "floor: read + bare rFFT (scipy.fft)": floor_scipy,
    "Duet, transform": duet,
    "Duet, whole step": duet_step,
    "librosa.stream": librosa_stream,
    "librosa, whole file": librosa_whole,
    "scipy.signal.stft, whole file": scipy_whole,
}
ONCE = ("librosa, whole file", "scipy.signal.stft, whole file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="length of the recording, min")
    parser.add_argument("--long-minutes", type=float, default=60, help="of the one that shows memory, min (0: none)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each row, of which the best counts")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    parser.add_argument("--task", nargs=3, metavar=("NAME", "FILE", "START"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(measure(*args.task[:2], start=float(args.task[2]), repeats=args.repeats)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        paths = [Path(folder) / f"noise{i}.wav" for i in range(2)]
        for path in paths:
            write_noise(path, args.minutes)
        rows = {name: measured(name, paths[:1], 1 if name in ONCE else args.repeats)[0] for name in TASKS}
        pairs = {name: measured(name, paths, args.repeats) for name in ("Duet, transform", "Duet, whole step")}
        if args.long_minutes:
            write_noise(paths[0], args.long_minutes)
            long = measured("Duet, whole step", paths[:1], 1)[0]
    mkl_s, scipy_s, stream_s = (rows[name]["wall_s"] for name in (*list(TASKS)[:2], "librosa.stream"))
    print(f"{args.minutes:g} min at {RATE_HZ // 1000} kHz, window {WINDOW}, hop {HOP}, one thread\n")
    print(
        "| what | wall s | CPU s | x floor (MKL) | x floor (scipy) | x librosa.stream "
        "| x real time | peak MB above imports |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        wall_s = row["wall_s"]
        ratios = " | ".join(f"{wall_s / other_s:.2f}" for other_s in (mkl_s, scipy_s, stream_s))
        speed = args.minutes * 60 / wall_s
        print(f"| {name} | {wall_s:.2f} | {row['cpu_s']:.2f} | {ratios} | {speed:.0f} | {row['peak_mb']:.0f} |")
    for name, pair in pairs.items():
        wall_s = max(row["wall_s"] for row in pair)
        print(
            f"\n{name}, two processes on two recordings: {2 * rows[name]['wall_s'] / wall_s:.2f}x the throughput of one"
        )
    if args.long_minutes:
        print(
            f"\nPeak of the whole step above imports: {rows['Duet, whole step']['peak_mb']:.0f} MB for "
            f"{args.minutes:g} min, {long['peak_mb']:.0f} MB for {args.long_minutes:g} min ({long['wall_s']:.1f} s)"
        )


def measured(name: str, paths: list[Path], repeats: int) -> list[dict]:
    """Wall time (s) and memory (MB) of a task in a process for each path; several start together."""
    start = time.time() + START_S if len(paths) > 1 else 0
    command = [sys.executable, __file__, "--repeats", str(repeats), "--task", name]
    running = [
        subprocess.Popen([*command, str(path), str(start)], stdout=subprocess.PIPE, env=os.environ | ONE_THREAD)
        for path in paths
    ]
    answers = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        sys.exit(f"{name} failed")
    return [json.loads(answer) for answer in answers]


def measure(name: str, path: str, *, start: float, repeats: int) -> dict:
    """Run a task in this process: best wall time (s), peak memory above that after the imports (MB)."""
    run = TASKS[name](path)
    with open(path, "rb") as file:  # into the cache
        while file.read(1 << 24):
            pass
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, Linux in KiB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    time.sleep(max(start - time.time(), 0))
    walls, cpus = [], []
    for _ in range(repeats):
        started, busy = time.perf_counter(), time.process_time()
        run()
        walls.append(time.perf_counter() - started)
        cpus.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    # Side by side, the mean counts: the best may have been alone.
    wall_s = sum(walls) / repeats if start else min(walls)
    return {"wall_s": wall_s, "cpu_s": min(cpus), "peak_mb": (peak - before) / 1e6}


def write_noise(path: Path, minutes: float) -> None:
    """White noise, 16 bit, one second repeated: what matters here is its length."""
    import numpy as np
    import soundfile

    second = (300 * np.random.default_rng(0).standard_normal(RATE_HZ)).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for _ in range(round(minutes * 60)):
            file.write(second)


if __name__ == "__main__":
    main()
