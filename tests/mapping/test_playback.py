import numpy as np
import xarray as xr

from pipeline.mapping.playback import band_power_on_bins, block_sums, playback_p, playback_selectivity, sound_side

DT = 0.01
LAGS = np.arange(-6, 7, 2)


def recording(generator, *, n_bins=20_000, n_bands=6):
    """Band power that changes every 0.2 s, with loudness that all bands share and that fades."""
    power = np.repeat(generator.standard_normal((n_bins // 20, n_bands)), 20, axis=0)
    loudness = np.repeat(generator.standard_normal(n_bins // 20), 20)
    return 5 * power + (8 * loudness - 10 * np.linspace(0, 1, n_bins))[:, None]


def test_tuned_units_are_found_others_not():
    generator = np.random.default_rng(0)
    power = recording(generator)
    sound = sound_side(power, bin_width_s=DT)
    n_bins = len(power)
    drive = np.ones((n_bins, 90)) * np.exp(np.cos(np.pi * np.linspace(0, 1, n_bins)))[:, None] * 0.06
    drive[:, :5] *= 1 + 0.6 * np.tanh(np.roll(sound.bands[:, 2], 4))[:, None]
    drive[:, 5:35] *= 1 + 0.6 * np.tanh(np.roll(sound.loudness / sound.loudness.std(), 4))[:, None]  # any sound
    counts = generator.poisson(drive)
    part = np.arange(n_bins) // 2000 % 2
    found = playback_selectivity(sound, counts - counts.mean(axis=0), part, lags=LAGS, bin_width_s=DT)
    assert (found.p[:5] <= 0.05).all()
    assert found.p.min() >= found.p_floor[0] > 0
    assert (found.p_a[:5] <= 0.05).all() and (found.p_a[5:] <= 0.05).mean() <= 0.17
    assert found.z[:, :5].argmax(axis=2).tolist() == [[2] * 5] * 3
    assert np.abs(found.lag[:5] - 4).max() <= 1
    for others in (found.p[5:35], found.p[35:]):
        assert (others <= 0.05).mean() <= 0.17  # 99.5 % of a binomial with 30 draws at 5 %
    response = block_sums(sound, counts - counts.mean(axis=0), lag=found.lag, bin_width_s=DT)
    assert response.sum(axis=0)[:5].argmax(axis=1).tolist() == [2] * 5
    assert len(response) == 20
    alone = playback_p(sound, counts - counts.mean(axis=0), lags=LAGS, bin_width_s=DT)
    np.testing.assert_array_equal(alone, found.p)


def test_bins_average_the_frames_that_fall_into_them():
    time_s = 0.0025 + 0.005 * np.arange(40)
    power = np.arange(160, dtype=np.float16).reshape(40, 4)
    usable = np.ones(40, bool)
    usable[4:6] = False
    spectrogram = xr.Dataset(
        {"power_db": (("time", "frequency"), power), "usable": ("time", usable)},
        coords={"time": time_s, "frequency": [100.0, 200.0, 300.0, 400.0]},
    )
    found = band_power_on_bins(
        spectrogram,
        to_session=lambda t: t + 1.0,
        edges_hz=np.array([50.0, 250.0, 450.0]),
        bin_start_s=0.99 + DT * np.arange(30),
        bin_width_s=DT,
    )
    assert np.isnan(found[0]).all() and np.isnan(found[3]).all() and np.isnan(found[21:]).all()
    expected = power[:2].astype(float).reshape(2, 2, 2).mean(axis=(0, 2))
    np.testing.assert_allclose(found[1], expected)
