from dataclasses import replace

import numpy as np
import pytest

from pipeline.clips import SessionClips
from pipeline.evaluation.baselines import BOTH, count_predictions
from pipeline.evaluation.heldout import held_out
from pipeline.evaluation.psth import edge_cells, psth

FRAME_S = (np.arange(20) + 0.5) * 0.01
KINDS = {"any call": 0, "its onset": 1, "a pitch": 2, "unrelated": 3}


@pytest.fixture(scope="module")
def sung():
    """Clips of calls of 50 to 120 ms and random pitch: unit 0 follows any call by 20 ms, unit 1 the first 30 ms of it.

    Unit 2 follows calls of the upper half of the pitches and is silenced as much by the others; unit 3 follows nothing.
    """
    generator = np.random.default_rng(3)
    n_clips, n_bands, n_steps = 1200, 8, 1200 * 20 + 100  # of 10 ms
    band = np.full(n_steps, -1)
    onset = np.zeros(n_steps, bool)
    at = 0
    while at < n_steps:
        length, gap = generator.integers(5, 13), generator.integers(4, 14)
        band[at : at + length] = generator.integers(n_bands)
        onset[at : at + 3] = True
        at += length + gap
    level_db = generator.normal(0, 1, (n_steps, n_bands))
    level_db[np.arange(n_steps)[band >= 0], band[band >= 0]] += 20
    start = np.arange(n_clips) * 20
    spectrogram = level_db[start[:, None] + np.arange(20)].transpose(0, 2, 1).astype(np.float32)
    heard = np.maximum(start[:, None] + np.arange(5, 15) - 2, 0)  # 20 ms before each bin
    pitch = np.where(band[heard] < 0, 0, np.where(band[heard] >= n_bands // 2, 1, -1))
    factors = (3.0 ** (band[heard] >= 0), 4.0 ** onset[heard], 2.0**pitch, np.ones(heard.shape))
    true = 0.2 * np.stack(factors, axis=1)
    roles = np.array(["train", "train", "validation", "test"])
    clips = SessionClips(
        session="s",
        subject="s",
        spectrogram=spectrogram,
        counts=generator.poisson(true).astype(np.float32),
        present=np.ones((n_clips, 2), bool),
        start_s=start * 0.01,
        call=np.full(n_clips, -1),
        bout=np.full(n_clips, -1),
        split=roles[(np.arange(n_clips) // 50) % 4],
        unit_ids=[f"s|units|{unit}" for unit in range(4)],
        frequency_hz=np.linspace(40_000, 110_000, n_bands),
        frame_s=FRAME_S,
        bin_s=0.05 + np.arange(10) * 0.01,
        bin_width_s=0.01,
    )
    return clips, true


def predicted(clips):
    """Predictions of the test clips by mean, drift and psth, and the test clips."""
    held = {
        s: held_out(clips, split=s, modalities=BOTH, chunk_s=10.0, min_peak_db=10.0) for s in ("validation", "test")
    }
    found = {}
    for name, parts in count_predictions(clips.where("train"), held):
        if name == "level":
            return found, held["test"]
        found[name] = parts["test"]


def bits(prediction, test):
    return test.scores("neural", prediction)["bits_per_spike", "bits/spike"].value


def test_units_that_fire_to_any_call_are_predicted_and_pitch_gains_nothing(sung):
    clips, true = sung
    found, test = predicted(clips)
    gained = bits(found["psth"], test)
    possible = bits(true[clips.split == "test"], test)
    assert (bits(found["mean"], test) == 0).all()
    for unit in (KINDS["any call"], KINDS["its onset"]):
        assert possible[unit] > 0.1 and 0.8 * possible[unit] < gained[unit] < 1.2 * possible[unit]
    assert possible[KINDS["a pitch"]] > 0.1 and abs(gained[KINDS["a pitch"]]) < 0.1 * possible[KINDS["a pitch"]]
    assert abs(gained[KINDS["unrelated"]]) < 0.005


def test_the_same_is_predicted_whatever_the_pitch(sung):
    clips, _ = sung
    mixed = clips.spectrogram.copy()
    np.random.default_rng(0).permuted(mixed, axis=1, out=mixed)  # every frame's bands in an order of their own
    before, after = (predicted(each)[0]["psth"] for each in (clips, replace(clips, spectrogram=mixed)))
    np.testing.assert_array_equal(before, after)


def test_without_any_link_nothing_is_gained(sung):
    clips, true = sung
    counts = np.random.default_rng(1).poisson(0.2, true.shape).astype(np.float32)
    found, test = predicted(replace(clips, counts=counts))
    assert (np.abs(bits(found["psth"], test)) < 0.01).all()


def one_clip(clips, *, sounding, bin_s):
    spectrogram = np.zeros((1, 2, 20), np.float32)
    spectrogram[0, 1, sounding] = 15
    return replace(clips.take([0]), spectrogram=spectrogram, bin_s=bin_s, label=None)


def test_cells_are_time_since_the_edge_before_and_to_the_edge_after(sung):
    clip = one_clip(sung[0], sounding=slice(6, 11), bin_s=np.array([0.02, 0.06, 0.08, 0.15]))
    cells, shape = edge_cells(clip, min_peak_db=10.0)
    kind, since, to = np.unravel_index(cells[0], shape)
    # The call is at 60 to 110 ms of 200; bins of 10 ms, centres at 25, 65, 85 and 155 ms.
    np.testing.assert_array_equal(kind, [1, 7, 7, 2])  # silent, the onset ahead; inside the call; silent, it is over
    np.testing.assert_array_equal(since, [2, 0, 2, 4])
    np.testing.assert_array_equal(to, [3, 4, 2, 4])


def test_bins_outside_the_clip_belong_to_its_ends(sung):
    clip = one_clip(sung[0], sounding=slice(0, 3), bin_s=np.array([-0.03, 0.0, 0.21]))
    cells, shape = edge_cells(clip, min_peak_db=10.0)
    kind, since, to = np.unravel_index(cells[0], shape)
    np.testing.assert_array_equal(kind, [5, 5, 2])  # the call's onset is not seen, its offset is
    assert since[1] - since[0] == 3 and to[0] - to[1] == 3
    assert since[2] - since[1] == 18  # 185 ms after the offset, 5 ms after the clip's start


def test_long_clips_have_few_cells(sung):
    clip = one_clip(sung[0], sounding=slice(6, 11), bin_s=np.arange(200) * 0.001)
    assert max(edge_cells(replace(clip, bin_width_s=0.001), min_peak_db=10.0)[1]) <= 33


def test_a_cell_is_its_mean_with_the_prior_s_weight_of_the_mean_rate(sung):
    clips = sung[0].take(np.arange(300))
    reference, noise_sd = np.full(4, 0.25), np.full(4, 0.5)
    candidates = psth({"train": clips, "test": clips}, reference=reference, noise_sd=noise_sd, min_peak_db=10.0)
    cells, shape = edge_cells(clips, min_peak_db=10.0)
    fullest = np.bincount(cells.ravel(), minlength=np.prod(shape)).argmax()
    kind, since, to = np.stack(np.unravel_index(cells, shape)) - np.reshape(np.unravel_index(fullest, shape), (3, 1, 1))
    weight = (kind == 0) * np.exp(-2 * (since**2 + to**2))  # a Gaussian of SD 0.5 cells
    spikes, observed = np.einsum("cub,cb->u", clips.counts, weight), weight.sum()
    expected = (spikes + 2.0) / (observed + 2.0 / 0.25)
    found = candidates.predict("test", 0).transpose(0, 2, 1)[cells == fullest]
    np.testing.assert_allclose(found, np.tile(expected, (len(found), 1)), rtol=1e-4)
