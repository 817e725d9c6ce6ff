import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline.clock import shifted_clock
from pipeline.neural.binning import bin_session
from pipeline.neural.recording import Units


@pytest.fixture
def spectrogram_of():
    """A spectrogram in memory, as the spectrogram step stores it; `power_db` Shape (n_frames, n_frequencies)."""

    def _make(power_db, *, hop_s=0.001, window_s=0.002, files=None, usable=None, floor_db=-80.0):
        n_frames, n_bands = power_db.shape
        if files is None:
            files = [[0.0, n_frames * hop_s + window_s]] if n_frames else np.empty((0, 2))
        files = np.asarray(files, float)
        return xr.Dataset(
            {
                "power_db": (("time", "frequency"), power_db.astype(np.float16)),
                "noise_floor_db": ("frequency", np.broadcast_to(floor_db, n_bands).astype(np.float32)),
                "usable": ("time", np.ones(n_frames, bool) if usable is None else usable),
                "file_start_s": ("file", files[:, 0]),
                "file_stop_s": ("file", files[:, 1]),
            },
            coords={
                "time": np.arange(n_frames) * hop_s + window_s / 2,
                "frequency": 30_000 + 500.0 * np.arange(n_bands),
            },
            attrs={"hop_s": hop_s, "low_hz": 30_000.0, "high_hz": 125_000.0},
        )

    return _make


@pytest.fixture
def counts_of():
    """Binned spikes of hand-made trains, in session seconds, with sound from 0 to `audio_s` on the audio clock."""

    def _make(trains, *, audio_s=None, clock=None, bin_width_s=0.01, observed=None):
        n = len(trains)
        units = Units(
            table="units",
            nwb_id=[str(i) for i in range(n)],
            region=[""] * n,
            spike_times_s=[np.sort(np.asarray(t, float)) for t in trains],
            observed_s=[None if o is None else np.asarray(o, float) for o in observed or [None] * n],
            n_nonfinite=np.zeros(n, int),
        )
        counts, _ = bin_session(
            units if n else None,
            clock=clock or shifted_clock(0.0, source="equal clocks"),
            file_start_s=np.array([] if audio_s is None else [0.0]),
            file_stop_s=np.array([] if audio_s is None else [audio_s]),
            bin_width_s=bin_width_s,
            min_rate_hz=0.0,
            session="s1",
            subject="anna",
        )
        return counts

    return _make


@pytest.fixture
def calls_of():
    """A calls table from rows of (start_s, stop_s, bout), audio seconds."""

    def _make(rows=()):
        table = pd.DataFrame(rows, columns=["start_s", "stop_s", "bout"]).astype({"start_s": float, "stop_s": float})
        table.insert(0, "call", np.arange(len(table)))
        table["label"] = ""
        return table.astype({"bout": int})

    return _make


@pytest.fixture
def rng():
    return np.random.default_rng(20)
