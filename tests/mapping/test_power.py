import numpy as np
import pytest
from planted_session import DT, EDGES_HZ, fire, song

from pipeline.mapping.power import smallest_gain
from pipeline.mapping.responses import Nuisance, locate_calls, smoothed
from pipeline.mapping.tuning import band_selectivity


def test_gain_shrinks_with_the_root_of_the_expected_spikes():
    assert smallest_gain(rate_hz=4, song_s=400) - 1 == pytest.approx((smallest_gain(rate_hz=1, song_s=400) - 1) / 2)
    assert smallest_gain(rate_hz=0, song_s=100) == np.inf


@pytest.mark.parametrize(("factor", "least", "most"), [(0.4, 0.0, 0.3), (2.0, 0.8, 1.0)])
def test_half_are_found_between_far_less_and_far_more_than_it(factor, least, most):
    generator = np.random.default_rng(2)
    calls = song(generator, 300.0)
    song_s = float((calls["stop_s"] - calls["start_s"]).sum())
    gain = 1 + factor * (smallest_gain(rate_hz=6.0, song_s=song_s) - 1)
    counts, kind = fire(calls, generator, duration_s=300.0, n_units=10, gain=gain)
    located = locate_calls(calls, to_session=lambda t: t, bin_start_s=DT * np.arange(len(counts)), bin_width_s=DT)
    rates, enough = smoothed(counts, np.ones(counts.shape, bool), sd_bins=2.0)
    found = band_selectivity(
        located,
        rates,
        enough,
        nuisance=Nuisance(located),
        part=np.zeros(len(located.bout_id), int),
        edges_hz=EDGES_HZ,
        lags=np.arange(-4, 6, 2),
        bin_width_s=DT,
        n_surrogates=199,
        n_surrogates_fine=0,
        generator=generator,
    )
    share = (found.p[kind < 2] <= 0.01).mean()  # q <= 0.05 where some units are tuned
    assert least <= share <= most
