import numpy as np
import pytest
import soundfile

from pipeline.errors import InputError
from pipeline.inspection.sound import describe_sound, draw_sound, look_at_sound

RATE_HZ = 100_000


@pytest.fixture
def write(tmp_path):
    def _write(samples, subtype="PCM_16", name="a.wav"):
        soundfile.write(tmp_path / name, samples, RATE_HZ, subtype=subtype)
        return tmp_path / name

    return _write


def _tone(level_db, duration_s, frequency_hz=20_000):
    """A sine whose root mean square is `level_db` relative to full scale."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return 10 ** (level_db / 20) * np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * time_s)


def _told(sound):
    return dict(describe_sound(sound)[0].rows)


def test_levels_over_time(write):
    samples = np.concatenate([_tone(-40, 12.0), _tone(-20, 2.35)])
    sound, _ = look_at_sound(write(samples))
    assert (sound.rate_hz, sound.n_channels, sound.duration_s) == (RATE_HZ, 1, 14.35)
    assert len(sound.level_db) == 144  # the last one of half the length
    np.testing.assert_allclose(sound.level_db[:120], -40, atol=0.02)
    np.testing.assert_allclose(sound.level_db[120:], -20, atol=0.02)
    np.testing.assert_allclose(sound.frame_start_s[[0, 120]], [0, 12])
    assert sound.peak_db == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=0.01)
    assert sound.n_clipped == sound.n_invalid == 0 and abs(sound.mean) < 1e-4
    assert "14.350 s (0:00:14)" in _told(sound)["duration"]


def test_the_stretch_with_most_sound_is_none_with_a_single_click_nor_with_rumble(write):
    samples = np.random.default_rng(0).normal(0, 1e-3, 20 * RATE_HZ)
    samples[5 * RATE_HZ] = 0.9  # a click
    samples[8 * RATE_HZ : 10 * RATE_HZ] += _tone(-15, 2.0, 60)
    samples[14 * RATE_HZ : 16 * RATE_HZ] += _tone(-40, 2.0)
    sound, _ = look_at_sound(write(samples))
    assert sound.loudest_start_s == pytest.approx(14, abs=0.11)


def test_clipping_and_silence(write):
    samples = np.clip(_tone(3, 1.0, 1000), -1, 1)
    sound, _ = look_at_sound(write(np.concatenate([samples, np.zeros(RATE_HZ)])))
    stuck = np.abs(samples) >= 1
    expected = int((stuck[1:] & stuck[:-1] & (samples[1:] == samples[:-1])).sum())
    assert sound.n_clipped == pytest.approx(expected, abs=2) and expected > 1000
    assert sound.is_clipped[:10].all() and not sound.is_clipped[10:].any()
    told = _told(sound)
    assert "50 % of the time" in told["clipped"] and told["digital silence"] == "50 % of the time"


def test_float_samples_beyond_full_scale_are_no_clipping(write):
    sound, _ = look_at_sound(write(5 * np.random.default_rng(0).normal(size=RATE_HZ), "FLOAT"))
    assert sound.n_clipped == 0 and sound.peak_db > 20


def test_samples_that_are_no_number_are_counted_and_left_out(write):
    samples = _tone(-20, 1.0)
    samples[500:597] = np.nan
    samples[597:600] = np.inf, -np.inf, 1e30
    sound, _ = look_at_sound(write(samples, "FLOAT"))
    assert sound.n_invalid == 100 and _told(sound)["not a number"] == "100 samples"
    np.testing.assert_allclose(sound.level_db[1:], -20, atol=0.02)


def test_another_channel(write):
    path = write(np.stack([_tone(-40, 1.0), _tone(-20, 1.0)], axis=1))
    sound, _ = look_at_sound(path, channel=1)
    np.testing.assert_allclose(sound.level_db, -20, atol=0.02)
    assert _told(sound)["channels"] == "2; shown: 1"
    with pytest.raises(InputError, match="no such channel"):
        look_at_sound(path, channel=2)


@pytest.mark.parametrize("duration_s", [0.003, 0.5, 3.0])
def test_pictures_of_short_and_silent_recordings(write, tmp_path, duration_s):
    for samples in (_tone(-20, duration_s), np.zeros(round(duration_s * RATE_HZ))):
        figure = draw_sound(*look_at_sound(write(samples)), call_start_s=[0.001], call_stop_s=[0.002])
        spectrum, level = figure.axes[:2]
        assert spectrum.get_ylabel() == "frequency (kHz)" and level.get_xlim()[1] == pytest.approx(duration_s)
        figure.savefig(tmp_path / "a.png")


def test_the_spectrogram_shows_the_frequency(write):
    figure = draw_sound(*look_at_sound(write(_tone(-20, 3.0, 30_000))))
    image = figure.axes[0].images[0]
    low_khz, high_khz = image.get_extent()[2:]
    row = np.argmax(image.get_array().mean(axis=1))
    assert low_khz + (row + 0.5) / len(image.get_array()) * (high_khz - low_khz) == pytest.approx(30, abs=0.5)
