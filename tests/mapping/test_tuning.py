import numpy as np
import pytest
from planted_session import BANDS_HZ, DT, EDGES_HZ, LAG_S, fire, song
from scipy.stats import kstest

from pipeline.mapping import tuning
from pipeline.mapping.band_sums import BandSums
from pipeline.mapping.bands import peak_bands
from pipeline.mapping.nulls import orders_within, q_values
from pipeline.mapping.responses import Nuisance, lagged, locate_calls, smoothed
from pipeline.mapping.tuning import band_selectivity, bout_parts, bout_sums, gains, refined_lag

LAGS = np.arange(-10, 11, 2)


def located(calls, n_bins):
    return locate_calls(calls, to_session=lambda t: t, bin_start_s=DT * np.arange(n_bins), bin_width_s=DT)


def select(calls, counts, *, n_fine=0, nuisance=None):
    bins = located(calls, len(counts))
    rates, valid = smoothed(counts, np.ones(counts.shape, bool), sd_bins=2.0)
    return bins, band_selectivity(
        bins,
        rates,
        valid,
        nuisance=nuisance or Nuisance(bins),
        part=np.arange(len(bins.bout_id)) % 5 // 3,
        edges_hz=EDGES_HZ,
        lags=LAGS,
        bin_width_s=DT,
        n_surrogates=99,
        n_surrogates_fine=n_fine,
        generator=np.random.default_rng(0),
    )


@pytest.fixture(scope="module")
def found(planted):
    return select(planted.calls, planted.counts, n_fine=499)


def test_tuned_units_are_found_and_others_are_not(planted, found):
    q = q_values(found[1].p)
    assert (q[planted.kind < 2] <= 0.05).mean() >= 0.9
    assert (q[planted.kind >= 2] <= 0.05).mean() <= 0.1
    assert found[1].p.min() >= 1 / 500
    assert (found[1].p_floor[planted.kind < 2] == 1 / 500).all()


def test_units_that_fire_to_any_call_are_no_more_often_selective_than_chance():
    generator = np.random.default_rng(8)
    calls = song(generator, 200.0)
    counts, kind = fire(calls, generator, duration_s=200.0, n_units=60, gain=4.0)
    chosen = kind >= 2
    p = select(calls, counts[:, chosen])[1].p
    for some in (p[:60], p[60:]):  # any call; unrelated
        assert (some <= 0.05).mean() <= 0.13  # 99.5 % of a binomial with 60 draws at 5 %
        assert kstest(some, "uniform").pvalue > 0.01
    assert (p >= 0.01).all()


def test_units_are_tested_alike_alone_and_among_others(planted, monkeypatch):
    everyone = select(planted.calls, planted.counts, n_fine=299)[1]
    monkeypatch.setattr(tuning, "UNITS_AT_ONCE", 7)
    in_parts = select(planted.calls, planted.counts, n_fine=299)[1]
    alone = select(planted.calls, planted.counts[:, -1:], n_fine=299)[1]
    for name in ("p", "p_floor", "lag", "lag_a"):
        np.testing.assert_allclose(getattr(in_parts, name), getattr(everyone, name), atol=1e-3)
        np.testing.assert_allclose(getattr(alone, name), getattr(everyone, name)[-1:], atol=1e-3)
    np.testing.assert_allclose(in_parts.z, everyone.z, atol=1e-4)
    np.testing.assert_allclose(in_parts.surrogate_z_b, everyone.surrogate_z_b, atol=1e-4)


def test_band_sums_are_those_of_each_call_with_anothers_contour(planted):
    """Against a loop over calls and bins."""
    bins = located(planted.calls, len(planted.counts))
    part = np.arange(len(bins.bout_id)) % 3
    sums = BandSums(bins, EDGES_HZ, part)
    generator = np.random.default_rng(3)
    responses = generator.standard_normal((2, len(bins.bin), 1)).astype(np.float32)  # lags, bins, units
    found, wide = sums.scores(sums.drawn_bands(3, np.random.default_rng(7)), responses, widths=(1, 4))
    order = orders_within(bins.call_bout, 3, np.random.default_rng(7))[2]
    total, size = np.zeros((3, 20, 2, 1)), np.zeros((3, 20, 1, 1))
    for row, call in enumerate(bins.call):
        band = np.searchsorted(EDGES_HZ, bins.contour_hz[order[call], bins.position[row]], side="right") - 1
        for where in {part[bins.bout[row]], 2}:  # its own part, and all
            total[where, band] += responses[:, row]
            size[where, band] += 1
    np.testing.assert_allclose(found[2], total / np.sqrt(np.maximum(size, 1)), atol=1e-4)
    assert wide.shape[1:3] == (2, 20 + 17)
    for of, part in ((0, 0), (1, -1)):  # windows are those of A, and of all
        np.testing.assert_allclose(wide[2, of, :20], found[2, part], atol=1e-4)
        for first in range(17):
            several = slice(first, first + 4)
            expected = total[part, several].sum(axis=0) / np.sqrt(max(size[part, several].sum(), 1))
            np.testing.assert_allclose(wide[2, of, 20 + first], expected, atol=1e-4)


def test_p_of_part_a_knows_nothing_of_part_b(planted):
    counts = planted.counts[:, ::4]
    bins, plain = select(planted.calls, counts)
    calls = planted.calls.copy()
    in_b = np.isin(calls["bout"], bins.bout_id[np.arange(len(bins.bout_id)) % 5 // 3 == 1])
    calls.loc[in_b, "contour_hz"] = calls.loc[in_b, "contour_hz"].map(lambda hz: 140_000 - hz)
    _, turned = select(calls, counts)
    np.testing.assert_array_equal(turned.p_a, plain.p_a)
    np.testing.assert_array_equal(turned.lag_a, plain.lag_a)
    assert (turned.p != plain.p).any() and np.abs(turned.z[1] - plain.z[1]).max() > 1
    tuned = planted.kind[::4] < 2
    assert (plain.p_a[tuned] <= 0.05).all() and (plain.p_a[~tuned] <= 0.05).mean() <= 0.3


def test_both_stages_show_the_same_z_of_part_b_for_the_same_orders(planted, monkeypatch):
    draw = BandSums.drawn_bands
    monkeypatch.setattr(BandSums, "drawn_bands", lambda sums, n, _: draw(sums, n, np.random.default_rng(1)))
    _, result = select(planted.calls, planted.counts[:, ::4], n_fine=99)
    assert 0 < result.fine.sum() < len(result.fine)
    np.testing.assert_allclose(result.surrogate_z_b_fine, result.surrogate_z_b[:, result.fine], atol=5e-3)


def test_the_onset_response_would_pass_without_its_removal():
    """Calls that all fall in pitch, and units that fire at their onsets: the response must be taken out."""
    generator = np.random.default_rng(9)
    calls = song(generator, 200.0)
    counts, _ = fire(calls, generator, duration_s=200.0, n_units=8, gain=1.0)
    bins = located(calls, len(counts))
    onset = np.zeros(len(counts))
    onset[bins.bin[bins.since_onset < 2]] = 1
    counts = counts[:, :20] + generator.poisson(0.25 * onset[:, None] * np.ones(20))
    values, ok = lagged(counts.astype(float), np.ones(counts.shape, bool), bins.bin, 0)
    left = Nuisance(bins).remove(values, ok)
    early = bins.since_onset < 2
    assert values[early].mean() - values[~early].mean() > 0.15
    assert abs(left[early].mean() - left[~early].mean()) < 0.01


def test_peaks_lags_and_widths(planted, found):
    bins, result = found
    tuned = planted.kind < 2
    assert np.median(np.abs(result.lag[tuned] * DT - LAG_S)) <= 0.01
    lag = np.rint(result.lag).astype(int)
    nuisance = Nuisance(bins)
    valid = np.ones(planted.counts.shape, bool)
    sums = bout_sums(bins, planted.counts, valid, nuisance=nuisance, edges_hz=EDGES_HZ, lag=lag)
    tested = result.sound_bins[2] * DT >= 0.6
    curves = gains(sums[0].sum(axis=0), sums[1].sum(axis=0), sums[3], tested=tested, ridge_bins=20.0)
    centres = (EDGES_HZ[1:] + EDGES_HZ[:-1]) / 2
    for band, (low, high) in enumerate(BANDS_HZ):
        mean = peak_bands(curves[planted.kind == band].mean(axis=0)[None], centres, EDGES_HZ)
        assert mean["peak_hz"][0] == pytest.approx((low + high) / 2, abs=1500)
        assert mean["low_hz"][0] == pytest.approx(low, abs=1800)
        assert mean["high_hz"][0] == pytest.approx(high, abs=1800)


def test_curves_are_least_squares_with_bouts_and_cells_as_regressors(planted):
    """Against a plain regression of counts on bands, bouts and cells at once."""
    bins = located(planted.calls, len(planted.counts))
    nuisance = Nuisance(bins)
    valid = np.ones(planted.counts.shape, bool)
    sums = bout_sums(
        bins, planted.counts, valid, nuisance=nuisance, edges_hz=EDGES_HZ, lag=np.full(len(planted.kind), 3)
    )
    centres = np.searchsorted(EDGES_HZ, bins.contour_hz[bins.call, bins.position], side="right") - 1
    design = np.concatenate(
        [np.eye(21)[centres], *[np.eye(g.max() + 1)[g] for g in nuisance.groups], nuisance.level], axis=1
    )
    counts = planted.counts[bins.bin + 3]
    expected = np.linalg.lstsq(design, counts, rcond=None)[0][:20]
    tested = np.bincount(centres, minlength=21)[:20] * DT >= 2.0
    expected = expected[tested] - np.median(expected[tested], axis=0)
    found = gains(sums[0].sum(0), sums[1].sum(0), np.ones(len(planted.kind)), tested=tested, ridge_bins=0.5)
    assert np.abs(found[:, tested].T - expected).max() < 0.05 * np.abs(expected).max()


def test_bins_on_both_sides_of_a_clock(planted):
    shifted = locate_calls(
        planted.calls, to_session=lambda t: 100 + 1.0001 * t, bin_start_s=100 + DT * np.arange(31_000), bin_width_s=DT
    )
    plain = located(planted.calls, 31_000)
    last = plain.bin[-1]
    assert len(shifted.call_bout) == len(plain.call_bout)
    assert shifted.bin[-1] - last == pytest.approx(0.0001 * last, abs=1.5)


def test_single_calls_and_calls_without_pitch_do_not_count(planted):
    calls = planted.calls.iloc[:6].copy()
    calls["bout"] = [0, 0, 0, 1, 2, 2]
    calls.at[5, "contour_hz"] = np.full(12, np.nan)
    assert located(calls, 30_000).bout_id.tolist() == [0]
    assert len(located(calls.iloc[:0], 30_000).bin) == 0


def test_invalid_bins_count_neither_as_silence_nor_as_firing():
    counts = np.full((400, 1), 2.0)
    counts[100:200] = 0
    valid = np.ones((400, 1), bool)
    valid[100:200] = False
    rates, enough = smoothed(counts, valid, sd_bins=2.0)
    np.testing.assert_allclose(rates[enough], 2.0, rtol=1e-5)
    assert not enough[102:198].any()


def test_bouts_follow_the_clips(planted):
    bins = located(planted.calls, len(planted.counts))
    clip_start_s = np.arange(0, 300, 0.05)
    split = np.where(clip_start_s < 150, "train", "test")
    split[(clip_start_s > 140) & (clip_start_s < 150)] = "guard"
    part = bout_parts(bins, clip_start_s, split)
    middle = (bins.start_s + bins.stop_s) / 2
    assert (part[middle < 135] == 0).all() and (part[middle > 155] == 1).all()
    assert (bout_parts(bins, np.empty(0), np.empty(0, str)) == 2).all()


def test_the_refined_lag_is_the_top_of_a_parabola():
    lags = np.arange(-4, 5, 2)
    z = 5 - 0.1 * (lags - 0.7) ** 2
    assert refined_lag(np.stack([z, z - 3])[:, :, None], lags) == pytest.approx([0.7])
