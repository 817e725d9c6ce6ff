from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from pipeline.audio.contours import trace_contour
from pipeline.audio.features import DEFINITIONS, clipped_shares, measure_calls, number_bouts, write_calls
from pipeline.audio.spectrogram_file import open_spectrogram


def _measured(scan, start_s, stop_s, tmp_path, labels=None):
    calls = zip(start_s, stop_s, labels or [""] * len(start_s), strict=True)
    table = measure_calls(scan, calls, spectrogram=None, bout_gap_s=1.0)
    write_calls(table, tmp_path / "calls.parquet")
    return pd.read_parquet(tmp_path / "calls.parquet")


def test_features_of_a_known_sweep(make_scan, noise, chirp, tmp_path):
    samples = noise(2)
    samples[250_000 : 250_000 + 20_000] += 0.05 * chirp(50e3, 90e3, 0.08)
    call = _measured(make_scan(samples), [1.0], [1.08], tmp_path).iloc[0]
    truth_hz = 50e3 + 40e3 * (call.contour_s - 1.0) / 0.08
    inner = slice(4, -4)  # at the edges windows hold half a sweep
    assert np.abs(call.contour_hz - truth_hz)[inner].max() < 400
    assert np.median(np.abs(call.contour_hz - truth_hz)) < 100
    assert call.slope_hz_s == pytest.approx(40e3 / 0.08, rel=0.02)
    assert (call.mean_hz, call.median_hz, call.centroid_hz) == pytest.approx((70e3, 70e3, 70e3), rel=0.01)
    assert (call.low_hz, call.high_hz, call.delta_hz) == pytest.approx((50e3, 90e3, 40e3), abs=1000)
    assert call.bandwidth_hz == pytest.approx(0.9 * 40e3, rel=0.05)
    assert call.sinuosity == pytest.approx(1, abs=0.02)
    assert (call.duration_s, call.contour_duration_s) == pytest.approx((0.08, 0.08), abs=0.001)
    assert call.n_jumps == 0
    assert call.entropy == pytest.approx(np.log(82) / np.log(195), abs=0.03)  # 40 kHz are 82 of 195 bins


def test_level_and_tonality_of_a_tone(make_scan, noise, tmp_path):
    samples = noise(3)
    frequency_hz = 140 * 250_000 / 512
    t = np.arange(12_500) / 250_000
    samples[250_000 : 250_000 + len(t)] += 0.1 * np.sin(2 * np.pi * frequency_hz * t)
    table = _measured(make_scan(samples), [1.005, 2.005], [1.045, 2.045], tmp_path, ["tone", "noise"])
    tone, noisy = table.iloc[0], table.iloc[1]
    # In a Hann window of n samples a tone of amplitude a has the power a^2 / 4 sum(w)^2, noise of variance s^2 has
    # s^2 sum(w^2); sum(w)^2 = n^2 / 4 and sum(w^2) = 3 n / 8.
    assert tone.level_db == pytest.approx(10 * np.log10(0.1**2 / 0.01**2 * 512 / 6), abs=0.5)
    assert tone.peak_hz == pytest.approx(frequency_hz, abs=50)
    assert tone.entropy < 0.3
    assert tone.tonality > noisy.tonality + 0.3
    assert tone.confidence > 10 > noisy.confidence
    assert table["label"].tolist() == ["tone", "noise"]
    assert table["bout"].tolist() == [0, 0]


def test_loud_parts_weigh_more_and_jumps_are_counted(make_scan, noise, chirp, tmp_path):
    samples = noise(2)
    for i, (frequency_hz, amplitude) in enumerate(((60e3, 0.02), (80e3, 0.06), (70e3, 0.02))):
        samples[250_000 + 5000 * i :][:5000] += amplitude * chirp(frequency_hz, frequency_hz, 0.02)
    call = _measured(make_scan(samples), [1.0], [1.06], tmp_path).iloc[0]
    assert call.n_jumps == 2
    assert call.peak_hz == pytest.approx(80e3, abs=100)
    assert call.median_hz == pytest.approx(70e3, abs=300)
    assert call.centroid_hz == pytest.approx((60 * 2 + 80 * 6 + 70 * 2) / 10 * 1e3, rel=0.01)
    assert call.sinuosity == pytest.approx((60 + 20 + 10) / np.hypot(60, 10), rel=0.03)


def test_calls_shorter_than_a_hop_are_measured_too(make_scan, noise, tmp_path):
    table = _measured(make_scan(noise(0.5)), [0.2001, 0.4999], [0.2002, 0.5], tmp_path)
    assert (table["contour_s"].map(len) == 1).all()
    assert table["slope_hz_s"].isna().all()
    assert (table["sinuosity"] == 1).all()


def test_no_calls_keep_columns_and_types(make_scan, noise, tmp_path):
    empty = _measured(None, [], [], tmp_path)
    full = _measured(make_scan(noise(0.5)), [0.1], [0.2], tmp_path)
    assert len(empty) == 0
    assert list(empty) == list(full) == list(DEFINITIONS)
    assert empty.dtypes.tolist() == full.dtypes.tolist()
    assert (empty["call"].dtype, empty["start_s"].dtype) == (np.int64, np.float64)


def test_annotations_without_sound_and_endless_ones(make_scan, noise, tmp_path):
    scan = make_scan(noise(1), noise(11), start_s=(0.0, 40.0))
    with pytest.warns(UserWarning, match="1 of 2 calls lie where there is no sound"):
        table = _measured(scan, [0.5, 20.0], [0.6, 20.1], tmp_path)
    assert table["peak_hz"].notna().tolist() == [True, False]
    with pytest.warns(UserWarning, match="1 calls last longer than 10 s"):
        table = _measured(scan, [40.1], [50.9], tmp_path)
    assert table["contour_s"][0].max() < 50.11


def test_share_of_clipped_frames(make_spectrogram, noise):
    samples = noise(2)
    samples[250_000:255_000] = 1.0
    with open_spectrogram(make_spectrogram(samples, subtype="PCM_16")) as spectrogram:
        shares = clipped_shares(spectrogram, np.array([0.5, 0.99, 1.005]), np.array([0.6, 1.01, 1.015]))
    np.testing.assert_allclose(shares, [0, 0.5, 1], atol=0.1)


def test_bouts_end_by_silence():
    start_s, stop_s = np.array([0, 0.5, 2.0, 2.2, 5.0]), np.array([0.1, 1.9, 2.1, 2.3, 5.1])
    np.testing.assert_array_equal(number_bouts(start_s, stop_s, 1.0), [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(number_bouts(start_s, stop_s, 0.3), [0, 1, 1, 1, 2])


def test_contour_leaves_out_what_links_to_nothing():
    frequency_hz = np.linspace(50e3, 60e3, 51)
    saliency, excess = np.zeros((12, 51)), np.zeros((12, 51))
    path = np.array([5, 6, 7, 8, 40, 9, 10, 30, 31, 32, 33, 0])  # frame 4 is noise, frame 7 starts a new piece
    for frame, point in enumerate(path[:-1]):
        saliency[frame, point], excess[frame, point] = 5.0, 1.0
    frames, contour_hz, n_jumps = trace_contour(saliency=saliency, excess=excess, frequency_hz=frequency_hz)
    assert frames.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    np.testing.assert_allclose(contour_hz, frequency_hz[path[frames]])
    assert n_jumps == 1


def test_the_definitions_are_in_the_file_and_in_the_data_dictionary(make_scan, noise, tmp_path):
    _measured(make_scan(noise(0.5)), [0.1], [0.2], tmp_path)
    schema = pyarrow.parquet.read_schema(tmp_path / "calls.parquet")
    described = {field.name: field.metadata[b"description"].decode() for field in schema}
    assert described == DEFINITIONS
    dictionary = (Path(__file__).parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    for column, definition in DEFINITIONS.items():
        assert f"| `{column}` | {definition} |" in dictionary
