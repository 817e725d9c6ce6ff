import numpy as np
import pytest

from pipeline.evaluation.features import coarsened, lagged_power, principal_directions


def test_neighbours_are_averaged():
    values = np.arange(10.0)[None]
    np.testing.assert_allclose(coarsened(values, axis=1, most=5), [[0.5, 2.5, 4.5, 6.5, 8.5]])
    np.testing.assert_allclose(coarsened(values, axis=1, most=3), [[1, 4, 7.5]])
    assert coarsened(values, axis=1, most=10) is values


@pytest.mark.parametrize("bin_s", [np.arange(4) * 0.01 + 0.03, np.arange(4) * 0.01 + 0.06])
def test_a_click_appears_at_the_lag_between_click_and_bin(bin_s):
    frame_s = np.arange(10) * 0.01 + 0.005
    spectrogram = np.zeros((1, 2, 10), np.float32)
    spectrogram[0, 1, 6] = 8  # at 65 ms
    settings = {"frame_s": frame_s, "bin_s": bin_s, "bin_width_s": 0.01, "most_frames": 32}
    features = lagged_power(spectrogram, band_mean=np.zeros(2), **settings).reshape(4, -1, 2)
    lags = [int(row[:, 1].argmax()) for row in features if row[:, 1].max() > 4]
    assert len(lags) >= 3
    np.testing.assert_array_equal(np.diff(lags), -1)  # one bin later, one lag earlier
    assert features[..., 1].max() == pytest.approx(8) and not features[..., 0].any()


def test_outside_the_clip_features_are_the_mean():
    spectrogram = np.full((1, 1, 10), 5.0, np.float32)
    features = lagged_power(
        spectrogram,
        frame_s=np.arange(10) * 0.01 + 0.005,
        bin_s=np.array([0.0, 0.09]),
        bin_width_s=0.01,
        band_mean=np.array([2.0]),
        most_frames=32,
    )
    for row in features[0]:
        assert set(np.round(row, 4)) == {0.0, 3.0}


def test_counts_far_from_the_sound_still_get_features():
    features = lagged_power(
        np.ones((2, 3, 8), np.float32),
        frame_s=np.arange(8) * 0.01,
        bin_s=np.array([0.5, 0.9]),
        bin_width_s=0.01,
        band_mean=np.zeros(3),
        most_frames=8,
    )
    assert features.shape[:2] == (2, 2) and features.shape[2] > 0


def test_principal_directions_are_those_of_largest_variance():
    features = np.random.default_rng(0).normal(0, [1, 5, 0.1], (500, 3))
    assert np.abs(principal_directions(features, most=1)).argmax() == 1
