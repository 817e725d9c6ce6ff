"""Recordings of other laboratories, read without a warning and with the power that scipy finds."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from pipeline.audio.recording import open_recording
from pipeline.audio.spectrogram import compute_spectrogram
from pipeline.audio.spectrogram_file import open_spectrogram

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the recordings in ../shared/data")


@pytest.mark.parametrize(
    ("name", "low_hz", "high_hz"),
    [
        ("usv/amvoc/small2.wav", 30_000, 125_000),  # WAVE_FORMAT_EXTENSIBLE
        ("usv/vocalpy/BM003.wav", 30_000, 125_000),  # 300 kHz
        ("usv/sparkle/asample_syl.wav", 30_000, 125_000),  # 375 kHz
        ("usv/sparkle/asample_syl333.wav", 30_000, 125_000),  # 333 333 Hz
        ("usv/sparkle/another_syl.WAV", 30_000, 125_000),
        ("ferret/sound/source.1.sound.0.snr.0.token.0.fw.2.frozen.1.wav", 500, 22_000),  # floats up to 10.9
    ],
)
def test_power_is_that_of_scipy(tmp_path, name, low_hz, high_hz):
    path = DATA / name
    samples, rate_hz = soundfile.read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recording = open_recording([path], series=None, channel=0)
        compute_spectrogram(
            recording, tmp_path / "s.nc", low_hz=low_hz, high_hz=high_hz, hop_s=0.001, window_s=0.002048,
            scale="linear", n_bands=None,
        )  # fmt: skip
    window, hop = round(0.002048 * rate_hz), round(0.001 * rate_hz)
    frequency_hz, time_s, power = signal.spectrogram(
        samples, rate_hz, window="hann", nperseg=window, noverlap=window - hop, scaling="spectrum", detrend=False
    )
    inside = (frequency_hz >= low_hz) & (frequency_hz <= high_hz)
    with open_spectrogram(tmp_path / "s.nc") as spectrogram:
        levels_db = spectrogram.power_db(0, spectrogram.n_frames)
        np.testing.assert_allclose(spectrogram.time_s(np.arange(len(levels_db))), time_s)
        np.testing.assert_allclose(spectrogram.frequency_hz, frequency_hz[inside])
        assert spectrogram.usable.mean() > 0.99
    # Where there is sound; faint levels are held up by the noise of rounding.
    loud = power[inside].T > 1e-11
    assert loud.mean() > 0.2
    np.testing.assert_allclose(levels_db[loud], 10 * np.log10(power[inside].T[loud]), atol=0.15)
