import numpy as np
import pytest
from scipy.stats import norm, poisson

from pipeline.evaluation.scores import (
    Ratio,
    bits_per_bin,
    bits_per_spike,
    clip_mean,
    explained_count_variance,
    explained_variance,
    mean_counts,
    peak_frequency_error,
    resampling_blocks,
)


def test_bits_per_spike_is_the_poisson_likelihood_ratio_per_spike():
    generator = np.random.default_rng(0)
    predicted = generator.uniform(0.05, 2, (30, 3, 4))
    counts = generator.poisson(predicted).astype(float)
    counts[generator.random(counts.shape) < 0.2] = np.nan
    reference = np.array([0.5, 1.0, 0.7])
    score = bits_per_spike(counts=counts, predicted=predicted, reference=reference, blocks=np.arange(30) // 5)
    for unit in range(3):
        seen = np.isfinite(counts[:, unit])
        spikes, rate = counts[:, unit][seen], predicted[:, unit][seen]
        gain = poisson.logpmf(spikes, rate).sum() - poisson.logpmf(spikes, reference[unit]).sum()
        assert score.value[unit] == pytest.approx(gain / np.log(2) / spikes.sum())
    pooled = np.sum(score.value * score.denominator.sum(axis=0)) / np.nansum(counts)
    assert score.pooled().value == pytest.approx(pooled)


def test_the_true_rate_scores_its_expected_information():
    generator = np.random.default_rng(1)
    true = generator.choice([0.05, 0.4], (4000, 1, 10))
    mean = true.mean()
    expected = np.sum(true * np.log2(true / mean) - (true - mean) / np.log(2)) / true.sum()
    score = bits_per_spike(
        counts=generator.poisson(true), predicted=true, reference=np.array([mean]), blocks=np.arange(4000) // 40
    )
    assert abs(score.value[0] - expected) < 4 * score.se[0]
    assert score.se[0] < 0.05 * expected


def test_a_prediction_of_no_rate_is_refused():
    ones = np.ones((2, 1, 1))
    with pytest.raises(ValueError, match="positive"):
        bits_per_spike(counts=ones, predicted=0 * ones, reference=np.ones(1), blocks=np.arange(2))


def test_a_unit_without_spikes_has_no_bits_but_its_false_alarms_count_in_the_pool():
    counts = np.stack([np.zeros((4, 5)), np.ones((4, 5))], axis=1)
    score = bits_per_spike(
        counts=counts, predicted=np.ones((4, 2, 5)), reference=np.array([0.1, 1.0]), blocks=np.arange(4)
    )
    assert np.isnan(score.value[0])
    assert score.pooled().value == pytest.approx(-0.9 / np.log(2))


def test_mean_counts_skip_missing_bins_and_are_never_zero():
    counts = np.array([[[1, np.nan, 3], [0, 0, 0]]])
    np.testing.assert_allclose(mean_counts(counts, kind="spikes"), [2, 0.5 / 3])
    np.testing.assert_allclose(mean_counts(counts, kind="traces"), [2, 0])


def test_bits_per_bin_is_the_gaussian_likelihood_ratio_per_bin():
    generator = np.random.default_rng(1)
    traces = generator.normal(size=(6, 2, 5))
    traces[0, 1, :3] = np.nan
    predicted, reference = generator.normal(size=traces.shape), np.array([0.2, -0.1])
    score = bits_per_bin(traces=traces, predicted=predicted, reference=reference, blocks=np.arange(6) // 2)
    ratio = norm.logpdf(traces, predicted) - norm.logpdf(traces, reference[:, None])
    np.testing.assert_allclose(score.value, np.nanmean(ratio, axis=(0, 2)) / np.log(2))
    np.testing.assert_array_equal(score.denominator.sum(axis=0), [30, 27])


def test_explained_variance_by_hand():
    truth = np.array([[[1.0, 3.0]], [[5.0, 3.0]]])
    score = explained_variance(truth=truth, predicted=truth + 1, reference=np.array([[3.0, 3.0]]), blocks=np.arange(2))
    assert score.value == pytest.approx(1 - 4 / 8)
    assert explained_variance(
        truth=truth, predicted=np.full(truth.shape, 3.0), reference=np.array([[3.0, 3.0]]), blocks=np.arange(2)
    ).value == pytest.approx(0)


def test_explained_count_variance_skips_missing():
    counts = np.array([[[1.0, np.nan]], [[3.0, 2.0]]])
    score = explained_count_variance(
        counts=counts, predicted=np.full(counts.shape, 1.0), reference=np.array([2.0]), blocks=np.arange(2)
    )
    assert score.value[0] == pytest.approx(1 - 5 / 2)


def test_peak_error_counts_only_frames_with_a_peak():
    truth = np.array([[[20.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])  # frame 0 peaks at 40 kHz, frame 1 is silent
    predicted = np.array([[[0.0, 9.0], [0.0, 0.0], [1.0, 0.0]]])
    score = peak_frequency_error(
        truth=truth,
        predicted=predicted,
        frequency_hz=np.array([40e3, 50e3, 65e3]),
        min_peak_db=10,
        blocks=np.zeros(1, int),
    )
    assert score.value == pytest.approx(25e3)


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(2).normal(size=50)
    score = clip_mean(values, np.arange(50))
    assert score.value == pytest.approx(values.mean())
    assert score.se == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_correlated_clips_count_as_one_block():
    values = np.repeat(np.random.default_rng(3).normal(size=20), 10)
    assert clip_mean(values, np.arange(200) // 10).se > 2.5 * clip_mean(values, np.arange(200)).se


def test_one_block_has_no_error():
    assert np.isnan(clip_mean(np.arange(5.0), np.zeros(5, int)).se)


def test_paired_difference_knows_that_both_saw_the_same_spikes():
    generator = np.random.default_rng(4)
    common, weights = generator.normal(0, 10, 40), np.ones(40)
    first, second = Ratio(common + 1, weights, 40), Ratio(common + generator.normal(0, 0.1, 40), weights, 40)
    difference = first.minus(second)
    assert difference.value == pytest.approx(first.value - second.value)
    assert difference.se < 0.1 < first.se
    with pytest.raises(ValueError, match="same clips"):
        first.minus(Ratio(common, 2 * weights, 40))


def test_blocks_are_bouts_or_stretches_of_time():
    start_s = np.array([0.0, 4.0, 11.0, 12.0, 31.0])
    np.testing.assert_array_equal(
        resampling_blocks(bout=np.array([7, 7, 9, 9, 12]), start_s=start_s, chunk_s=10), [0, 0, 1, 1, 2]
    )
    for bout in (np.array([7, -1, 9, 9, 12]), np.full(5, 3)):
        np.testing.assert_array_equal(resampling_blocks(bout=bout, start_s=start_s, chunk_s=10), [0, 0, 1, 1, 2])
