import warnings

import numpy as np
import pytest
import soundfile

from pipeline.__main__ import main
from pipeline.audio.spectrogram_file import open_spectrogram

RATE_HZ = 250_000


@pytest.fixture
def run(tmp_path):
    """Runs the step on a cell `audio` with a configuration; returns its exit code and the path of the result."""

    def _run(audio, config=""):
        (tmp_path / "sessions.tsv").write_text(f"session\tsubject\taudio\ns1\tanna\t{audio}\n", encoding="utf-8")
        (tmp_path / "config.yaml").write_text(config or "{}")
        out = tmp_path / "out" / "spectrogram.nc"
        command = ["spectrogram", "--sheet", str(tmp_path / "sessions.tsv"), "--session", "s1", "--out", str(out)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return main([*command, "--config", str(tmp_path / "config.yaml")]), out

    return _run


def test_the_best_channel_is_told_and_kept(tmp_path, noise, chirp, run, capsys):
    samples = np.stack([noise(1), noise(1), np.zeros(RATE_HZ)], axis=1)
    samples[100_000:112_500, 1] += 0.2 * chirp(60e3, 70e3, 0.05)
    soundfile.write(tmp_path / "three.wav", samples, RATE_HZ)
    code, out = run("three.wav", "audio: {channel: best}")
    assert code == 0
    assert "s1: channel 1 is the best" in capsys.readouterr().out
    with open_spectrogram(out) as spectrogram:
        assert spectrogram.channel == 1
        assert spectrogram.power_db(400, 440).max() > spectrogram.power_db(0, 300).max() + 15
    _, out = run("three.wav", "audio: {channel: 0}")
    with open_spectrogram(out) as spectrogram:
        assert spectrogram.channel == 0


def test_a_channel_that_is_not_there(tmp_path, noise, run, capsys):
    soundfile.write(tmp_path / "a.wav", noise(0.1), RATE_HZ)
    code, out = run("a.wav", "audio: {channel: 3}")
    assert code == 2 and not out.exists()
    assert "audio.channel 3" in capsys.readouterr().err


def test_a_listing_with_gaps(tmp_path, noise, run, capsys):
    for i in range(3):
        soundfile.write(tmp_path / f"part {i}.wav", noise(0.5), RATE_HZ)
    (tmp_path / "parts.tsv").write_text("file\tstart_s\npart 0.wav\t10\npart 1.wav\t10.5\npart 2.wav\t12\n")
    code, out = run("parts.tsv")
    assert code == 0
    with open_spectrogram(out) as spectrogram:
        assert (spectrogram.start_s, spectrogram.stop_s) == (10.0, 12.5)
        centre_s = spectrogram.time_s(np.flatnonzero(~spectrogram.usable))
        assert 11.0 - 0.0011 < centre_s.min() < 11.0 and 12.0 < centre_s.max() < 12.0 + 0.0011
    (tmp_path / "parts.tsv").write_text("file\tstart_s\npart 0.wav\t10\npart 1.wav\t10.4\n")
    out.unlink()
    code, out = run("parts.tsv")
    assert code == 2 and not list(out.parent.iterdir())
    shown = capsys.readouterr().err
    assert "overlap" in shown and "part 0.wav" in shown and "part 1.wav" in shown and "10.4 s" in shown
