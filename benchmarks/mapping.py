"""Time and memory of `duet tune` and `duet map`: an hour of song, 500 units and three seeds of a model, on one core.

    python benchmarks/mapping.py [--minutes 60] [--seeds 3] [--folder DIR]

The session is simulated without audio (`pipeline.simulation.counts`): its counts, its calls and a spectrogram drawn of
their contours are written to a temporary folder, where `duet clips` cuts clips. Between the two steps it trains, embeds
and evaluates a small model a seed for a few epochs: how good it is does not matter to the time. Surrogates, bootstrap
draws and consensus draws are the configuration's defaults. Each step is a process with one thread. Prints a table in
Markdown.
"""

import argparse
import json
import sys
import tempfile
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from measuring import Use, measured

from pipeline.audio.spectrogram_file import CHUNK_FRAMES, written_spectrogram
from pipeline.config import Audio, Neural, Simulation
from pipeline.neural.counts_file import write_counts
from pipeline.simulation.counts import CountedSession, simulate_counts
from pipeline.simulation.plan import Plan
from pipeline.storage import write_table

DUET = [sys.executable, "-m", "pipeline"]
INPUTS = {"spectrogram": "spectrogram.nc", "calls": "calls.parquet", "counts": "counts.nc"}
MADE = {"models": "model.pt", "latents": "latents.parquet", "metrics": "metrics.parquet"}
FAMILY, LATENT_DIM = "mopoe", 32
FEW = {"training": {"max_epochs": 2}, "evaluation": {"n_samples": 4, "n_clips": 50}}
UNITS = {"units_per_band": 75, "n_vocal": 100, "n_unrelated": 100}  # 500 with four bands
HOP_S, N_BANDS = 0.002, 64
CALL_DB, CALL_WIDTH_HZ, NOISE_DB = 25.0, 2000.0, 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="length of the recording, min")
    parser.add_argument("--seeds", type=int, default=3, help="models that are mapped")
    parser.add_argument("--folder", help="where to put the temporary files (default: the system's place)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        calls = prepare(Path(folder), 60 * args.minutes)
        uses = mapped(Path(folder), args.seeds)
    uses["both"] = Use(*map(sum, zip(*uses.values(), strict=True)))._replace(
        peak_mb=max(u.peak_mb for u in uses.values())
    )
    share = (calls["stop_s"] - calls["start_s"]).sum() / (60 * args.minutes)
    print(f"{args.minutes:g} min, 500 units, {len(calls)} calls in {share:.0%} of the time, {args.seeds} seeds\n")
    print("| step | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for step, use in uses.items():
        print(f"| {step} | {use.wall_s:.1f} | {use.cpu_s:.1f} | {use.peak_mb:.0f} |")


def prepare(folder: Path, duration_s: float) -> pd.DataFrame:
    """Write the input files of the two steps; returns the calls."""
    options = Simulation(duration_s=duration_s, **UNITS).model_dump(
        exclude={"out_dir", "n_sessions", "sessions_per_animal"}
    )
    session = simulate_counts("mouse1", seed=0, plan=Plan(**options), bin_width_s=Neural().bin_width_s)
    neural = session.neural
    counts = xr.Dataset(
        {
            "counts": (("bin", "unit"), neural.counts.astype(np.uint8)),
            "valid": (("bin", "unit"), neural.valid),
            "covered": ("bin", np.ones(len(neural.start_s), bool)),
            **{f"clock_{clock}_s": ("knot", np.array([0.0, duration_s])) for clock in ("audio", "session")},
        },
        coords={"bin": neural.start_s, "unit": np.array(neural.unit_ids, object)},
        attrs={
            "kind": neural.kind,
            "session": "mouse1",
            "subject": "m",
            "bin_width_s": neural.bin_width_s,
            "clock_residual_ms": 0.0,
            "clock_source": "simulated",
        },
    )
    write_counts(counts, folder / "counts.nc")
    write_table(session.calls.assign(label=""), folder / "calls.parquet")
    units = {"unit_id": neural.unit_ids, "session": "mouse1", "subject": "m", "region": "", "included": True}
    write_table(pd.DataFrame(units), folder / "units.parquet")
    draw_spectrogram(session, folder / "spectrogram.nc", duration_s)
    (folder / "sessions.tsv").write_text("session\tsubject\taudio\tnwb\nmouse1\tm\tmouse1.wav\tmouse1.nwb\n")
    for name in ("mouse1.wav", "mouse1.nwb"):
        (folder / name).touch()  # the sheet names files that exist; nobody reads them
    sheet = ["--sheet", folder / "sessions.tsv"]
    measured([*DUET, "clips", *sheet, *_inputs(folder), "--out", folder / "clips.nc"])
    return session.calls


def draw_spectrogram(session: CountedSession, path: Path, duration_s: float) -> None:
    """Noise, and a ridge along the contour of each call."""
    generator, audio = np.random.default_rng(0), Audio()
    frequency_hz = np.linspace(audio.low_hz, audio.high_hz, N_BANDS)
    pitch_hz = np.full(int(duration_s / HOP_S), -np.inf)
    for call in session.calls.itertuples():
        frames = np.arange(round(call.start_s / HOP_S), min(round(call.stop_s / HOP_S), len(pitch_hz)))
        pitch_hz[frames] = np.interp(frames * HOP_S, call.contour_s, call.contour_hz)
    shape = {"n_frames": len(pitch_hz), "frequency_hz": frequency_hz, "n_files": 1, "silence_db": -100.0}
    with written_spectrogram(path, **shape) as writer:
        for first in range(0, len(pitch_hz), CHUNK_FRAMES):
            away = (frequency_hz - pitch_hz[first : first + CHUNK_FRAMES, None]) / CALL_WIDTH_HZ
            ridge_db = CALL_DB * np.exp(-(away**2))
            writer.write(first, ridge_db + NOISE_DB * generator.standard_normal(ridge_db.shape, np.float32))
        writer.finish(
            first_time_s=0.0,
            hop_s=HOP_S,
            usable=np.ones(len(pitch_hz), bool),
            noise_floor_db=np.zeros(N_BANDS, np.float32),
            file_start_s=np.zeros(1),
            file_stop_s=np.array([duration_s]),
            attributes={"hop_s": HOP_S, "low_hz": audio.low_hz, "high_hz": audio.high_hz, "scale": "linear"},
        )


def mapped(folder: Path, n_seeds: int) -> dict[str, Use]:
    """What the two steps took on a prepared session."""
    sheet, clips = ["--sheet", folder / "sessions.tsv"], ["--clips", folder / "clips.nc"]
    units = ["--units", folder / "units.parquet"]
    tune = measured([*DUET, "tune", *sheet, *clips, *_inputs(folder), *units, "--out", folder / "tuning.nc"])
    models = [_trained(folder / f"seed{seed}", clips, seed) for seed in range(n_seeds)]
    made = [[f"--{name}", *(model / file for model in models)] for name, file in MADE.items()]
    tables = ["--tunings", folder / "tuning.nc", "--out-dir", folder / "tables"]
    return {"tune": tune, "map": measured([*DUET, "map", *sheet, *clips, *units, *tables, *chain(*made)])}


def _inputs(folder: Path) -> list:
    return ["--session", "mouse1", *chain(*([f"--{name}", folder / file] for name, file in INPUTS.items()))]


def _trained(folder: Path, clips: list, seed: int) -> Path:
    """`folder` with the model of a seed, its latents and its metrics."""
    folder.mkdir()
    model, few = ["--model", folder / "model.pt"], ["--config", json.dumps(FEW)]
    of = ["--family", FAMILY, "--latent-dim", LATENT_DIM, "--seed", seed, *few]
    kept = ["--history", folder / "history.csv", "--checkpoint", folder / "checkpoint.pt"]
    shown = ["--traversal-out", folder / "traversal.nc", "--examples-out", folder / "examples.nc"]
    for step in (
        ["train", *clips, *of, "--out", folder / "model.pt", *kept],
        ["embed", *clips, *model, "--out", folder / "latents.parquet"],
        ["evaluate", *clips, *model, "--out", folder / "metrics.parquet", *shown, *few],
    ):
        measured([*DUET, *map(str, step)])
    return folder


if __name__ == "__main__":
    main()
