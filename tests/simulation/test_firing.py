import numpy as np
import pytest
from simulated_plan import SONG, pitch_at

from pipeline.seeds import numpy_generator
from pipeline.simulation.firing import Heard, draw_counts, draw_spikes
from pipeline.simulation.movement import FULL_SPEED_M_S, running_speed
from pipeline.simulation.neurons import Band, Unit
from pipeline.simulation.vocal_organ import sing

DURATION_S = 300.0
BAND, OTHER = Band(60_000, 70_000, 0.0), Band(78_000, 88_000, 0.0)
CLOCK = {"offset_s": 0.0, "drift_ppm": 0.0}


@pytest.fixture(scope="module")
def song():
    return sing(duration_s=DURATION_S, generator=numpy_generator(0, "song"), **SONG)


@pytest.fixture(scope="module")
def speed(song):
    return running_speed(
        song, duration_s=DURATION_S, correlation=0.0, generator=numpy_generator(0, "movement"), **CLOCK
    )


@pytest.fixture(scope="module")
def pitch_hz(song):
    """Pitch at the middle of each millisecond, 0 in silence."""
    return pitch_at(song, 0.001 * np.arange(300_000) + 0.0005)


def counts_of(unit, song, speed, *, n_units=20, bin_width_s=0.001, drift_sd=0.0):
    """Mean counts of many such units, so that their noise averages out."""
    heard = Heard.of(song, **CLOCK)
    options = {"n_bins": round(DURATION_S / bin_width_s), "bin_width_s": bin_width_s, "drift_sd": drift_sd}
    return np.mean(
        [
            draw_counts(unit, heard, speed_m_s=speed, generator=numpy_generator(seed, "spikes"), **options)
            for seed in range(n_units)
        ],
        axis=0,
    )


def spikes_of(unit, song, *, duration_s=DURATION_S, seed=0, drift_sd=0.25, **clock):
    heard, generator = Heard.of(song, **(CLOCK | clock)), numpy_generator(seed, "spikes")
    return draw_spikes(unit, heard, speed_m_s=None, duration_s=duration_s, drift_sd=drift_sd, generator=generator)


@pytest.mark.parametrize(
    "kind, gain, bands",
    [
        ("tuned", 3.0, (BAND,)),
        ("tuned", 1.5, (BAND,)),
        ("suppressed", 1 / 3, (BAND,)),
        ("multiplexed", 3.0, (BAND, OTHER)),
    ],
)
def test_the_measured_rate_ratio_is_the_gain_in_the_band_and_none_outside(kind, gain, bands, song, speed, pitch_hz):
    counts = counts_of(Unit(kind, 40.0, gain=gain, bands=bands), song, speed)
    silent = counts[pitch_hz == 0].mean()
    assert silent == pytest.approx(0.04, rel=0.02)
    for band in bands:
        inside = np.abs(pitch_hz - band.best_hz) < 700
        assert counts[inside].mean() / silent == pytest.approx(gain, rel=0.06)
        edge = (np.abs(pitch_hz - band.low_hz) < 300) | (np.abs(pitch_hz - band.high_hz) < 300)
        assert counts[edge].mean() / silent == pytest.approx((1 + gain) / 2, rel=0.08)
    outside = (pitch_hz > 0) & (pitch_hz < 52_000)
    assert counts[outside].mean() / silent == pytest.approx(1.0, abs=0.06)


def test_vocal_units_fire_alike_at_any_pitch(song, speed, pitch_hz):
    counts = counts_of(Unit("vocal", 40.0, gain=3.0), song, speed)
    for low_hz, high_hz in ((40_000, 60_000), (60_000, 75_000), (75_000, 110_000)):
        inside = (pitch_hz > low_hz) & (pitch_hz < high_hz)
        assert counts[inside].mean() / counts[pitch_hz == 0].mean() == pytest.approx(3.0, rel=0.06)


def test_unrelated_units_do_not_change_with_sound(song, speed, pitch_hz):
    counts = counts_of(Unit("unrelated", 40.0), song, speed)
    assert counts[pitch_hz > 0].mean() / counts[pitch_hz == 0].mean() == pytest.approx(1.0, abs=0.03)


def test_movement_units_follow_speed_and_not_sound(song, speed, pitch_hz):
    counts = counts_of(Unit("movement", 40.0, gain=3.0), song, speed)
    now = np.interp(0.001 * np.arange(300_000) + 0.0005, np.arange(len(speed)) / 20, speed)
    share = now / FULL_SPEED_M_S
    slope, base = np.polyfit(share, counts, 1)
    assert base == pytest.approx(0.04, rel=0.04) and slope / base == pytest.approx(2.0, rel=0.06)
    expected = 0.04 * (1 + 2 * share)  # at the same speed, sound makes no difference
    for sounding in (pitch_hz > 0, pitch_hz == 0):
        assert counts[sounding].sum() / expected[sounding].sum() == pytest.approx(1.0, abs=0.03)


def test_a_trend_changes_the_rate_over_the_session_and_keeps_its_mean(song, speed):
    counts = counts_of(Unit("unrelated", 40.0, trend=np.log(2)), song, speed, bin_width_s=0.01)
    first, last = counts[:3000].mean(), counts[-3000:].mean()
    assert last / first == pytest.approx(2**0.9, rel=0.04)  # means over tenths at both ends
    assert counts.mean() == pytest.approx(0.4, rel=0.02)


def test_drift_is_as_large_as_said():
    song = sing(duration_s=1200, generator=numpy_generator(1, "song"), **SONG)
    heard = Heard.of(song, **CLOCK)

    def slow_sd(drift_sd):
        """SD of the log rate over minutes, pooled over units, beside what counting noise leaves."""
        options = {"n_bins": 20, "bin_width_s": 60.0, "drift_sd": drift_sd, "speed_m_s": None}
        unit = Unit("unrelated", 400.0)
        counts = [draw_counts(unit, heard, generator=numpy_generator(s, "drift"), **options) for s in range(40)]
        return np.log(counts).std()

    assert slow_sd(0.0) < 0.05
    assert slow_sd(0.5) == pytest.approx(0.5, rel=0.2)


def test_counts_are_those_of_the_spikes_in_distribution(song, speed):
    unit = Unit("tuned", 20.0, gain=4.0, lag_s=0.013, bands=(BAND,))
    binned = [
        np.histogram(spikes_of(unit, song, seed=seed, drift_sd=0.0), bins=np.linspace(0, 300, 30_001))[0]
        for seed in range(20)
    ]
    counts = counts_of(unit, song, speed, bin_width_s=0.01)
    assert counts.mean() == pytest.approx(np.mean(binned), rel=0.02)
    # the same generator gives both the same excitability: what is left is the Poisson noise of 20 units
    coarse = [np.mean(one, axis=0).reshape(-1, 100).sum(axis=1) for one in (binned, [counts])]
    assert np.corrcoef(coarse)[0, 1] > 0.9
    one = counts_of(unit, song, speed, bin_width_s=0.1, n_units=1)
    assert one.var() / one.mean() == pytest.approx(np.var(binned[0].reshape(-1, 10).sum(axis=1)) / one.mean(), rel=0.2)


def test_bins_that_divide_no_window_of_excitability(song, speed):
    unit = Unit("unrelated", 50.0)
    fine, odd = (counts_of(unit, song, speed, bin_width_s=width, n_units=40) for width in (0.01, 0.03))
    both = fine[:29_997].reshape(-1, 9).sum(axis=1), odd[:9999].reshape(-1, 3).sum(axis=1)
    assert np.corrcoef(*both)[0, 1] > 0.5  # 0 were they different draws of excitability
    assert both[0].mean() == pytest.approx(both[1].mean(), rel=0.01)


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


def test_spikes_are_on_the_session_clock_and_follow_by_their_lag(song):
    unit = Unit("vocal", 0.5, gain=200.0, lag_s=0.05)
    spikes_s = spikes_of(unit, song, duration_s=310, offset_s=3.0, drift_ppm=5_000.0)
    mapped = pitch_at(song, (spikes_s - 0.05 - 3.0) / 1.005) > 0
    unmapped = pitch_at(song, spikes_s - 3.0) > 0
    assert mapped.mean() > 0.95 and unmapped.mean() < 0.7


def test_a_song_that_starts_before_the_neural_recording_and_ends_after_it(song):
    unit = Unit("vocal", 20.0, gain=10.0)
    spikes_s = spikes_of(unit, song, duration_s=100.0, offset_s=-50.0)
    counts = np.histogram(spikes_s, bins=np.linspace(0, 100, 100_001))[0]
    sounding = pitch_at(song, 50.0 + 0.001 * np.arange(100_000) + 0.0005) > 0
    assert counts[sounding].mean() / counts[~sounding].mean() == pytest.approx(10.0, rel=0.2)
