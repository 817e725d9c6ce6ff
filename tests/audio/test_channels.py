import numpy as np
import pytest
import soundfile

from pipeline.audio.channels import choose_channel
from pipeline.audio.recording import open_recording
from pipeline.errors import InputError

RATE_HZ = 250_000
BAND = {"low_hz": 30_000, "high_hz": 125_000, "window_s": 0.002048}


@pytest.fixture
def channels(rng):
    """Four seconds of everything that stands on a channel: noise, calls near and far, a dead input, pulses, rails."""
    n = 4 * RATE_HZ
    t = np.arange(n) / RATE_HZ
    calls = np.sin(2 * np.pi * 70e3 * t) * (t % 0.5 < 0.05)
    noise = 0.005 * rng.standard_normal((5, n))
    pulses = 0.8 * (t % 0.3 < 0.01) + 0.001 * rng.standard_normal(n)
    clicks = noise[3].copy()
    clicks[:: RATE_HZ // 50] = 0.9
    return {
        "noise": noise[0],
        "far": 0.02 * calls + noise[1],
        "near": 0.2 * calls + noise[2],
        "clicks": clicks,
        "dead": np.zeros(n),
        "pulses": pulses,
        "clipped": np.clip(60 * calls + noise[4], -1, 1 - 2**-15),
    }


def _choose(path, channels, names, subtype="PCM_16"):
    soundfile.write(path, np.stack([channels[name] for name in names], axis=1), RATE_HZ, subtype=subtype)
    return choose_channel(open_recording([path], series=None, channel="best"), **BAND)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_the_channel_with_the_loudest_calls_wins(tmp_path, channels, subtype):
    names = ["pulses", "noise", "far", "dead", "near", "clicks", "clipped"]
    recording, reason = _choose(tmp_path / "a.wav", channels, names, subtype)
    assert recording.channel == 4
    assert "channel 4 is the best" in reason
    for fault in ("0 is a square wave", "3 is silent", "6 is clipped"):
        assert fault in reason
    expected = channels["near"][1000:2000]
    np.testing.assert_allclose(recording.read(1000, 1000), expected, atol=2**-15)


def test_faint_calls_beat_clicks_and_noise(tmp_path, channels):
    assert _choose(tmp_path / "a.wav", channels, ["clicks", "far", "noise"])[0].channel == 1


def test_no_channel_with_sound(tmp_path, channels):
    with pytest.raises(InputError, match=r"no channel carries sound[\s\S]*channel 0 is silent; channel 1 is a square"):
        _choose(tmp_path / "a.wav", channels, ["dead", "pulses"])


def test_a_given_channel_is_kept_unheard(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((1000, 2)), RATE_HZ)
    recording, _ = choose_channel(open_recording([tmp_path / "a.wav"], series=None, channel=1), **BAND)
    assert recording.channel == 1


def test_one_channel_needs_no_choice(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), RATE_HZ)
    assert open_recording([tmp_path / "a.wav"], series=None, channel="best").channel == 0


def test_stretches_lie_in_the_sound_not_in_the_gaps(tmp_path, channels):
    both = np.stack([channels["noise"], channels["near"]], axis=1)
    for i in range(2):
        soundfile.write(tmp_path / f"{i}.wav", both, RATE_HZ)
    paths = [tmp_path / "0.wav", tmp_path / "1.wav"]
    recording = open_recording(paths, series=None, channel="best", start_s=[10.0, 40_000.0])
    assert choose_channel(recording, **BAND)[0].channel == 1
