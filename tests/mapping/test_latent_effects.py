"""Bands and units of the latents of a linear model, whose Jacobians are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.clips import SessionClips
from pipeline.mapping.coupling import MAX_CLIPS, LatentChanges, model_coupling
from pipeline.mapping.joining import lag_of_bands
from pipeline.mapping.latent_effects import ablate, bout_draws, latent_bands, latent_units
from pipeline.mapping.latent_links import link_latents
from pipeline.mapping.latents import Embedded, traverse
from pipeline.vae.posterior import Posterior

FREQUENCY_HZ = 40_000 + 2000.0 * np.arange(31)
N_CLIPS, N_LATENTS = 600, 3
SD = np.array([1.0, 2.0, 0.5])


def bump(best_hz):
    return np.exp2(-4 * ((FREQUENCY_HZ - best_hz) / 9000) ** 2)


AUDIO = np.stack([2 * bump(56_000) - 1.5 * bump(80_000), 0.5 * bump(68_000), 0.5 * bump(92_000)], axis=1)
NEURAL = np.array([[0.6, 0.0, 0.0], [-0.6, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 0.0]])  # (n_units, n_latents)


class Linear:
    """dB = AUDIO z in every frame, log count = NEURAL z; inference from sound is exact."""

    cross_generates = True

    def decode(self, z, *, session, names):
        audio = (z @ torch.as_tensor(AUDIO.T, dtype=z.dtype))[..., None].expand(*z.shape[:-1], len(FREQUENCY_HZ), 6)
        log_count = (z @ torch.as_tensor(NEURAL.T, dtype=z.dtype))[..., None].expand(*z.shape[:-1], len(NEURAL), 4)
        return {"audio": SimpleNamespace(mean=audio), "neural": SimpleNamespace(mean=(log_count - 1).exp())}

    def posterior(self, batch, given):
        exact = torch.linalg.pinv(torch.as_tensor(AUDIO, dtype=torch.float32))
        z = batch.data["audio"].mean(dim=-1) @ exact.T
        return Posterior.single(z, torch.full_like(z, -20.0))


@pytest.fixture(scope="module")
def linear():
    """The model, clips of one session and the latents that they were made of."""
    generator = np.random.default_rng(0)
    z = SD * generator.standard_normal((N_CLIPS, N_LATENTS))
    clips = SessionClips(
        session="a",
        subject="m",
        spectrogram=np.repeat((z @ AUDIO.T).astype(np.float32)[..., None], 6, axis=2),
        counts=generator.poisson(np.exp(z @ NEURAL.T - 1)[..., None], (N_CLIPS, len(NEURAL), 4)).astype(np.float32),
        present=np.ones((N_CLIPS, 2), bool),
        start_s=0.2 * np.arange(N_CLIPS),
        call=np.arange(N_CLIPS),
        bout=np.arange(N_CLIPS) // 20,
        split=np.full(N_CLIPS, "test"),
        unit_ids=[f"a|units|{i}" for i in range(len(NEURAL))],
        frequency_hz=FREQUENCY_HZ,
        frame_s=0.01 * np.arange(6),
        bin_s=0.01 * np.arange(4),
        bin_width_s=0.01,
    )
    loaded = SimpleNamespace(
        model=Linear(), sessions={"a": clips.unit_ids}, kind="spikes", frequency_hz=FREQUENCY_HZ, family="linear"
    )
    return loaded, clips, z


def embedded(z, from_spikes):
    tables = [
        pd.DataFrame(values, columns=[f"z{i}" for i in range(N_LATENTS)]).assign(
            session="a", clip=np.arange(N_CLIPS), split="test", given=given
        )
        for given, values in (("audio", z), ("neural", from_spikes), ("audio+neural", z))
    ]
    return Embedded(pd.concat(tables, ignore_index=True))


def effects(linear, from_spikes, far=1):
    """Both tables, where spikes give these latents and a far move changes `far` times what the Jacobian says."""
    loaded, clips, z = linear
    generator = np.random.default_rng(1)
    latents = embedded(z, from_spikes)
    link = link_latents(latents, [clips], n_surrogates=500, generator=generator)
    moved = traverse(loaded, latents)
    moved = replace(moved, audio_db=far * moved.audio_db)
    found = model_coupling(loaded, clips, lag_s=np.zeros(len(NEURAL)), seed=0)
    common = {"sd": SD, "active": np.array([True, True, False]), "n_draws": 500, "generator": generator}
    ablation = ablate(loaded, clips)
    bands = latent_bands([found.changes], [ablation], moved, link, frequency_hz=FREQUENCY_HZ, **common)
    units = latent_units(
        found.changes,
        ablation,
        far * moved.log_rate["a"],
        link.units["a"],
        unit_ids=clips.unit_ids,
        kind="spikes",
        **common,
    )
    return bands, units


def test_bands_of_both_signs_with_known_heights(linear):
    z = linear[2]
    bands, _ = effects(linear, z + SD * np.random.default_rng(2).standard_normal(z.shape))
    assert bands[["latent", "run"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]  # latent 2 is not active
    np.testing.assert_allclose(bands["peak_khz"], [56, 80, 68], atol=0.2)
    np.testing.assert_allclose(bands["fwhm_khz"], 9, atol=0.5)
    np.testing.assert_allclose(bands["effect_db_per_sd"], [2, -1.5, 1], rtol=0.01)
    np.testing.assert_allclose(bands["effect_rms_db_per_sd"], [2, 1.5, 1], rtol=0.01)
    assert (bands["p"] <= 0.01).all() and bands["sign_agrees"].all() and (bands["p"] >= bands["p_floor"]).all()
    # in the band of latent 1 nothing else is decoded: all of its mean square is lost
    seen = z[np.linspace(0, N_CLIPS - 1, MAX_CLIPS).astype(int), 1]
    inside = (FREQUENCY_HZ >= 63_500) & (FREQUENCY_HZ <= 72_500)
    assert bands["ablation_db2"][2] == pytest.approx(np.square(AUDIO[inside, 1]).mean() * seen.var(), rel=0.02)


def test_latents_that_spikes_say_nothing_of_have_no_second_band(linear):
    bands, _ = effects(linear, SD * np.random.default_rng(3).standard_normal((N_CLIPS, N_LATENTS)))
    assert bands["run"].tolist() == [0, 0] and (bands["p"] > 0.05).all()


def test_the_wrong_direction_is_no_link_and_a_far_move_that_disagrees_is_flagged(linear):
    z = linear[2]
    bands, units = effects(linear, -z, far=-1)
    assert (bands["p"] > 0.5).all()
    assert not bands["sign_agrees"].any() and not units["sign_agrees"].any()


def test_gains_of_units_and_what_is_lost_without_the_latent(linear):
    _, units = effects(linear, linear[2])
    by = units.set_index(["latent", "unit_id"])
    np.testing.assert_allclose(by["gain_log_rate_per_sd"].unstack().T, NEURAL[:, :2] * SD[:2], atol=1e-5)
    linked = [(0, "a|units|0"), (0, "a|units|1"), (1, "a|units|2")]
    assert (by.loc[linked, "p"] <= 0.01).all() and by.loc[linked, "sign_agrees"].all()
    assert (by.loc[linked, "delta_bits_per_spike"] > 3 * by.loc[linked, "delta_se"]).all()
    others = by.drop(linked)
    assert (others["delta_bits_per_spike"].abs() < 1e-6).all() and (others["p"] > 0.01).all()
    assert not others["sign_agrees"].any()


def test_a_few_clips_cannot_be_tested(linear):
    _, clips, z = linear
    few = clips.take(np.arange(40))
    link = link_latents(embedded(z, z), [replace(few, session="b")], n_surrogates=99, generator=None)
    assert np.isnan(link.p_floor) and np.isnan(link.band_p(0, np.ones(31, bool), 1)) and not link.units


def test_animals_weigh_the_same_in_the_link(linear):
    _, clips, z = linear
    generator = np.random.default_rng(4)
    tables, sessions = [], []
    for name, animal, from_spikes in (("a", "m1", z), ("b", "m1", z), ("c", "m2", -z)):
        tables.append(embedded(z, from_spikes).table.assign(session=name))
        sessions.append(replace(clips, session=name, subject=animal))
    latents = Embedded(pd.concat(tables, ignore_index=True))
    link = link_latents(latents, sessions, n_surrogates=99, generator=generator)
    assert np.abs(link.band_r).max() < 1e-6 and link.p_floor == 0.01  # two sessions do not outvote one


def test_draws_of_bouts_know_how_sure_a_mean_is():
    generator = np.random.default_rng(5)
    block = np.repeat(np.arange(25), 8)
    values = generator.standard_normal(25)[block] + np.zeros((3, 1))  # clips of a bout say the same
    drawn = bout_draws(values.T, block, n_draws=2000, generator=generator)
    assert drawn.std(axis=0) == pytest.approx(np.full(3, values[0].std() / 5), rel=0.1)


def test_lag_of_a_band_is_that_of_its_own_units():
    bands = pd.DataFrame({"latent": [0, 0], "low_khz": [50.0, 80.0], "high_khz": [60.0, 90.0]})
    linked = pd.DataFrame({"latent": [0, 0, 0, 1], "best_khz": [52, 58, 70, 85], "lag_ms": [10.0, 20.0, 90.0, 5.0]})
    lag_ms = lag_of_bands(bands, linked)
    assert lag_ms[0] == 15 and np.isnan(lag_ms[1])


def test_changes_hold_what_the_jacobians_of_each_clip_say(linear):
    loaded, clips, _ = linear
    changes = model_coupling(loaded, clips, lag_s=np.zeros(len(NEURAL)), seed=0).changes
    assert isinstance(changes, LatentChanges) and len(changes.block) == len(changes.audio) == 256
    np.testing.assert_allclose(changes.audio, np.broadcast_to(AUDIO, changes.audio.shape), atol=1e-5)
    np.testing.assert_allclose(changes.audio_square, np.broadcast_to(AUDIO**2, changes.audio.shape), atol=1e-5)
    np.testing.assert_allclose(changes.neural, np.broadcast_to(NEURAL, changes.neural.shape), atol=1e-5)
