import numpy as np
import pytest
import torch
import xarray as xr

from pipeline.mapping.coupling import (
    ClipCoupling,
    LatentChanges,
    coupling,
    held_out_p,
    jacobians,
    pooled_coupling,
    profile_p,
)

FRAME_S = np.arange(20) * 0.01 + 0.005
BIN_CENTRE_S = np.arange(10) * 0.01 + 0.055


def decoder(generator, n_latents=4, n_bands=5, n_units=3):
    weights = [
        torch.as_tensor(generator.standard_normal(shape))
        for shape in [(n_bands * 20, n_latents), (n_units * 10, n_latents)]
    ]

    def decode(z):
        audio = torch.tanh(z @ weights[0].T) * 10
        neural = torch.log1p(torch.exp(z @ weights[1].T))
        return audio.reshape(-1, n_bands, 20), neural.reshape(-1, n_units, 10)

    return decode, weights


def test_mixing_the_latents_changes_nothing():
    """Fold a random invertible matrix into encoder (z' = A z) and decoder (decode(A^-1 z'))."""
    generator = np.random.default_rng(0)
    decode, _ = decoder(generator)
    z = torch.as_tensor(generator.standard_normal((30, 4)))
    mixing = torch.as_tensor(generator.standard_normal((4, 4)) + 2 * np.eye(4))
    lag_s = np.array([0.0, 0.02, -0.03])
    where = {"frame_s": FRAME_S, "bin_centre_s": BIN_CENTRE_S, "lag_s": lag_s}
    plain = coupling(*jacobians(decode, z), torch.cov(z.T), **where)
    mixed_z = z @ mixing.T
    turned = jacobians(lambda x: decode(x @ torch.linalg.inv(mixing).T), mixed_z)
    mixed = coupling(*turned, torch.cov(mixed_z.T), **where)
    assert plain.abs().max() > 1
    torch.testing.assert_close(mixed, plain, rtol=1e-5, atol=1e-5)


def test_a_linear_decoder_gives_the_covariance_of_its_outputs():
    """With dB = W z and log rate = V z, C is the covariance of frames and of bins a lag later, whatever z is."""
    generator = np.random.default_rng(1)
    w, v = (torch.as_tensor(generator.standard_normal(shape)) for shape in [(2, 20, 3), (2, 10, 3)])
    z = torch.as_tensor(generator.standard_normal((6, 3)))
    covariance = torch.cov(z.T)
    found = coupling(
        *jacobians(lambda x: (torch.einsum("bfd,nd->nbf", w, x), torch.einsum("utd,nd->nut", v, x)), z),
        covariance,
        frame_s=FRAME_S,
        bin_centre_s=BIN_CENTRE_S,
        lag_s=np.array([0.0, 0.02]),
    )
    for unit, shift in ((0, 0), (1, 2)):  # bin k starts at frame 5 + k
        frames = w[:, 5 - shift : 15 - shift]
        expected = torch.einsum("btd,de,te->b", frames, covariance, v[unit]) / 10
        for sample in found:
            torch.testing.assert_close(sample[:, unit], expected)


def test_a_lag_beyond_the_clip_is_shortened():
    decode, _ = decoder(np.random.default_rng(2))
    z = torch.zeros((2, 4), dtype=torch.float64)
    where = {"frame_s": FRAME_S, "bin_centre_s": BIN_CENTRE_S}
    lag_s = np.array([0.0, 3.0, -3.0])
    found = coupling(*jacobians(decode, z), torch.eye(4, dtype=torch.float64), lag_s=lag_s, **where)
    assert torch.isfinite(found).all() and (found[:, :, 1:].abs() > 0).any()


def test_the_interval_covers_the_mean_and_widens_with_disagreeing_seeds():
    generator = np.random.default_rng(3)
    blocks = np.repeat(np.arange(12), 5)
    nothing = LatentChanges(*3 * [np.zeros((60, 0, 0))], blocks)
    alike = [ClipCoupling(1 + 0.3 * generator.standard_normal((60, 2, 3)), nothing) for _ in range(3)]
    apart = [ClipCoupling(one.coupling + 2 * shift, nothing) for one, shift in zip(alike, (-1, 0, 1), strict=True)]
    widths = []
    for seeds in (alike, apart):
        mean, low, high = pooled_coupling(seeds, n_draws=200, generator=generator)
        assert (low < mean).all() and (mean < high).all()
        widths.append((high - low).mean())
    np.testing.assert_allclose(mean, 1, atol=0.3)
    assert widths[1] > 5 * widths[0]


def test_seeds_read_on_the_same_clips_do_not_average_the_clips_away():
    """Equal seeds know no more than one; and the mean of all bouts, of which 12 were seen, is mostly covered."""
    generator = np.random.default_rng(6)
    blocks = np.repeat(np.arange(12), 5)
    nothing = LatentChanges(*3 * [np.zeros((60, 0, 0))], blocks)
    of_bouts = np.repeat(generator.standard_normal((12, 20, 20)), 5, axis=0)
    widths = []
    for n_seeds in (1, 4):
        _, low, high = pooled_coupling([ClipCoupling(of_bouts, nothing)] * n_seeds, n_draws=200, generator=generator)
        widths.append((high - low).mean())
        assert ((low <= 0) & (high >= 0)).mean() > 0.85
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_profiles_are_tested_against_surrogates_of_held_out_data():
    generator = np.random.default_rng(4)
    bump = np.exp(-0.5 * ((np.arange(20) - 8) / 2) ** 2)
    profiles = np.tile(bump, (40, 1))
    null = generator.standard_normal((199, 40, 20))
    tuned = 3 * bump + generator.standard_normal((40, 20))
    unrelated = generator.standard_normal((40, 20))
    unrelated[:, 3] = np.nan  # bands without sound do not count
    assert np.median(profile_p(profiles, tuned, null)) == pytest.approx(1 / 200)
    assert (profile_p(profiles, unrelated, null) <= 0.05).mean() <= 0.15
    assert np.isnan(profile_p(np.zeros((40, 20)), tuned, null)).all()


def test_units_with_a_second_stage_are_compared_with_its_surrogates():
    generator = np.random.default_rng(5)
    names = np.array([f"u{i}" for i in range(6)], object)
    bump = np.exp(-0.5 * ((np.arange(20) - 8) / 2) ** 2)
    z = generator.standard_normal((1, 6, 20))
    z[0, [1, 4]] += 4 * bump
    tuning = xr.Dataset(
        {
            "tuning_z": (("part", "unit", "band"), z),
            "surrogate_z_b": (("surrogate", "unit", "band"), generator.standard_normal((99, 6, 20))),
            "surrogate_z_b_fine": (
                ("surrogate_fine", "unit_fine", "band"),
                generator.standard_normal((999, 2, 20)).astype(np.float16),
            ),
        },
        coords={"part": ["B"], "unit": names, "unit_fine": names[[1, 3]]},
    )
    chosen = ["u4", "u3", "u1", "u0"]  # some of them, in another order
    p, p_floor = held_out_p(np.array([bump, bump, bump, 0 * bump]), tuning, chosen)
    np.testing.assert_allclose(p_floor, [1 / 100, 1 / 1000, 1 / 1000, np.nan])
    assert p[0] == 1 / 100 and p[2] == 1 / 1000 and p[1] > 0.001 and np.isnan(p[3])
