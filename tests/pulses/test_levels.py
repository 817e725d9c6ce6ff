import numpy as np
import pytest
from scipy.signal import lfilter

from pipeline.errors import InputError
from pipeline.pulses.detection import pulse_onsets, spaced
from pipeline.pulses.levels import Histogram

RATE_HZ = 10_000


def pulses(onsets_s, *, duration_s=60.0, width_s=0.01, rate_hz=RATE_HZ):
    """Samples of a line that is 1 from each onset on for a while, else 0."""
    t_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    n_on = np.searchsorted(onsets_s, t_s, side="right") - np.searchsorted(onsets_s + width_s, t_s, side="right")
    return np.minimum(n_on, 1.0)


def found(samples, *, edge="", rate_hz=RATE_HZ, block_samples=4096):
    samples = np.asarray(samples, np.float32)

    def blocks():
        return (samples[i : i + block_samples] for i in range(0, len(samples), block_samples))

    (places,), level = pulse_onsets([blocks], rate_hz=rate_hz, edge=edge, where="a test")
    return spaced(places / rate_hz), level


@pytest.fixture
def onsets_s(rng):
    return np.cumsum(rng.uniform(0.3, 2.0, 40))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def change(name, line, rng):
    noise = rng.standard_normal(len(line))
    return {
        "clean": line,
        "noisy": line + 0.08 * noise,
        "upside down": 5 - 2 * line + 0.1 * noise,
        "faint on an offset": 0.5 + 1e-3 * line,
        "hum": line + 0.15 * np.sin(2 * np.pi * 50 * np.arange(len(line)) / RATE_HZ) + 0.01 * noise,
        "without its mean (short)": lfilter([1, -1], [1, -np.exp(-1 / (0.002 * RATE_HZ))], line) + 0.02 * noise,
        "without its mean (long)": lfilter([1, -1], [1, -np.exp(-1 / (0.05 * RATE_HZ))], line) + 0.02 * noise,
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "clean",
        "noisy",
        "upside down",
        "faint on an offset",
        "hum",
        "without its mean (short)",
        "without its mean (long)",
    ],
)
def test_every_onset_is_found_to_a_fraction_of_a_sample(onsets_s, rng, name):
    found_s, _ = found(change(name, pulses(onsets_s), rng))
    assert len(found_s) == len(onsets_s)
    assert np.abs(found_s - onsets_s).max() < 1.2 / RATE_HZ
    assert abs((found_s - onsets_s).mean()) < 0.3 / RATE_HZ


def test_slow_edges_are_timed_between_samples(onsets_s, rng):
    rise_s = 0.003
    t_s = np.arange(60 * RATE_HZ) / RATE_HZ
    line = np.zeros(len(t_s))
    for onset_s in onsets_s:
        line += np.clip((t_s - onset_s) / rise_s, 0, 1) - np.clip((t_s - onset_s - 0.05) / rise_s, 0, 1)
    found_s, _ = found(line + 1e-3 * rng.standard_normal(len(line)))
    np.testing.assert_allclose(found_s, onsets_s + rise_s / 2, atol=3e-5)  # a third of a sample


def test_edges_may_be_chosen(onsets_s):
    line = pulses(onsets_s, width_s=0.02)
    for samples, first, last in ((line, "rising", "falling"), (-line, "falling", "rising")):
        np.testing.assert_allclose(found(samples, edge=first)[0], onsets_s, atol=1e-4)
        np.testing.assert_allclose(found(samples, edge=last)[0], onsets_s + 0.02, atol=1e-4)


def test_levels_that_last_equally_long_count_from_the_rise(onsets_s):
    for polarity in (1, -1):
        line = pulses(onsets_s[::2], width_s=1.1) * polarity
        np.testing.assert_allclose(found(line, edge="rising")[0], found(line)[0])


def test_a_pulse_that_is_on_at_the_start_has_no_onset_and_one_just_after_it_has(onsets_s):
    line = pulses(np.r_[0.0, onsets_s])
    np.testing.assert_allclose(found(line)[0], onsets_s, atol=1e-4)
    line[:3] = 0
    found_s, _ = found(line)
    assert len(found_s) == len(onsets_s) + 1 and found_s[0] == pytest.approx(2.5 / RATE_HZ, rel=1e-3)


@pytest.mark.parametrize("block_samples", [2, 7, 100_000_000])
def test_blocks_do_not_matter(onsets_s, rng, block_samples):
    line = pulses(onsets_s[:2], duration_s=2.0) + 0.05 * rng.standard_normal(2 * RATE_HZ)
    np.testing.assert_allclose(found(line, block_samples=block_samples)[0], found(line)[0], atol=1e-8)


def test_a_few_short_pulses_in_ten_minutes(rng):
    onsets_s = np.array([3.2, 200.1, 577.7])  # of the samples, 3 in 100 000 are in a pulse
    line = pulses(onsets_s, duration_s=600.0, width_s=0.002) + 0.05 * rng.standard_normal(600 * RATE_HZ)
    np.testing.assert_allclose(found(line)[0], onsets_s, atol=1e-4)


def test_bounces_are_one_pulse():
    assert list(spaced(np.array([1.0, 1.0004, 3.0, np.nan, 2.0]))) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("samples", "part"),
    [
        (np.zeros(1000), "values from 0 to 0"),
        (np.full(1000, np.nan), "no number"),
        (np.random.default_rng(0).normal(2.0, 1.0, 200_000), r"values from -\d"),
        (np.sin(np.arange(200_000) / 100), "values from -1 to 1"),
        (np.random.default_rng(0).integers(0, 2, 200_000), "too often"),
    ],
)
def test_a_channel_without_pulses_is_refused_with_its_range(samples, part):
    with pytest.raises(InputError, match=part) as raised:
        found(samples)
    assert "a test" in str(raised.value)


def test_the_histogram_grows_with_its_range(rng):
    histogram = Histogram()
    for scale in (1e-6, 1e3, 1e-3, 1e6):
        histogram.add(np.append(rng.normal(scale=scale, size=1000), [np.nan, np.inf, 1e39]))
    assert histogram._counts.sum() == 4000
    assert histogram.high > 1e6 > 0 > histogram.low


def test_absurd_samples_do_not_hide_pulses(onsets_s):
    line = pulses(onsets_s)
    line[5000] = 1e35
    line[7000:7003] = np.nan
    assert len(found(line)[0]) >= len(onsets_s)
