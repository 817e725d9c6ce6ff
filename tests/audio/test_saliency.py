import numpy as np
import pytest
from scipy.ndimage import median_filter, minimum_filter1d

from pipeline.audio.saliency import SPAN_FRAMES, UNITS_AT_ONCE, Multitaper, features, fit_noise, median_of_five


@pytest.fixture
def tool():
    return Multitaper(rate_hz=250_000, window_s=0.002048, low_hz=30_000, high_hz=125_000, quantum=1e-9)


def test_running_median_is_that_of_scipy(rng):
    values = rng.standard_normal((7, 40)).astype(np.float32)
    np.testing.assert_array_equal(median_of_five(values), median_filter(values, size=(1, 5), mode="nearest"))


def test_features_are_the_least_of_five_smoothed_bins(rng):
    values = rng.standard_normal((3, SPAN_FRAMES, 40)).astype(np.float32)
    mean = (values[:, :-2] + values[:, 1:-1] + values[:, 2:]) / 3
    expected = minimum_filter1d(median_filter(mean, size=(1, 1, 5), mode="nearest"), 5, axis=2, mode="nearest")
    np.testing.assert_allclose(features(values), expected, atol=1e-6)


def test_levels_of_noise_and_of_a_tone(tool, rng):
    windows = rng.standard_normal((2000, tool.n_window)).astype(np.float32)
    levels = tool.frame_levels(windows)
    # The amplitude of complex noise of unit power has the mean sqrt(pi) / 2.
    assert (10 ** (levels / 20)).mean() == pytest.approx(np.sqrt(np.pi) / 2, rel=0.01)
    tone = np.sin(2 * np.pi * 70e3 * np.arange(tool.n_window) / 250_000).astype(np.float32)
    assert tool.frequency_hz[tool.frame_levels(tone[None])[0].argmax()] == pytest.approx(70e3, abs=3 * 250_000 / 512)
    assert tool.frequency_hz[tool.band][0] >= 30_000
    assert tool.frequency_hz[tool.below][-1] <= 20_000


def test_levels_do_not_hang_on_what_else_is_computed(tool, rng):
    samples = rng.standard_normal(tool.span_samples(UNITS_AT_ONCE)).astype(np.float32)
    expected = tool.unit_levels(samples)
    for unit in range(UNITS_AT_ONCE):
        alone = tool.unit_levels(samples[unit * tool.unit_samples :][: tool.span_samples()])
        np.testing.assert_array_equal(alone[0], expected[unit])
    windows = np.lib.stride_tricks.sliding_window_view(samples, tool.n_window)[:: tool.n_hop]
    np.testing.assert_array_equal(tool.frame_levels(windows[5:9]), expected[0, 5:9])


@pytest.mark.parametrize(
    ("rate_hz", "low_hz", "window_s"), [(250_000, 30_000, 0.002), (44_100, 300, 0.002), (300_000, 30_000, 0.002048)]
)
def test_levels_are_those_of_sine_tapers(rng, rate_hz, low_hz, window_s):
    """Also in bins next to 0 and to the Nyquist frequency, and for an odd number of samples."""
    tool = Multitaper(rate_hz=rate_hz, window_s=window_s, low_hz=low_hz, high_hz=rate_hz / 2, quantum=1e-9)
    windows = rng.standard_normal((6, tool.n_window)).astype(np.float32)
    n, order = tool.n_window, np.arange(1, 6)[:, None]
    tapers = np.sqrt(2 / n) * np.sin(np.pi * order * np.arange(n) / n)
    amplitude = np.abs(np.fft.rfft(windows[:, None] * tapers, axis=2)).mean(axis=1)[:, tool.bins]
    np.testing.assert_allclose(tool.frame_levels(windows), 20 * np.log10(amplitude), atol=1e-3)


def test_noise_is_standardised_and_a_long_tone_belongs_to_it(tool, rng):
    n_units = 600
    windows = rng.standard_normal((n_units, tool.n_window)).astype(np.float32)
    on = np.zeros(n_units, bool)
    on[200:400] = True
    windows[on] += 5 * np.sin(2 * np.pi * 70e3 * np.arange(tool.n_window) / 250_000).astype(np.float32)
    levels = tool.frame_levels(windows)[:, tool.band]
    everywhere = np.ones(n_units, bool)
    noise = fit_noise(levels, sound=everywhere, inner=everywhere, first_unit=0, n_steady=65)
    over = np.array([noise.standardised(levels[[i], None], np.array([i]))[0, 0] for i in range(n_units)])
    assert np.abs(np.median(over, axis=0)).max() < 0.5
    assert np.median(over[on], axis=0).max() < 1.5  # without the running floor, more than 10
    assert len(noise.steady_bins) < 20
