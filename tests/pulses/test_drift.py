import numpy as np
import pytest
from scipy.interpolate import LSQUnivariateSpline

from pipeline.pulses.drift import EVERY_PULSE, LINE, fit_drift, pieces_to_try


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_a_line_is_that_of_least_squares(rng):
    audio_s = np.sort(rng.uniform(0, 3600, 200))
    apart_s = 1.7e9 + 40e-6 * audio_s + 1e-3 * rng.standard_normal(200)
    slope, level = np.polyfit(audio_s - 1800, apart_s - 1.7e9, 1)
    t_s = np.array([-100.0, 1800.0, 5000.0])
    expected = 1.7e9 + level + slope * (t_s - 1800)
    np.testing.assert_allclose(fit_drift(audio_s, apart_s, n_pieces=LINE).at(t_s) - 1.7e9, expected - 1.7e9, atol=1e-6)


def test_pieces_are_a_cubic_spline_by_least_squares(rng):
    audio_s = np.sort(rng.uniform(0, 3600, 400))
    apart_s = 0.01 * np.sin(audio_s / 300) + 1e-4 * rng.standard_normal(400)
    ends = audio_s[np.linspace(0, 399, 9).round().astype(int)]
    expected = LSQUnivariateSpline(audio_s, apart_s, ends[1:-1], k=3)
    drift = fit_drift(audio_s, apart_s, n_pieces=8)
    np.testing.assert_allclose(drift.apart_s[1:-1], expected(drift.audio_s[1:-1]), atol=1e-9)
    t_s = np.linspace(audio_s[0], audio_s[-1], 999)
    # straight between knots h apart: off by up to h^2/8 |f''|, h = 450 / 8, f'' = 0.01 / 300^2
    assert np.abs(drift.at(t_s) - expected(t_s)).max() < 1e-4


def test_beyond_the_knots_the_mean_slope_goes_on():
    drift = fit_drift(np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0]), n_pieces=EVERY_PULSE)
    np.testing.assert_allclose(drift.at(np.array([-2.0, 0.5, 2.0, 5.0])), [-2.0, 1.0, 2.5, 5.0])


def test_a_curve_goes_on_a_little_beyond_its_ends_as_it_bent_there(rng):
    audio_s = np.sort(rng.uniform(0, 3600, 720))
    drift = fit_drift(audio_s, 5.7e-3 * np.sin(2 * np.pi * audio_s / 1800), n_pieces=10)
    t_s = np.r_[audio_s[0] - 60, audio_s[-1] + 60]
    # its slope there is 20 ppm, in the mean none
    np.testing.assert_allclose(drift.at(t_s), 5.7e-3 * np.sin(2 * np.pi * t_s / 1800), atol=4e-4)


@pytest.mark.parametrize("n_pulses", [30, 300, 3000])
def test_jitter_alone_does_not_bend_the_line(rng, n_pulses):
    audio_s = np.sort(rng.uniform(0, 3600, n_pulses))
    chosen = [pieces_to_try(audio_s, 3 + 5e-4 * rng.standard_normal(n_pulses))[0] for _ in range(6)]
    assert chosen.count(LINE) >= 5


def test_drift_that_bends_is_followed_through_the_jitter(rng):
    audio_s = np.sort(rng.uniform(0, 3600, 720))

    def truth(t_s):
        return 80e-6 * t_s + 5.7e-3 * np.sin(2 * np.pi * t_s / 1800)  # +-20 ppm in half an hour

    apart_s = truth(audio_s) + 5e-4 * rng.standard_normal(720)
    drift = fit_drift(audio_s, apart_s, n_pieces=pieces_to_try(audio_s, apart_s)[0])
    t_s = np.linspace(audio_s[0], audio_s[-1], 5000)
    assert np.abs(drift.at(t_s) - truth(t_s)).max() < 5e-4
    straight = np.abs(np.interp(t_s, audio_s, apart_s) - truth(t_s)).max()
    assert straight > 1e-3  # through every pulse


def test_few_pulses_are_a_line_or_taken_as_they_are():
    assert pieces_to_try(np.arange(2.0), np.zeros(2)) == [LINE]
    assert pieces_to_try(np.arange(7.0), np.zeros(7)) == [LINE, EVERY_PULSE]
    assert pieces_to_try(np.arange(50.0), np.zeros(50))[0] == LINE
