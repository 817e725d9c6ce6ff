from itertools import pairwise

import numpy as np
import pytest
import soundfile
from scipy.signal import spectrogram
from simulated_plan import SONG

from pipeline.seeds import numpy_generator
from pipeline.simulation import vocal_organ
from pipeline.simulation.vocal_organ import Call, sing, whistle_pitch_hz, write_audio


@pytest.fixture(scope="module")
def song():
    return sing(duration_s=600, generator=numpy_generator(3, "song"), **SONG)


def sound(calls, path, *, duration_s, seed, harmonic_db=-20.0, noise_db=0.0):
    options = {"rate_hz": 250_000, "harmonic_db": harmonic_db, "noise_db": noise_db}
    write_audio(calls, path, duration_s=duration_s, generator=numpy_generator(seed, "noise"), **options)
    return soundfile.read(path, dtype="int16")[0].astype(float)


def test_whistle_follows_the_formula():
    # Uc = 0.6 sqrt(2 * 1200 / 1.2) = 26.8328 m/s; h/Uc + h/c = 37.2678 + 2.9155 us; three waves in 40.1833 us
    assert whistle_pitch_hz(pressure_pa=1200.0, length_m=1e-3, mode=3) == pytest.approx(74_658, rel=1e-4)
    # Uc = 0.6 sqrt(2 * 600 / 1.2) = 18.9737 m/s; 71.1512 + 3.9359 us
    assert whistle_pitch_hz(pressure_pa=600.0, length_m=1.35e-3, mode=2) == pytest.approx(26_636, rel=1e-4)


def test_pitch_and_durations_are_those_of_mice(song):
    pitch_hz = np.concatenate([call.pitch_hz for call in song])
    assert np.percentile(pitch_hz, [5, 50, 95]) == pytest.approx([48_000, 68_000, 92_000], abs=3_000)
    assert pitch_hz.min() >= 38_000 and pitch_hz.max() <= 110_000
    duration_s = np.array([call.duration_s for call in song])
    assert np.median(duration_s) == pytest.approx(0.055, abs=0.004)
    assert duration_s.min() >= 0.02 and duration_s.max() <= 0.12
    assert 65 < duration_s.sum() < 140
    assert {3} < {int(mode) for call in song for mode in call.mode} <= {2, 3, 4}


def test_bouts_grow_apart(song):
    gaps_s = np.array([b.start_s - a.stop_s for a, b in pairwise(song)])
    between = np.array([a.bout != b.bout for a, b in pairwise(song)])
    assert gaps_s[~between].min() >= 0.03 and gaps_s[~between].max() <= 0.11
    assert gaps_s[between].min() >= 1.5
    middle_s = np.array([call.stop_s for call in song[:-1]])[between]
    slope, intercept = np.polyfit(middle_s, gaps_s[between], 1)
    assert 1.3 < (intercept + 600 * slope) / intercept < 5


def test_sound_has_the_pitch_of_the_contour_and_a_weaker_harmonic(tmp_path):
    calls = sing(duration_s=24, generator=numpy_generator(1, "song"), **SONG)
    sound(calls, tmp_path / "a.wav", duration_s=24, seed=1)
    samples, rate_hz = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate_hz == 250_000 and len(samples) == 6_000_000 and np.abs(samples).max() < 32_767
    frequency_hz, time_s, power = spectrogram(samples.astype(float), rate_hz, nperseg=512, noverlap=387)
    errors_hz, harmonic_db = [], []
    for call in calls:
        if set(call.mode) != {3}:
            continue
        middle_s = call.start_s + call.duration_s / 2
        column = power[:, np.argmin(np.abs(time_s - middle_s))]
        pitch_hz = np.interp(middle_s, call.time_s, call.pitch_hz)
        errors_hz.append(frequency_hz[frequency_hz > 30_000][np.argmax(column[frequency_hz > 30_000])] - pitch_hz)
        if pitch_hz < 55_000:
            near = np.abs(frequency_hz - 2 * pitch_hz) < 2_000
            harmonic_db.append(10 * np.log10(column[near].max() / column.max()))
    assert len(errors_hz) > 20 and np.abs(np.median(errors_hz)) < 200 and np.percentile(np.abs(errors_hz), 90) < 800
    assert len(harmonic_db) > 3 and np.median(harmonic_db) == pytest.approx(-20, abs=4)
    background = power[:, time_s < 0.9].mean(axis=1)
    low, high = background[(frequency_hz > 0) & (frequency_hz < 2_000)].mean(), background[frequency_hz > 60_000].mean()
    assert 5 < 10 * np.log10(low / high) < 15  # coloured: more noise at low frequencies


def test_level_follows_pressure_with_jitter(song):
    level_db = np.array([call.level_db.mean() for call in song])
    pressure_db = np.array([(20 * np.log10(call.pressure_pa / 1200)).mean() for call in song])
    assert np.std(level_db - pressure_db) == pytest.approx(4, abs=0.4)
    assert 0.2 < np.corrcoef(level_db, pressure_db)[0, 1] < 0.8


def test_blocks_leave_no_trace(tmp_path, monkeypatch):
    calls = sing(duration_s=6, generator=numpy_generator(2, "song"), **SONG)
    for name, block_s in (("whole", 6.0), ("pieces", 0.037)):
        monkeypatch.setattr(vocal_organ, "_BLOCK_S", block_s)
        path = tmp_path / f"{name}.wav"
        sound(calls, path, duration_s=6, seed=2)
    assert (tmp_path / "whole.wav").read_bytes() == (tmp_path / "pieces.wav").read_bytes()


def test_calls_jump_and_differ_in_level_as_often_and_as_much_as_said():
    song = {
        name: sing(duration_s=120, generator=numpy_generator(4, "song"), **(SONG | changes))
        for name, changes in {
            "plain": {"jump_share": 0.0, "level_jitter_db": 0.0},
            "jumps": {"jump_share": 1.0},
            "loud": {"level_jitter_db": 9.0},
        }.items()
    }
    assert all(len(set(call.mode)) == 1 for call in song["plain"])
    assert all(len(set(call.mode)) == 2 for call in song["jumps"])
    assert {call.jitter_db for call in song["plain"]} == {0.0}
    assert np.std([call.jitter_db for call in song["loud"]]) == pytest.approx(9, rel=0.15)


def test_a_song_that_does_not_habituate_has_even_silences():
    silences_s = []
    for seed in range(6):
        calls = sing(duration_s=600, generator=numpy_generator(seed, "song"), **(SONG | {"habituation": 1.0}))
        silences_s += [(a.stop_s, b.start_s - a.stop_s) for a, b in pairwise(calls) if a.bout != b.bout]
    middle_s, silence_s = np.transpose(silences_s)
    slope, intercept = np.polyfit(middle_s, silence_s, 1)
    assert (intercept + 600 * slope) / intercept == pytest.approx(1, abs=0.25)


def test_noise_and_harmonic_have_their_levels(tmp_path):
    quiet, noisy = (sound([], tmp_path / "n.wav", duration_s=2, seed=0, noise_db=db) for db in (0.0, 15.0))
    assert 20 * np.log10(noisy.std() / quiet.std()) == pytest.approx(15, abs=0.1)
    steady = np.ones(51)
    call = Call(0, 0.5, 0.05, 900.0 * steady, 1.3e-3 * steady, 3 * steady, jitter_db=0.0, phase_rad=0.0)
    for harmonic_db in (-20.0, 0.0):
        samples = sound([call], tmp_path / "h.wav", duration_s=1, seed=0, harmonic_db=harmonic_db, noise_db=-60.0)
        power = np.abs(np.fft.rfft(samples)) ** 2  # bins of 1 Hz
        first, second = (power[round(n * call.pitch_hz[0]) + np.arange(-300, 301)].sum() for n in (1, 2))
        assert 10 * np.log10(second / first) == pytest.approx(harmonic_db, abs=0.2)
