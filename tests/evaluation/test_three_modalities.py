"""A third modality in evaluation: what it tells of the spikes is found, and noise tells nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.clips import Series
from pipeline.errors import InputError
from pipeline.evaluation.examples import example_clips
from pipeline.evaluation.heldout import held_out
from pipeline.evaluation.metrics import Metrics, metrics_table
from pipeline.evaluation.model import check_fit, model_metrics, scored_modalities
from pipeline.evaluation.reconstruction import prediction_scores
from pipeline.evaluation.scores import Ratio
from pipeline.evaluation.traversal import traverse
from pipeline.vae import assembly
from pipeline.vae.spec import describe

SPEC = {
    "latent_dim": 4,
    "seed": 0,
    "audio_likelihood": "gaussian",
    "neural_likelihood": "poisson",
    "audio_weight": 1.0,
    "neural_weight": 2.0,
    "extra_weight": 2.0,
    "hidden": 16,
    "n_factors": 4,
    "n_basis": 2,
    "count_dropout": 0.3,
    "beta": 1.0,
    "warmup_fraction": 0.3,
    "options": {},
}
EVERY = ["audio", "neural", "movement", "audio+neural", "audio+movement", "neural+movement", "audio+neural+movement"]


@pytest.fixture
def moving(make_clips):
    """moving(carries=...): units 2 and 3 follow a speed, which the third modality shows, or that of other clips."""

    def _make(*, carries, n_clips=400, session="s"):
        clips, true = make_clips(n_clips=n_clips, gain=8.0, session=session)
        rng = np.random.default_rng(100)
        speed = rng.normal(size=n_clips)
        true[:, 2:] *= 2 * np.exp(speed - 0.5)[:, None, None]
        shown = speed if carries else rng.permutation(speed)
        values = shown[:, None, None] + 0.5 * rng.normal(size=(n_clips, 4, true.shape[2]))
        series = Series(values.astype(np.float32), ["speed", "turn", "limbs", "nose"], "traces")
        return replace(
            clips,
            counts=rng.poisson(true).astype(np.float32),
            present=np.ones((n_clips, 3), bool),
            extra={"movement": series},
        )

    return _make


@pytest.fixture
def fitted(tmp_path):
    def _fit(clips, *, family, n_steps):
        learning = [session.where("train") for session in clips]
        spec = describe(learning, family=family, **SPEC)
        model = assembly.assemble(spec)
        assembly.standardise(model, learning)
        batches = [assembly.to_batch(session) for session in learning]
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        for step in range(n_steps):
            optimizer.param_groups[0]["lr"] = 2e-2 * (1 - step / n_steps)
            batch = batches[step % len(batches)]
            batch = batch.take(torch.randint(len(batch), (40,), generator=generator))
            optimizer.zero_grad()
            model.objective(batch, step / n_steps, generator).loss.backward()
            optimizer.step()
        assembly.save_model(tmp_path / "model.pt", model, spec)
        return assembly.load_model(tmp_path / "model.pt")

    return _fit


def scored(loaded, clips):
    settings = {"n_samples": 8, "n_clips": 40, "chunk_s": 10.0, "min_peak_db": 10.0}
    return metrics_table(model_metrics(loaded, clips, **settings))


@pytest.mark.parametrize("carries", [True, False])
def test_the_third_tells_of_the_spikes_what_it_carries(moving, fitted, carries):
    clips = [moving(carries=carries)]
    loaded = fitted(clips, family="mopoe", n_steps=100)
    metrics = Metrics(objective="mopoe", latent_dim=4, seed=0)
    prediction_scores(
        loaded.model,
        metrics,
        modalities=loaded.modalities,
        held_out=lambda wanted: held_out(clips[0], split="test", modalities=wanted, chunk_s=10.0, min_peak_db=10.0),
        n_samples=8,
        n_clips=100,
        generator=torch.Generator().manual_seed(0),
    )
    table = metrics_table(metrics)
    rows = table[table["split"].eq("test") & table["unit_id"].eq("")].set_index(["metric", "target", "given"])

    def gain(of, over):
        one, two = (rows.loc["bits_per_spike", "neural", given] for given in (of, over))
        return Ratio(one["block_sums"], one["block_weights"], 1).minus(
            Ratio(two["block_sums"], two["block_weights"], 1)
        )

    beyond_sound = gain("audio+movement", "audio")
    alone = rows.loc["bits_per_spike", "neural", "movement"]
    cross = rows.loc["explained_variance", "movement", "neural"]
    assert rows.loc["explained_variance", "movement", "movement"]["value"] > 0.3
    if carries:
        assert beyond_sound.value > max(0.1, 3 * beyond_sound.se)
        assert alone["value"] > 2 * alone["se"] and cross["value"] > 0.1
    else:
        assert beyond_sound.value < 2 * beyond_sound.se + 0.01
        assert alone["value"] < 2 * alone["se"] and cross["value"] < 0.05


def test_every_score_of_two_is_there_for_three_and_for_a_session_of_two(moving, fitted):
    whole = moving(carries=True, n_clips=240)
    two = moving(carries=True, n_clips=240, session="two")
    two = replace(
        two, present=two.present * [True, True, False], extra={"movement": Series(np.zeros((240, 0, 10)), [], "traces")}
    )
    loaded = fitted([two, whole], family="mopoe", n_steps=6)
    table = scored(loaded, [two, whole])
    of_two = table[table["session"].eq("two")]
    assert not of_two["given"].str.contains("movement").any() and not of_two["target"].eq("movement").any()
    of_whole = table[table["session"].eq("s") & table["split"].eq("test") & table["unit_id"].eq("")]
    for metric, targets in (
        ("bits_per_spike", ["neural"]),
        ("bits_per_bin", ["movement"]),
        ("peak_frequency_error", ["audio"]),
        ("log_likelihood:marginal", ["audio", "neural", "movement"]),
        ("decoding", ["pitch"]),
    ):
        for target in targets:
            rows = of_whole[of_whole["metric"].eq(metric) & of_whole["target"].eq(target)]
            assert sorted(rows["given"]) == sorted(EVERY), (metric, target)
    value = of_whole.set_index(["metric", "target", "given"])["value"].sort_index()
    joint = value["log_likelihood:joint"]
    assert set(joint.index.get_level_values("given")) == set(EVERY[3:])
    conditional = value["log_likelihood:conditional"]
    assert conditional["neural", "audio+movement"] == pytest.approx(
        joint.loc[EVERY[-1]].item() - joint.loc["audio+movement"].item()
    )
    own = value["log_likelihood:marginal", "movement", "movement"]
    assert conditional["audio", "movement"] == pytest.approx(joint.loc["audio+movement"].item() - own)
    synergy = value["log_likelihood:synergy"]
    marginal = value["log_likelihood:marginal"]
    assert synergy["movement", "neural+movement"] == pytest.approx(marginal["movement", "neural+movement"] - own)
    assert sorted(value["joint_coherence", "pitch"].index) == ["prior", "real", "shuffled"]
    assert set(table.loc[table["metric"].eq("sensitivity") & table["session"].eq("s"), "target"]) == set(EVERY[:3])

    moved = traverse(loaded, [two, whole])
    assert moved["expected_movement"].shape == (4, 9, 4, 10)
    assert list(moved["movement_channel"]) == ["s|speed", "s|turn", "s|limbs", "s|nose"]
    assert moved["expected_count"].shape == (4, 9, 8, 10)
    shown = example_clips(loaded, [two, whole], n_samples=4)
    assert shown.attrs["session"] == "s" and list(shown["given"]) == EVERY
    assert np.isfinite(shown["expected_movement"]).all() and shown["drawn_movement"].shape == (8, 4, 10)
    clip = np.flatnonzero(whole.start_s == shown["start_s"].values[0])
    np.testing.assert_array_equal(shown["true_movement"][0], whole.extra["movement"].values[clip[0]])


def test_a_third_that_a_split_lacks_is_left_out_of_the_scores(moving, fitted):
    clips = moving(carries=True, n_clips=240)
    loaded = fitted([clips], family="mvae", n_steps=2)
    assert scored_modalities(loaded, clips) == ("audio", "neural", "movement")
    clips.present[clips.split == "validation", 2] = False
    assert scored_modalities(loaded, clips) == ("audio", "neural")
    clips.present[clips.split == "test", 2] = False
    assert list(example_clips(loaded, [clips], n_samples=2)["given"]) == ["audio", "neural", "audio+neural"]
    clips.extra["movement"].channels[1] = "height"
    with pytest.raises(InputError, match=r"(?s)channels of movement differ.*4: height, turn"):
        check_fit(loaded, clips)
