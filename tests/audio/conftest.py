import numpy as np
import pytest
import soundfile

from pipeline.audio.recording import open_recording
from pipeline.audio.scan import Scan
from pipeline.audio.spectrogram import compute_spectrogram

MOUSE = {
    "low_hz": 30_000,
    "high_hz": 125_000,
    "hop_s": 0.001,
    "window_s": 0.002048,
    "scale": "linear",
    "n_bands": None,
}


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.fixture
def make_spectrogram(tmp_path):
    """Writes samples as one WAV or several, and their spectrogram by the mouse settings; returns its path."""

    def _make(*pieces, rate_hz=250_000, name="spectrogram.nc", subtype="FLOAT", block_frames=256, **settings):
        paths = []
        for i, samples in enumerate(pieces):
            paths.append(tmp_path / f"{name}.{i}.wav")
            soundfile.write(paths[-1], samples, rate_hz, subtype=subtype)
        recording = open_recording(paths, series=None, channel=0)
        compute_spectrogram(recording, tmp_path / name, block_frames=block_frames, **(MOUSE | settings))
        return tmp_path / name

    return _make


@pytest.fixture
def make_scan(tmp_path):
    """Writes samples as one WAV or several, and scans them for calls by the mouse settings."""
    opened = []

    def _make(*pieces, rate_hz=250_000, start_s=None, **settings):
        paths = []
        for i, samples in enumerate(pieces):
            paths.append(tmp_path / f"scan{len(opened)}.{i}.wav")
            soundfile.write(paths[-1], samples, rate_hz, subtype="FLOAT")
        opened.append(open_recording(paths, series=None, channel=0, start_s=start_s))
        ranges = {name: MOUSE[name] for name in ("low_hz", "high_hz", "window_s")}
        return Scan(opened[-1], **({"longest_call_s": 0.4} | ranges | settings))

    yield _make
    for recording in opened:
        recording.close()


@pytest.fixture
def noise(rng):
    """White noise of SD 0.01 at 250 kHz."""
    return lambda duration_s: (0.01 * rng.standard_normal(int(duration_s * 250_000))).astype(np.float32)


@pytest.fixture
def chirp():
    """A linear sweep of amplitude 1 at 250 kHz."""

    def _chirp(from_hz, to_hz, duration_s):
        t = np.arange(int(duration_s * 250_000)) / 250_000
        return np.sin(2 * np.pi * (from_hz * t + (to_hz - from_hz) * t**2 / (2 * duration_s))).astype(np.float32)

    return _chirp
