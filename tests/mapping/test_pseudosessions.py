"""Presentations in other orders: what hangs on the sound is found, what hangs on its onset alone is not."""

import numpy as np
import pytest
from scipy.stats import binom

from pipeline.mapping.playback import playback_selectivity, sound_side
from pipeline.mapping.pseudosessions import find_slots, presented_p, presented_selectivity

DT = 0.02
LAGS = np.arange(-4, 5, 2)
N_SLOTS, SLOT, GAP, N_BANDS = 60, 40, 10, 6
N_BINS = N_SLOTS * (SLOT + GAP)  # 60 s
FIRST = np.arange(N_SLOTS) * (SLOT + GAP) + 5
PART = np.where(np.arange(N_BINS) < N_BINS / 2, 0, 1)


def playback(generator, *, n_sounds=12):
    """Power of sounds in random order, and each slot's sound; their loudness differs, is late in one band, and all
    have a loud onset."""
    sounds = np.repeat(5 * generator.standard_normal((n_sounds, SLOT // 5, N_BANDS)), 5, axis=1)
    loudness = np.repeat(5 * generator.standard_normal((n_sounds, SLOT // 5, 1)), 5, axis=1)
    sounds += loudness
    sounds[:, :, 4] += 2 * np.roll(loudness[..., 0], 4, axis=1)
    which = generator.permutation(np.arange(N_SLOTS) % n_sounds)
    power = np.full((N_BINS, N_BANDS), -20.0)
    onset = 15 * np.exp(-np.arange(SLOT) / 5)[:, None] * np.linspace(0.5, 1.5, N_BANDS)
    for first, sound in zip(FIRST, which, strict=True):
        power[first : first + SLOT] = sounds[sound] + onset
    return power, which


def slots_of(labels=(), first=FIRST, length=SLOT, part=PART):
    labels = np.array(labels or [""] * len(first))
    return find_slots(first * DT, (first + length) * DT, labels, part=part, begin_s=0.0, bin_width_s=DT)


def rates(power, generator, *, kind, n_units):
    sound = sound_side(power, bin_width_s=DT)
    drive = np.zeros((N_BINS, n_units))
    if kind == "band":
        drive += 0.5 * np.tanh(np.roll(sound.bands[:, 2], 2))[:, None]
    if kind == "onset":
        for first in FIRST:
            drive[first + 2 : first + 12] += 1.5
    if kind == "loudness":
        drive += 0.5 * np.tanh(np.roll(sound.loudness / sound.loudness.std(), 2))[:, None]
    phase = 2 * np.pi * generator.random(n_units)
    drift = 0.8 * np.cos(np.pi * np.linspace(0, 1, N_BINS)[:, None] + phase)
    counts = generator.poisson(0.2 * np.exp(drive + drift))
    return sound, counts - counts.mean(axis=0)


def test_a_tuned_unit_has_a_smaller_p_than_by_linear_shift():
    generator = np.random.default_rng(0)
    power, _ = playback(generator)
    sound, firing = rates(power, generator, kind="band", n_units=6)
    slots, why = slots_of()
    assert why == "" and len(slots.first) == N_SLOTS
    orders = {"orders": slots.orders(99, generator), "orders_fine": slots.orders(499, generator)}
    found = presented_selectivity(sound, firing, slots, PART, lags=LAGS, **orders)
    shifted = playback_selectivity(sound, firing, PART, lags=LAGS, bin_width_s=DT)
    assert (found.p == 1 / 500).all() and found.fine.all() and (found.p <= shifted.p).all()
    assert np.median(found.p) < np.median(shifted.p)
    assert (found.z.argmax(axis=2) == 2).all() and abs(np.median(found.lag) - 2) < 0.5
    assert found.surrogate_z_b.shape == (99, 6, N_BANDS) and found.surrogate_z_b_fine.shape == (499, 6, N_BANDS)
    assert np.abs(found.surrogate_z_b.mean(axis=0)).max() < 1e-3  # they are on the scale of z
    assert np.allclose(found.surrogate_z_b_fine.astype(float).std(axis=0), 1, atol=0.3)


@pytest.mark.parametrize("kind", ["onset", "loudness", "unrelated"])
def test_units_that_answer_to_any_sound_alike_or_to_none_are_not_selective(kind):
    generator = np.random.default_rng(1)
    p = []
    for _ in range(30):
        power, _ = playback(generator)
        sound, firing = rates(power, generator, kind=kind, n_units=4)
        slots, _ = slots_of()
        p.append(presented_p(sound, firing, slots, lags=LAGS, orders=slots.orders(39, generator)))
    p = np.concatenate(p)
    assert (p <= 0.05).sum() <= binom.ppf(0.995, len(p), 0.05) and (p <= 0.5).mean() > 0.3


def test_sounds_change_places_inside_parts_and_lengths_alone():
    first = np.append(FIRST, N_BINS - 4)
    length = np.where(np.arange(len(first)) % 2, SLOT, SLOT // 2)
    length[0], length[-1] = SLOT // 2 + 1, 3
    part = PART.copy()
    part[FIRST[20] + 3 : FIRST[30]] = 2
    slots, _ = slots_of(first=first, length=length, part=part)
    for group in np.unique(slots.group):
        members = slots.group == group
        assert len(set(slots.part[members])) == len(set(length[members] // 5)) == 1
        assert (length[members] >= slots.n_bins[members]).all()
    assert slots.n_bins[0] == SLOT // 2 and slots.part[20] == slots.part[25] == 2
    later = slots.moved(FIRST[3], N_BINS - FIRST[3])
    assert later.first[0] == 0 and len(later.first) == len(slots.first) - 3


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"labels": ["a"] * N_SLOTS}, "one sound"),
        ({"labels": [f"s{slot // 5}" for slot in range(N_SLOTS)]}, "follow each other"),
        ({"labels": [f"s{slot % 12}" for slot in range(N_SLOTS)]}, ""),
        ({"labels": ["a"] * 2 + [""] * (N_SLOTS - 2)}, ""),
        ({"first": FIRST[:15]}, "0 in part B"),
        ({"length": SLOT + GAP + 1}, "overlap"),
        ({"length": 2 ** np.arange(N_SLOTS).clip(0, 5)}, ""),
    ],
)
def test_too_few_presentations_that_can_change_places_are_told(changes, why):
    slots, told = slots_of(**changes)
    assert (slots is None) == bool(why) and why in told
