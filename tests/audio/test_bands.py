import librosa
import numpy as np
import pytest

from pipeline.audio.bands import band_filters
from pipeline.errors import InputError


def _filters(**settings):
    return band_filters(**({"rate_hz": 48_000, "n_window": 4096, "low_hz": 200, "high_hz": 20_000} | settings))


def test_mel_bands_are_those_of_librosa():
    bins, weights, centre_hz = _filters(scale="mel", n_bands=40)
    expected = librosa.filters.mel(sr=48_000, n_fft=4096, n_mels=40, fmin=200, fmax=20_000).T[bins]
    np.testing.assert_allclose(weights, expected / expected.sum(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(centre_hz, librosa.mel_frequencies(42, fmin=200, fmax=20_000)[1:-1])


@pytest.mark.parametrize("scale", ["mel", "log", "linear"])
def test_every_band_holds_its_centre_and_white_noise_is_flat(scale):
    # 96 bands of a short window: the lowest are narrower than a bin.
    bins, weights, centre_hz = _filters(scale=scale, n_bands=96, n_window=1024)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-5)
    assert (weights >= 0).all()
    bin_hz = np.arange(bins.start, bins.stop) * 48_000 / 1024
    assert (np.abs(bin_hz @ weights - centre_hz) < 60).all()


def test_log_bands_have_equal_ratios():
    _, _, centre_hz = _filters(scale="log", n_bands=30)
    np.testing.assert_allclose(centre_hz[1:] / centre_hz[:-1], 100 ** (1 / 31))


def test_linear_bands_share_out_the_bins():
    bins, weights, centre_hz = _filters(scale="linear", n_bands=99)
    np.testing.assert_allclose(centre_hz, 300 + 200 * np.arange(99))
    ramp = np.arange(bins.start, bins.stop) * 48_000 / 4096
    np.testing.assert_allclose(ramp @ weights, centre_hz, atol=1)


def test_bins_themselves_include_both_edges():
    bins, weights, frequency_hz = _filters(
        rate_hz=250_000, n_window=500, low_hz=30_000, high_hz=125_000, scale="linear", n_bands=None
    )
    assert weights is None
    assert (bins.start, bins.stop, frequency_hz[0], frequency_hz[-1]) == (60, 251, 30_000, 125_000)


def test_too_narrow_a_range():
    with pytest.raises(InputError, match=r"2 bins of 500 Hz[\s\S]*at least 4[\s\S]*audio\.window_s"):
        _filters(n_window=96, low_hz=1000, high_hz=1500, scale="linear", n_bands=None)
