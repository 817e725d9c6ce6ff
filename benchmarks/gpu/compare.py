"""Print held-out bits/spike (audio to neural, test blocks) and seconds of the models that run.sh trained."""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pipeline.clips import SessionClips, read_clips
from pipeline.seeds import torch_generator
from pipeline.storage import write_table
from pipeline.vae.assembly import LoadedModel, load_model, to_batch
from pipeline.validation import cross_gain

CHUNK = 256  # clips that are predicted at once


def bits_per_spike(loaded: LoadedModel, sessions: list[SessionClips]) -> float:
    """Poisson log-likelihood over that of the training means, per spike of the test blocks, in bits."""
    gain, n_spikes = 0.0, 0.0
    generator = torch_generator(0, "benchmark")
    for session in sessions:
        if session.session in loaded.sessions:
            mean = np.nan_to_num(np.nanmean(session.where("train").counts, axis=(0, 2)))
            rates = torch.as_tensor(np.maximum(mean, 1e-6), dtype=torch.float32)
            test = session.where("test")
            for rows in np.array_split(np.arange(len(test)), max(len(test) // CHUNK, 1)):
                with torch.no_grad():
                    more = cross_gain(loaded.model, to_batch(test, rows), rates, generator)
                gain, n_spikes = gain + more[0], n_spikes + more[1]
    return gain / (math.log(2) * n_spikes) if n_spikes else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder with cpu/ and cuda/")
    parser.add_argument("--clips", nargs="+", type=Path, required=True)
    args = parser.parse_args()
    sessions = [read_clips(path) for path in args.clips]
    rows = []
    for device in ("cpu", "cuda"):
        history = pd.read_csv(args.out / device / "history.csv")
        rows.append(
            {
                "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
                "test_bits_per_spike": bits_per_spike(load_model(args.out / device / "model.pt"), sessions),
                "validation_bits_per_spike": history["bits_per_spike"].max(),
                "epochs": len(history),
                "seconds": history["seconds"].iloc[-1],
            }
        )
    table = pd.DataFrame(rows)
    write_table(table, args.out / "comparison.csv")
    print(table.round(4).to_string(index=False))
    print(f"seconds an epoch, cpu / cuda: {np.divide(*(table['seconds'] / table['epochs'])):.1f}")


if __name__ == "__main__":
    main()
