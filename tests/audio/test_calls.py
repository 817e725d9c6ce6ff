from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.optimize import linear_sum_assignment

from pipeline.audio.calls import detect_calls
from pipeline.config import Calls

LABELLED = Path(__file__).resolve().parents[3] / "shared" / "data" / "usv" / "amvoc"
DEFAULTS = {name: value for name, value in Calls().model_dump().items() if name != "bout_gap_s"}


def _detect(path, **changes):
    return np.stack(detect_calls(path, **(DEFAULTS | changes)), axis=1)


def _with_chirps(samples, chirp, rng, *, n, snr_db):
    """Adds n sweeps to noise of SD 0.01; returns samples and their start and stop, s."""
    truth = np.empty((n, 2))
    for i in range(n):
        duration_s = rng.uniform(0.02, 0.1)
        sweep = chirp(*rng.uniform(45e3, 100e3, 2), duration_s)
        first = int((0.3 + 0.5 * i + rng.uniform(0, 0.1)) * 250_000)
        samples[first : first + len(sweep)] += 0.01 * np.sqrt(2) * 10 ** (snr_db / 20) * sweep
        truth[i] = first / 250_000, first / 250_000 + duration_s
    return samples, truth


@pytest.mark.parametrize("snr_db", [10, -3])
def test_sweeps_are_found_with_their_edges(make_spectrogram, noise, chirp, rng, snr_db):
    samples, truth = _with_chirps(noise(10.5), chirp, rng, n=20, snr_db=snr_db)
    found = _detect(make_spectrogram(samples))
    assert len(found) == 20
    error_s = np.abs(found - truth)
    assert np.median(error_s) < 0.0015
    assert error_s.max() < 0.006


def test_blocks_do_not_change_the_calls(make_spectrogram, noise, chirp, rng):
    samples, _ = _with_chirps(noise(4), chirp, rng, n=7, snr_db=0)
    path = make_spectrogram(samples)
    expected = _detect(path)
    assert len(expected) == 7
    for block_frames in (33, 1000, 10_000):
        np.testing.assert_array_equal(_detect(path, block_frames=block_frames), expected)


def _steady(samples, rng):
    return samples + 0.05 * np.sin(2 * np.pi * 40e3 * np.arange(len(samples)) / 250_000)


def _clicks(samples, rng):
    samples[np.arange(5000, len(samples), 12_345)] += 0.9
    return samples


def _jumps(samples, rng):
    return samples * np.repeat(rng.choice([1, 4], len(samples) // 62_500), 62_500)


def _nothing(samples, rng):
    return samples


def _silence(samples, rng):
    return np.zeros_like(samples)


@pytest.mark.parametrize("disturb", [_nothing, _steady, _clicks, _jumps, _silence])
def test_no_calls_where_there_are_none(make_spectrogram, noise, rng, disturb):
    path = make_spectrogram(disturb(noise(30), rng), subtype="PCM_16")
    assert len(_detect(path)) == 0


def test_limits_of_duration_and_gaps(make_spectrogram, noise, chirp):
    samples = noise(6)
    for start_s, duration_s in ((1.0, 0.03), (1.04, 0.03), (2.0, 0.003), (3.0, 0.6), (5.0, 0.05)):
        first = int(start_s * 250_000)
        sweep = chirp(60e3, 65e3, duration_s)
        samples[first : first + len(sweep)] += 0.03 * sweep
    path = make_spectrogram(samples)
    # The pair 10 ms apart is one call; 0.6 s is none.
    np.testing.assert_allclose(_detect(path, min_duration_s=0.01), [[1.0, 1.07], [5.0, 5.05]], atol=0.003)
    apart = _detect(path, min_duration_s=0.01, merge_gap_s=0.001, max_duration_s=1.0)
    np.testing.assert_allclose(apart[:, 0], [1.0, 1.04, 3.0, 5.0], atol=0.003)


def test_other_animals_by_settings_alone(make_spectrogram, rng):
    settings = {"low_hz": 200, "high_hz": 20_000, "hop_s": 0.005, "window_s": 0.02, "scale": "mel", "n_bands": 40}
    samples = 0.01 * rng.standard_normal(48_828 * 10)
    t = np.arange(int(0.2 * 48_828)) / 48_828
    samples[48_828 : 48_828 + len(t)] += 0.1 * np.sin(2 * np.pi * 3000 * t)
    found = _detect(make_spectrogram(samples, rate_hz=48_828, **settings))
    np.testing.assert_allclose(found, [[1.0, 1.2]], atol=0.015)


def _f1(pairs, least_iou):
    """F1 of one-to-one matches over (labels, found) of several recordings."""
    matches = total = 0
    for labels, found in pairs:
        overlap = np.minimum(labels[:, None, 1], found[:, 1]) - np.maximum(labels[:, None, 0], found[:, 0])
        union = np.maximum(labels[:, None, 1], found[:, 1]) - np.minimum(labels[:, None, 0], found[:, 0])
        good = (overlap > 0) & (overlap / union >= least_iou)
        matches += good[linear_sum_assignment(good, maximize=True)].sum()
        total += len(labels) + len(found)
    return 2 * matches / total


@pytest.mark.skipif(not LABELLED.is_dir(), reason="needs the labelled recordings of amvoc in ../shared/data")
def test_agreement_with_human_labels(make_spectrogram):
    pairs = []
    for number in (1, 2, 3, 8):
        samples, rate_hz = soundfile.read(LABELLED / f"rec_{number}.wav")
        found = _detect(make_spectrogram(samples, rate_hz=rate_hz, subtype="PCM_16"))
        pairs.append((np.loadtxt(LABELLED / f"gt_{number}.csv", delimiter=","), found))
    assert _f1(pairs, 0.0) >= 0.98
    assert _f1(pairs, 0.5) >= 0.95
