"""Links of latents and bands: the pitch is one, the amount of sound in a clip is none."""

import numpy as np
import pandas as pd
import pytest

from pipeline.clips import SessionClips
from pipeline.mapping.latent_links import link_latents, shift_link
from pipeline.mapping.latents import Embedded

FREQUENCY_HZ = 40_000 + 5000.0 * np.arange(10)
N_CLIPS, N_FRAMES, STRIDE = 800, 16, 4
BAND = 6  # 70 kHz: at the edge of what calls often use


def song(generator):
    """Clips that overlap by three quarters, in bouts of 80, and of each frame whether it sounds and its pitch:
    calls of 3 to 12 frames, with gaps, of 50 to 75 kHz."""
    sounds, level_db, pitch_hz = np.zeros((3, STRIDE * N_CLIPS + N_FRAMES))
    now = 0
    while now < len(sounds):
        stop = now + generator.integers(3, 13)
        sounds[now:stop], level_db[now:stop] = 1, generator.normal(25, 3)
        length = len(pitch_hz[now:stop])
        pitch_hz[now:stop] = generator.uniform(50_000, 75_000) + generator.normal(0, 3000) * np.linspace(-1, 1, length)
        now = stop + generator.integers(2, 13) + (40 if generator.random() < 0.05 else 0)
    ridge = np.exp(-(((FREQUENCY_HZ - pitch_hz[:, None]) / 5000) ** 2))
    frames = sounds[:, None] * level_db[:, None] * ridge + 2 * generator.standard_normal((len(sounds), 10))
    window = STRIDE * np.arange(N_CLIPS)[:, None] + np.arange(N_FRAMES)
    clips = SessionClips(
        session="a",
        subject="m",
        spectrogram=frames[window].transpose(0, 2, 1).astype(np.float32),
        counts=np.ones((N_CLIPS, 1, 1), np.float32),
        present=np.ones((N_CLIPS, 2), bool),
        start_s=0.05 * np.arange(N_CLIPS),
        call=np.zeros(N_CLIPS, int),
        bout=np.arange(N_CLIPS) // 80,
        split=np.full(N_CLIPS, "test"),
        unit_ids=["a|units|0"],
        frequency_hz=FREQUENCY_HZ,
        frame_s=0.0125 * np.arange(N_FRAMES),
        bin_s=np.zeros(1),
        bin_width_s=0.2,
    )
    return clips, window, sounds, pitch_hz


def linked(clips, latents):
    """p of each latent (name -> (n_clips,)) going up with some band, and the band of its highest r."""
    z = pd.DataFrame({f"z{i}": values for i, values in enumerate(latents.values())})
    tables = [z.assign(session="a", clip=np.arange(N_CLIPS), split="test", given=g) for g in ("audio", "neural")]
    embedded = Embedded(pd.concat(tables, ignore_index=True))
    link = link_latents(embedded, [clips], n_surrogates=199, generator=np.random.default_rng(0))
    return {name: (link.band_p(i, np.ones(10, bool), 1), link.band_r[i].argmax()) for i, name in enumerate(latents)}


@pytest.fixture(scope="module")
def draws():
    """p and band of latents over 60 songs: those that carry an amount of sound, and one that follows a band."""
    found = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        clips, window, sounds, pitch_hz = song(generator)
        share = sounds[window].mean(axis=1)
        tuned = sounds * np.exp(-(((pitch_hz - FREQUENCY_HZ[BAND]) / 5000) ** 2))

        def fired(rate, generator=generator, window=window):
            return generator.poisson(rate)[window].sum(axis=1)  # overlapping clips share their spikes

        latents = {
            "any call": share + np.convolve(0.05 * generator.standard_normal(N_CLIPS), np.ones(4), "same"),
            "square": np.square(share) + 0.1 * generator.standard_normal(N_CLIPS),
            "step": 1.0 * (share > 0.5),
            "loudness": clips.spectrogram.mean(axis=(1, 2)),
            "band": fired(0.3 + sounds + 2 * tuned),
        }
        found.append(linked(clips, latents))
    return found


@pytest.mark.parametrize("amount", ["any call", "square", "step", "loudness"])
def test_the_amount_of_sound_is_no_link_to_a_band(draws, amount):
    assert np.mean([draw[amount][0] <= 0.05 for draw in draws]) <= 0.1


def test_a_latent_that_follows_a_band_is_linked_to_it(draws):
    assert np.mean([draw["band"][0] <= 0.05 and draw["band"][1] == BAND for draw in draws]) >= 0.9


def test_without_the_amount_of_sound_taken_out_any_call_would_pass():
    generator = np.random.default_rng(0)
    clips, window, sounds, _ = song(generator)
    z = generator.poisson(0.3 + sounds)[window].sum(axis=1)[:, None].astype(float)
    level_db = clips.spectrogram.mean(axis=2)
    level_db -= level_db.mean(axis=1, keepdims=True)
    r, null = shift_link(z, level_db, clips.bout, n_shifts=199)
    assert r.max() > np.quantile(null.max(axis=(1, 2)), 0.95)


def test_links_are_found_and_means_of_bouts_are_none():
    generator = np.random.default_rng(2)
    blocks = np.repeat(np.arange(20), 30)
    bouts = generator.standard_normal((20, 1))[blocks] * 3
    left = generator.standard_normal((600, 2)) + bouts
    right = np.column_stack([left[:, 0] + generator.standard_normal(600), generator.standard_normal(600) + bouts[:, 0]])
    r, null = shift_link(left, right, blocks, n_shifts=999)
    assert len(null) == 521  # every shift of at least 40 clips
    p = (1 + (np.abs(null) >= np.abs(r)).sum(axis=0)) / (1 + len(null))
    assert p[0, 0] <= 0.01
    assert p[1, 1] > 0.05  # both follow the bouts, and nothing else
