from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt

from pipeline.audio.calls import detect_calls
from pipeline.audio.scoring import compare, figures, pool
from pipeline.config import Calls

RATE_HZ = 250_000
LABELLED = Path(__file__).resolve().parents[3] / "shared" / "data" / "usv" / "amvoc"
DEFAULTS = {name: value for name, value in Calls().model_dump().items() if name != "bout_gap_s"}


@pytest.fixture
def detect(make_scan):
    """Calls in samples (one array a file), shape (n_calls, 2), s."""

    def _detect(*pieces, everywhere=False, start_s=None, sound=None, **changes):
        settings = DEFAULTS | changes
        sound = {"longest_call_s": settings["max_duration_s"]} | (sound or {})
        scan = make_scan(*pieces, everywhere=everywhere, start_s=start_s, **sound)
        return np.array(list(detect_calls(scan, **settings))).reshape(-1, 2)

    return _detect


def _with_chirps(samples, chirp, rng, *, n, snr_db):
    """Adds n sweeps to noise of SD 0.01; returns samples and their start and stop, s."""
    truth = np.empty((n, 2))
    for i in range(n):
        duration_s = rng.uniform(0.02, 0.1)
        sweep = chirp(*rng.uniform(45e3, 100e3, 2), duration_s)
        first = int((0.3 + 0.3 * i + rng.uniform(0, 0.1)) * RATE_HZ)
        samples[first : first + len(sweep)] += 0.01 * np.sqrt(2) * 10 ** (snr_db / 20) * sweep
        truth[i] = first / RATE_HZ, first / RATE_HZ + duration_s
    return samples, truth


@pytest.mark.parametrize("snr_db", [20, -3])
def test_sweeps_are_found_with_their_edges(detect, noise, chirp, rng, snr_db):
    samples, truth = _with_chirps(noise(6.5), chirp, rng, n=20, snr_db=snr_db)
    found = detect(samples)
    assert len(found) == 20
    error_s = np.abs(found - truth)
    assert np.median(error_s) < 0.0015
    assert error_s.max() < 0.006


@pytest.mark.parametrize("snr_db", [10, -3, -8])
def test_the_first_look_changes_nothing(detect, noise, chirp, rng, snr_db):
    samples, _ = _with_chirps(noise(12.5), chirp, rng, n=40, snr_db=snr_db)
    expected = detect(samples, everywhere=True)
    assert len(expected) > (35 if snr_db > -8 else 0)
    np.testing.assert_array_equal(detect(samples), expected)


def test_the_first_look_leaves_most_of_the_noise_out(make_scan, noise, chirp, rng):
    samples, _ = _with_chirps(noise(10), chirp, rng, n=4, snr_db=10)
    seeds = make_scan(samples).segment(0).seeds
    assert 4 * 2 <= seeds.sum() < 0.1 * len(seeds)


def test_segments_join_without_a_seam(detect, noise, chirp, rng, monkeypatch):
    samples, _ = _with_chirps(noise(6.5), chirp, rng, n=20, snr_db=10)
    expected = detect(samples)
    monkeypatch.setattr("pipeline.audio.scan.SEGMENT_S", 1.5)  # more segments than calls: some lie across an edge
    np.testing.assert_allclose(detect(samples, max_duration_s=0.2), expected, atol=0.003)


def _tone(samples, frequency_hz, amplitude):
    return (samples + amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(len(samples)) / RATE_HZ)).astype(
        np.float32
    )


def _steady(samples, rng):
    return _tone(_tone(_tone(samples, 40e3, 0.05), 33e3, 0.1), 72e3, 0.005)


def _switched(samples, rng):
    on = np.sin(2 * np.pi * np.arange(len(samples)) / RATE_HZ / 3.1) > 0.5
    return samples + on * _tone(0 * samples, 60e3, 0.1)


def _drifting(samples, rng):
    time_s = np.arange(len(samples)) / RATE_HZ
    return (samples + 0.05 * np.sin(2 * np.pi * (50e3 * time_s + 500 * time_s**2 / 2))).astype(np.float32)


def _clicks(samples, rng):
    for first in rng.integers(0, len(samples) - 25, 1000):
        samples[first : first + 25] += 0.5 * rng.standard_normal(25).astype(np.float32)
    return samples


def _click_bursts(samples, rng):
    for burst in rng.integers(0, len(samples) - RATE_HZ // 10, 20):
        for first in burst + rng.integers(0, RATE_HZ // 50, 20):
            samples[first : first + 25] += 0.5 * rng.standard_normal(25).astype(np.float32)
    return samples


def _jumps(samples, rng):
    return samples * np.repeat(rng.choice([1, 4, 0.3], 100).astype(np.float32), 62_500)[: len(samples)]


def _pink(samples, rng):
    spectrum = np.fft.rfft(samples)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)) / len(spectrum))
    return np.fft.irfft(spectrum).astype(np.float32)


def _squeaks(samples, rng):
    """Harmonics of 4 to 15 kHz, which fall by 6 dB an octave and reach into the analysed range."""
    for first in rng.integers(0, len(samples) - RATE_HZ // 4, 20):
        time_s = np.arange(int(rng.uniform(0.03, 0.2) * RATE_HZ)) / RATE_HZ
        phase = 2 * np.pi * rng.uniform(4e3, 15e3) * (time_s + 0.003 * np.sin(30 * time_s))
        sound = sum(np.sin(k * phase) / k for k in range(1, 9))
        samples[first : first + len(sound)] += 0.2 * np.hanning(len(sound)).astype(np.float32) * sound
    return samples


def _audible(samples, rng):
    low = sosfilt(butter(4, [200, 9000], "band", fs=RATE_HZ, output="sos"), rng.standard_normal(len(samples)))
    return samples + (0.3 * low * (np.sin(np.arange(len(samples)) / RATE_HZ * 20) > 0)).astype(np.float32)


def _dropouts(samples, rng):
    for first in rng.integers(0, len(samples) - 5000, 20):
        samples[first : first + rng.integers(100, 5000)] = 0
    return samples


def _nothing(samples, rng):
    return samples


def _silence(samples, rng):
    return np.zeros_like(samples)


DISTURBANCES = [_nothing, _silence, _steady, _switched, _drifting, _clicks, _click_bursts, _jumps, _pink]
DISTURBANCES += [_squeaks, _audible, _dropouts]


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_no_calls_where_there_are_none(detect, noise, rng, disturb):
    samples = np.clip(disturb(noise(10), rng), -1, 1)
    assert len(detect((samples * 32_767).round() / 32_768, everywhere=True)) == 0


@pytest.mark.parametrize("disturb", [_steady, _switched, _clicks, _jumps, _dropouts])
def test_calls_are_found_in_spite_of(detect, noise, chirp, rng, disturb):
    samples = disturb(noise(6.4), rng)
    _, truth = _with_chirps(samples, chirp, rng, n=20, snr_db=15)
    found = detect(samples, everywhere=True)
    shared = np.minimum(found[:, None, 1], truth[:, 1]) - np.maximum(found[:, None, 0], truth[:, 0])
    assert (shared > 0.5 * (truth[:, 1] - truth[:, 0])).any(axis=0).sum() >= 19
    assert (shared > 0).any(axis=1).all()


def test_clipped_calls_are_calls(detect, noise, chirp, rng):
    samples, truth = _with_chirps(noise(3.5), chirp, rng, n=10, snr_db=30)
    found = detect(np.clip(4 * samples, -1, 1))
    np.testing.assert_allclose(found, truth, atol=0.004)


def test_a_gap_between_files_makes_no_calls(detect, noise, chirp):
    first, second = noise(2), noise(2)
    for samples in (first, second):
        samples[: RATE_HZ // 20] += 0.05 * chirp(60e3, 70e3, 0.05)
        samples[-RATE_HZ // 20 :] += 0.05 * chirp(60e3, 70e3, 0.05)
    found = detect(first, second, start_s=(0.0, 3.0), everywhere=True)
    np.testing.assert_allclose(found, [[0, 0.05], [1.95, 2], [3, 3.05], [4.95, 5]], atol=0.003)
    assert len(detect(noise(2), noise(2), start_s=(0.0, 3.0), everywhere=True)) == 0


def test_limits_of_duration_and_gaps(detect, noise, chirp):
    samples = noise(5)
    for start_s, duration_s in ((1.0, 0.03), (1.04, 0.03), (2.0, 0.002), (3.0, 0.45), (4.5, 0.05)):
        first = int(start_s * RATE_HZ)
        samples[first : first + int(duration_s * RATE_HZ)] += 0.03 * chirp(60e3, 65e3, duration_s)
    # The pair 10 ms apart is one call; 0.45 s is none.
    np.testing.assert_allclose(detect(samples, min_duration_s=0.01), [[1.0, 1.07], [4.5, 4.55]], atol=0.003)
    apart = detect(samples, min_duration_s=0.01, merge_gap_s=0.001, max_duration_s=1.0)
    np.testing.assert_allclose(apart[:, 0], [1.0, 1.04, 3.0, 4.5], atol=0.003)
    # Merging must not make a call too long to be one.
    short = detect(samples, min_duration_s=0.01, max_duration_s=0.06)
    np.testing.assert_allclose(short[:, 0], [1.0, 1.04, 4.5], atol=0.003)


@pytest.mark.parametrize(
    ("rate_hz", "low_hz", "high_hz", "window_s", "tone_hz"),
    [(48_828, 200, 20_000, 0.02, 3000), (32_000, 300, 15_000, 0.008, 4000), (500_000, 20_000, 200_000, 0.002, 150_000)],
)
def test_other_animals_by_settings_alone(detect, rng, rate_hz, low_hz, high_hz, window_s, tone_hz):
    samples = (0.01 * rng.standard_normal(rate_hz * 4)).astype(np.float32)
    t = np.arange(int(0.2 * rate_hz)) / rate_hz
    samples[rate_hz : rate_hz + len(t)] += 0.05 * np.sin(2 * np.pi * tone_hz * t).astype(np.float32)
    sound = {"rate_hz": rate_hz, "low_hz": low_hz, "high_hz": high_hz, "window_s": window_s}
    found = detect(samples, sound=sound)
    np.testing.assert_allclose(found, [[1.0, 1.2]], atol=window_s)


@pytest.mark.parametrize("n_samples", [600, 5000])
def test_short_recordings(detect, noise, n_samples):
    assert len(detect(noise(1)[:n_samples])) == 0


@pytest.mark.skipif(not LABELLED.is_dir(), reason="needs the labelled recordings of amvoc in ../shared/data")
def test_agreement_with_human_labels(detect):
    comparisons = []
    for number in (1, 2, 3, 8):
        samples, _ = soundfile.read(LABELLED / f"rec_{number}.wav", dtype="float32")
        found = detect(samples)
        np.testing.assert_array_equal(found, detect(samples, everywhere=True))
        labels = np.loadtxt(LABELLED / f"gt_{number}.csv", delimiter=",")
        comparisons.append(
            compare(
                found_start_s=found[:, 0],
                found_stop_s=found[:, 1],
                label_start_s=labels[:, 0],
                label_stop_s=labels[:, 1],
            )
        )
    row = figures(pool(comparisons))
    assert row["f1_overlap"] >= 0.985
    assert row["f1_iou50"] >= 0.95
    assert row["f1_10ms"] >= 0.9
