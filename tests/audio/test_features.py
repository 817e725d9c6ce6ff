import numpy as np
import pandas as pd
import pytest

from pipeline.audio.contours import trace_contour
from pipeline.audio.features import DEFINITIONS, measure_calls, number_bouts, write_calls


def _measured(path, start_s, stop_s, tmp_path, labels=None):
    labels = labels or [""] * len(start_s)
    table = measure_calls(path, start_s=np.array(start_s), stop_s=np.array(stop_s), labels=labels, bout_gap_s=1.0)
    write_calls(table, tmp_path / "calls.parquet")
    return pd.read_parquet(tmp_path / "calls.parquet")


def test_features_of_a_known_sweep(make_spectrogram, noise, chirp, tmp_path):
    samples = noise(2)
    samples[250_000 : 250_000 + 20_000] += 0.05 * chirp(50e3, 90e3, 0.08)
    call = _measured(make_spectrogram(samples), [1.0], [1.08], tmp_path).iloc[0]
    truth_hz = 50e3 + 40e3 * (call.contour_s - 1.0) / 0.08
    inner = slice(2, -2)  # at the edges windows hold half a sweep
    assert np.abs(call.contour_hz - truth_hz)[inner].max() < 300
    assert np.median(np.abs(call.contour_hz - truth_hz)) < 100
    assert call.slope_hz_s == pytest.approx(40e3 / 0.08, rel=0.02)
    assert call.mean_hz == pytest.approx(70e3, rel=0.01)
    assert (call.low_hz, call.high_hz) == pytest.approx((50e3, 90e3), abs=1000)
    assert call.bandwidth_hz == pytest.approx(0.9 * 40e3, rel=0.05)
    assert call.sinuosity == pytest.approx(1, abs=0.01)
    assert call.duration_s == pytest.approx(0.08)
    assert call.entropy == pytest.approx(np.log(82) / np.log(195), abs=0.03)  # 40 kHz are 82 of 195 bins


def test_level_and_tonality_of_a_tone(make_spectrogram, noise, tmp_path):
    samples = noise(3)
    frequency_hz = 140 * 250_000 / 512
    t = np.arange(12_500) / 250_000
    samples[250_000 : 250_000 + len(t)] += 0.1 * np.sin(2 * np.pi * frequency_hz * t)
    table = _measured(make_spectrogram(samples), [1.005, 2.005], [1.045, 2.045], tmp_path, ["tone", "noise"])
    tone, noisy = table.iloc[0], table.iloc[1]
    # Median power of noise of variance s^2 in a Hann bin: 2 ln 2 s^2 sum(w^2) / sum(w)^2, with 1.5 / 512 for the sums.
    floor_db = 10 * np.log10(2 * np.log(2) * 0.01**2 * 1.5 / 512)
    assert tone.level_db == pytest.approx(10 * np.log10(0.1**2 / 2) - floor_db, abs=0.5)
    assert tone.peak_hz == pytest.approx(frequency_hz, abs=50)
    assert tone.entropy < 0.3
    assert tone.tonality > noisy.tonality + 0.3
    assert tone.confidence > 10 > noisy.confidence
    assert table["label"].tolist() == ["tone", "noise"]
    assert table["bout"].tolist() == [0, 0]


def test_calls_shorter_than_a_hop_are_measured_too(make_spectrogram, noise, tmp_path):
    table = _measured(make_spectrogram(noise(0.5)), [0.2001, 0.4999], [0.2002, 0.5], tmp_path)
    assert (table["contour_s"].map(len) == 1).all()
    assert table["slope_hz_s"].isna().all()
    assert (table["sinuosity"] == 1).all()


def test_no_calls_keep_columns_and_types(make_spectrogram, noise, tmp_path):
    path = make_spectrogram(noise(0.5))
    empty = _measured(path, [], [], tmp_path)
    full = _measured(path, [0.1], [0.2], tmp_path)
    assert len(empty) == 0
    assert list(empty) == list(full) == list(DEFINITIONS)
    assert empty.dtypes.tolist() == full.dtypes.tolist()
    assert (empty["call"].dtype, empty["start_s"].dtype) == (np.int64, np.float64)


def test_bouts_end_by_silence():
    start_s, stop_s = np.array([0, 0.5, 2.0, 2.2, 5.0]), np.array([0.1, 1.9, 2.1, 2.3, 5.1])
    np.testing.assert_array_equal(number_bouts(start_s, stop_s, 1.0), [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(number_bouts(start_s, stop_s, 0.3), [0, 1, 1, 1, 2])


def test_contour_is_the_best_of_all_paths(rng):
    saliency = rng.normal(0, 2, (5, 6))
    frequency_hz = np.linspace(50e3, 60e3, 6)  # 5 % are 3 kHz: a move by one bin is free of the jump's cost
    frames, contour_hz = trace_contour(saliency=saliency, excess=np.zeros((5, 6)), frequency_hz=frequency_hz)
    grid = np.stack(np.meshgrid(*[np.arange(6)] * 5, indexing="ij"), -1).reshape(-1, 5)
    moves = np.abs(np.diff(grid, axis=1))
    cost = np.where(moves <= 1, 0.2 * moves, 4.0).sum(axis=1)
    best = grid[(saliency[np.arange(5), grid].sum(axis=1) - cost).argmax()]
    np.testing.assert_allclose(contour_hz, frequency_hz[best][frames])
    assert len(frames) >= 3
