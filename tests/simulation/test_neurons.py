import numpy as np
import pytest
from scipy.stats import kstest

from pipeline.seeds import numpy_generator
from pipeline.simulation.neurons import CLUSTERS, Band, Unit, draw_spikes, draw_units, pitch_at, planted_bands
from pipeline.simulation.vocal_organ import sing

COUNTS = {"units_per_band": 5, "n_vocal": 4, "n_unrelated": 6}


@pytest.fixture(scope="module")
def song():
    return sing(duration_s=300, generator=numpy_generator(0, "song"))


def spikes_of(unit, song, duration_s=300.0, seed=0):
    generator = numpy_generator(seed, "spikes")
    return draw_spikes(unit, song, duration_s=duration_s, offset_s=0.0, drift_ppm=0.0, generator=generator)


def pooled_spikes(unit, song):
    """Spikes of ten such units: their slow drifts, which a habituating song would confound, average out."""
    return np.sort(np.concatenate([spikes_of(unit, song, seed=seed) for seed in range(10)]))


def rate_while(spikes_s, times_s, width_s, chosen):
    counts = np.histogram(spikes_s, bins=np.append(times_s - width_s / 2, times_s[-1] + width_s / 2))[0]
    return counts[chosen].mean() / width_s


def test_drive_is_gain_at_best_and_half_at_the_edges():
    tuned = Unit("tuned", 4.0, gain=5.0, cluster=0, band=Band(60_000, 70_000, 0.0))
    assert tuned.drive(np.array([65_000.0, 60_000.0, 70_000.0, 110_000.0])) == pytest.approx([5, 3, 3, 1], abs=1e-3)
    assert np.all(Unit("vocal", 4.0, gain=5.0).drive(np.array([4e4, 9e4])) == 5)
    assert np.all(Unit("unrelated", 4.0).drive(np.array([4e4, 9e4])) == 1)


def test_rates_are_log_normal_with_median_4_hz():
    units = draw_units(
        tuning="bands", gain=4.0, units_per_band=50, n_vocal=50, n_unrelated=50, generator=numpy_generator(1)
    )
    rates_hz = np.array([unit.baseline_hz for unit in units])
    assert np.median(rates_hz) == pytest.approx(4.0, rel=0.05)
    assert kstest(np.log(rates_hz), "norm", args=(np.log(4), 0.5)).pvalue > 0.05


def test_units_of_a_cluster_share_band_and_lag():
    units = draw_units(tuning="bands", gain=4.0, **COUNTS, generator=numpy_generator(2))
    assert [unit.kind for unit in units].count("vocal") == 4 and [u.kind for u in units].count("unrelated") == 6
    for cluster, band in enumerate(CLUSTERS):
        members = [unit for unit in units if unit.cluster == cluster]
        assert len(members) == 5
        assert np.mean([u.band.best_hz for u in members]) == pytest.approx(band.best_hz, abs=1_000)
        assert np.mean([u.lag_s for u in members]) == pytest.approx(band.lag_s, abs=0.004)


def test_continuum_spreads_best_frequencies_evenly():
    units = draw_units(
        tuning="continuum", gain=4.0, units_per_band=30, n_vocal=0, n_unrelated=0, generator=numpy_generator(2)
    )
    (band,) = planted_bands(tuning="continuum", gain=4.0)
    share = [(u.band.best_hz - band.low_hz) / (band.high_hz - band.low_hz) for u in units]
    assert kstest(share, "uniform").pvalue > 0.5
    assert {u.cluster for u in units} == {0}


def test_firing_rises_in_the_band_only(song):
    times_s = np.arange(0.0005, 300, 0.001)
    sounding, pitch_hz = pitch_at(song, times_s)
    inside, outside = sounding.copy(), sounding.copy()
    inside[sounding] = (pitch_hz > 63_000) & (pitch_hz < 67_000)
    outside[sounding] = (pitch_hz < 50_000) | (pitch_hz > 80_000)
    tuned = Unit("tuned", 20.0, gain=6.0, cluster=0, band=Band(60_000, 70_000, 0.0))
    spikes_s = pooled_spikes(tuned, song)
    silent_hz = rate_while(spikes_s, times_s, 0.001, ~sounding)
    assert rate_while(spikes_s, times_s, 0.001, inside) / silent_hz == pytest.approx(5.6, rel=0.1)
    assert rate_while(spikes_s, times_s, 0.001, outside) / silent_hz == pytest.approx(1.0, abs=0.15)
    vocal = pooled_spikes(Unit("vocal", 20.0, gain=6.0), song)
    assert rate_while(vocal, times_s, 0.001, inside) == pytest.approx(
        rate_while(vocal, times_s, 0.001, outside), rel=0.1
    )


def test_gain_1_leaves_nothing_to_find(song):
    assert planted_bands(tuning="bands", gain=1.0) == []
    units = draw_units(tuning="bands", gain=1.0, **COUNTS, generator=numpy_generator(5))
    assert len(units) == 30 and {(u.kind, u.cluster, u.gain) for u in units} == {("unrelated", -1, 1.0)}
    times_s = np.arange(0.0005, 300, 0.001)
    sounding, _ = pitch_at(song, times_s)
    spikes_s = np.sort(np.concatenate([spikes_of(unit, song, seed=seed) for seed, unit in enumerate(units)]))
    ratio = rate_while(spikes_s, times_s, 0.001, sounding) / rate_while(spikes_s, times_s, 0.001, ~sounding)
    assert ratio == pytest.approx(1.0, abs=0.05)


def test_counts_are_overdispersed_and_rates_kept(song):
    spikes_s = spikes_of(Unit("unrelated", 50.0), song, duration_s=400.0)
    assert len(spikes_s) / 400 == pytest.approx(50, rel=0.05)
    counts = np.histogram(spikes_s, bins=np.linspace(0, 400, 4001))[0]
    # Negative binomial with shape 2 and mean 5: variance / mean = 1 + 5 / 2; drift adds a little.
    assert 3.0 < counts.var() / counts.mean() < 5.0


def test_spike_times_are_distinct_samples_of_the_spike_clock(song):
    spikes_s = spikes_of(Unit("unrelated", 40.0), song)
    samples = spikes_s * 30_000
    assert np.abs(samples - np.rint(samples)).max() < 1e-6
    assert np.diff(samples).min() > 0.5 and spikes_s[0] >= 0 and spikes_s[-1] < 300


def test_spikes_are_on_the_session_clock(song):
    unit = Unit("vocal", 0.5, gain=200.0, lag_s=0.0)
    generator = numpy_generator(0, "spikes")
    spikes_s = draw_spikes(unit, song, duration_s=310, offset_s=3.0, drift_ppm=5_000.0, generator=generator)
    mapped, _ = pitch_at(song, (spikes_s - 3.0) / 1.005)
    unmapped, _ = pitch_at(song, spikes_s - 3.0)
    assert mapped.mean() > 0.95 and unmapped.mean() < 0.7
