"""The loop: reproducible, resumable to the same weights, and it learns what was planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric

from pipeline import training, validation
from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.training import Schedule, train
from pipeline.vae import assembly
from pipeline.vae.spec import describe

SPEC = {
    "latent_dim": 3,
    "seed": 0,
    "audio_likelihood": "gaussian",
    "neural_likelihood": "poisson",
    "audio_weight": 1.0,
    "neural_weight": 1.0,
    "extra_weight": 1.0,
    "hidden": 16,
    "n_factors": 3,
    "n_basis": 2,
    "count_dropout": 0.5,
    "beta": 1.0,
    "warmup_fraction": 0.2,
    "options": {},
}
SCHEDULE = {
    "max_epochs": 4,
    "patience": 10,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "weight_decay": 0.05,
    "clip_norm": 100.0,
    "precision": "32-true",
    "devices": 1,
}


def make_clips(session="a", n=160, n_units=5, seed=0, modalities=("audio", "neural")):
    """A tone in one of 8 bands; half of the units fire more, the higher it is."""
    rng = np.random.default_rng(seed)
    pitch = rng.integers(0, 8, n)
    spectrogram = rng.normal(size=(n, 8, 6)).astype(np.float32)
    spectrogram[np.arange(n), pitch] += 12
    slope = np.where(np.arange(n_units) % 2 == 0, 0.35, 0.0)
    rate = 0.3 * np.exp(slope * (pitch[:, None] - 3.5))
    counts = rng.poisson(rate[:, :, None], (n, n_units, 4)).astype(np.float32)
    counts[0, 0, 0] = np.nan
    present = np.repeat([[name in modalities for name in ("audio", "neural")]], n, 0)
    if "audio" not in modalities:
        spectrogram[:] = np.nan
    if "neural" not in modalities:
        counts = counts[:, :0]
        n_units = 0
    return SessionClips(
        session=session,
        subject=session,
        spectrogram=spectrogram,
        counts=counts,
        present=present,
        start_s=np.arange(n) * 0.1,
        call=np.full(n, -1, np.int32),
        bout=np.zeros(n, np.int32),
        split=np.where(np.arange(n) % 4 == 3, "validation", "train"),
        unit_ids=[f"{session}|units|{i}" for i in range(n_units)],
        frequency_hz=np.arange(8) * 1000.0 + 500,
        frame_s=np.arange(6) * 0.01,
        bin_s=np.arange(4) * 0.01,
        bin_width_s=0.01,
    )


def build(clips, family="mopoe", **changes):
    learning = [c.where("train") for c in clips]
    spec = describe(learning, family=family, **(SPEC | changes))
    model = assembly.assemble(spec)
    assembly.standardise(model, learning)
    return model, spec


def fit(model, clips, folder, seed=0, **changes):
    return train(
        model,
        clips,
        schedule=Schedule(**(SCHEDULE | changes)),
        seed=seed,
        history_path=folder / "history.csv",
        checkpoint_path=folder / "checkpoint.pt",
        accelerator="cpu",
    )


def same(one, two):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_same_seed_gives_the_same_weights_whatever_the_global_state(tmp_path):
    clips = [make_clips()]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, _ = build(clips)
    fit(first, clips, tmp_path / "1")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)  # a foreign global state must not matter
    np.random.seed(2)  # noqa: NPY002
    second, _ = build(clips)
    fit(second, clips, tmp_path / "2")
    assert same(first, second)
    third, _ = build(clips, seed=1)
    fit(third, clips, tmp_path / "3", seed=1)
    assert not same(first, third)


class Stopped(Exception):
    pass


def test_resumes_to_the_same_weights_and_history(tmp_path, monkeypatch):
    clips = [make_clips()]
    whole, _ = build(clips)
    history = fit(whole, clips, tmp_path / "whole", max_epochs=6)

    model, _ = build(clips)
    validate = training.validate
    calls = []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 4:
            raise Stopped
        return validate(*args)

    monkeypatch.setattr(training, "validate", interrupted)
    with pytest.raises(Stopped):
        fit(model, clips, tmp_path / "cut", max_epochs=6)
    assert (tmp_path / "cut/checkpoint.pt").exists()
    monkeypatch.setattr(training, "validate", validate)
    again, _ = build(clips)
    resumed = fit(again, clips, tmp_path / "cut", max_epochs=6)
    assert same(whole, again)
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), resumed.drop(columns="seconds"))
    assert not (tmp_path / "cut/checkpoint.pt").exists()
    written = pd.read_csv(tmp_path / "cut/history.csv")
    assert written["epoch"].tolist() == list(range(1, 7))
    assert list((tmp_path / "cut/tensorboard").glob("events*"))


def test_a_checkpoint_of_another_training_is_ignored(tmp_path, monkeypatch):
    clips = [make_clips()]
    model, _ = build(clips)
    monkeypatch.setattr(training.Path, "unlink", lambda *args, **kwargs: None)
    fit(model, clips, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "checkpoint.pt").exists()
    other, _ = build(clips)
    fit(other, clips, tmp_path, learning_rate=1e-3)
    fresh, _ = build(clips)
    fit(fresh, clips, tmp_path / "fresh", learning_rate=1e-3)
    assert same(other, fresh)


def test_learns_the_planted_tuning_and_keeps_the_best_epoch(tmp_path):
    clips = [make_clips(n=600)]
    model, _ = build(clips)
    history = fit(model, clips, tmp_path, max_epochs=25, patience=25)
    assert history["neural_bits"].max() > 0.1
    held_out = training._batches_of(model, clips, "validation", Fabric(accelerator="cpu"))
    rates = {"a": torch.as_tensor(np.nanmean(clips[0].where("train").counts, (0, 2)), dtype=torch.float32)}
    again = training.validate(model, held_out, rates, 0)["neural_bits"]
    assert again == pytest.approx(history["neural_bits"].max(), rel=1e-4)


def test_the_mean_of_the_last_weights_is_what_is_validated_and_kept(tmp_path, monkeypatch):
    clips = [make_clips()]
    steps, judged = [], []
    update, validate = training.AveragedModel.update_parameters, training.validate

    def noted(averaged, model):
        steps.append({name: p.detach().clone() for name, p in model.named_parameters()})
        update(averaged, model)

    def watched(model, *args):
        judged.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return validate(model, *args)

    monkeypatch.setattr(training.AveragedModel, "update_parameters", noted)
    monkeypatch.setattr(training, "validate", watched)
    model, _ = build(clips)
    history = fit(model, clips, tmp_path, max_epochs=10, patience=10)
    assert len(steps) == 10 * 4  # 120 clips of training in pieces of at most 32
    expected, means = steps[0], []
    for step in steps:
        expected = {name: 0.75 * expected[name] + 0.25 * value for name, value in step.items()}  # 1 / (0.1 x 40 steps)
        means.append(expected)
    for epoch, found in enumerate(judged):
        assert all(torch.allclose(found[name], means[4 * epoch + 3][name], atol=1e-6) for name in found)
    best = judged[int(history["best_epoch"].iloc[-1]) - 1]
    assert all(torch.equal(value, best[name]) for name, value in model.named_parameters())


def test_stops_when_validation_does_not_improve(tmp_path):
    clips = [make_clips(n=80, seed=3)]
    clips[0].counts[:] = np.random.default_rng(0).poisson(0.3, clips[0].counts.shape)
    model, _ = build(clips)
    history = fit(model, clips, tmp_path, max_epochs=200, patience=3, learning_rate=0.02)
    best = history["neural_bits"].idxmax()
    assert len(history) == best + 1 + 3


def test_sessions_with_one_modality_train(tmp_path):
    clips = [make_clips(), make_clips("deaf", modalities=("neural",)), make_clips("mute", modalities=("audio",))]
    for family in ("mopoe", "mvae", "unimodal"):
        model, spec = build(clips, family)
        history = fit(model, clips, tmp_path / family, max_epochs=2)
        assert list(spec["sessions"]) == ["a", "deaf"]
        assert np.isfinite(history["validation_objective"]).all()
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
        assert np.isfinite(history["neural_bits"]).all() == (family != "unimodal")


def unpaired(n_deaf=12):
    """Three sessions: in one the first `n_deaf` training clips have no sound, one has no sound, one no units."""
    clips = [make_clips(), make_clips("deaf", modalities=("neural",)), make_clips("mute", modalities=("audio",))]
    rows = np.flatnonzero(clips[0].split == "train")[:n_deaf]
    clips[0].present[rows, 0] = False
    clips[0].spectrogram[rows] = np.nan
    return clips


def test_what_cannot_teach_is_counted_once(tmp_path):
    clips = unpaired()
    model, _ = build(clips, "jmvae")
    seen = []
    model.joint_encoder.register_forward_hook(
        lambda network, args, _: seen.append(len(args[0]["audio"]) if network.training else 0)
    )
    with pytest.warns(UserWarning) as warned:
        history = fit(model, clips, tmp_path, max_epochs=1)
    messages = [str(w.message) for w in warned if "modalities" in str(w.message)]
    assert messages == ["jmvae leaves out clips that lack modalities: a 12 of 120, deaf 120 of 120, mute 120 of 120"]
    assert sum(seen) == 120 - 12 and history["step"].tolist() == [4]
    for term in ("audio", "neural"):  # means over what was trained on
        assert history[f"train_{term}"][0] == pytest.approx(history[f"validation_{term}"][0], rel=0.05)


@pytest.mark.parametrize("family", ["jmvae", "telbo"])
def test_no_pairs_are_told_before_training(tmp_path, family):
    clips = unpaired()[1:]
    with pytest.raises(InputError, match=f"(?s){family} learns from clips that have all modalities.*deaf, mute"):
        fit(build(clips, family)[0], clips, tmp_path)
    clips = [make_clips(modalities=("audio",))]
    with pytest.raises(InputError, match="all modalities"):
        fit(build(clips, family)[0], clips, tmp_path)


def test_stages_train_one_after_the_other_and_the_best_epoch_is_of_the_last(tmp_path, monkeypatch):
    clips = unpaired()
    model, _ = build(clips, "telbo")
    scores = iter([9.0, 8.0, 1.0, 2.0, 1.5, 1.0])
    states, means = [], []

    def scored(averaged, *_):
        for kept, of in ((states, model), (means, averaged)):
            kept.append({name: value.clone() for name, value in of.state_dict().items()})
        return {"validation_objective": next(scores), "neural_bits": float("nan")}

    monkeypatch.setattr(training, "validate", scored)
    with pytest.warns(UserWarning, match="a 12 of 120 at first, deaf 120 of 120 at first"):
        history = fit(model, clips, tmp_path, max_epochs=6, patience=2)
    assert len(history) == 6  # patience counts from stage two: epoch 4 is the best
    assert history["best_epoch"].tolist() == [1, 2, 3, 4, 4, 4]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in means[3].items())
    for first, second, moves in ((0, 2, "joint"), (2, 5, "single")):
        for name, value in states[second].items():
            is_single = ".encoder." in name
            if "center" in name or "scale_" in name or "lag_basis" in name:
                continue
            changed = not torch.equal(value, states[first][name])
            if is_single != (moves == "single"):
                assert not changed, name
            elif "session1" not in name or is_single:  # that session has no pairs
                assert changed, name
    with_joint = np.isfinite(history["train_kl"].to_numpy())
    with_single = np.isfinite(history["train_kl_audio"].to_numpy())
    assert with_joint.tolist() == [True] * 3 + [False] * 3
    assert with_single.tolist() == [False] * 3 + [True] * 3


def test_the_second_stage_goes_on_from_the_first(tmp_path):
    clips = [make_clips(n=600)]
    model, _ = build(clips, "telbo")
    history = fit(model, clips, tmp_path, max_epochs=24, patience=24)
    assert history["neural_bits"][12:].max() > 0.1  # from the sound alone
    assert history["neural_bits"][:12].max() < 0.02


def test_labels_are_learnt(tmp_path):
    clips = [make_clips(n=300)]
    pitch = clips[0].spectrogram.mean(2).argmax(1)
    clips[0].label = np.where(pitch < 4, "low", "high")
    clips[0].label[::3] = ""
    model, spec = build(clips, "mfm", options={"label_weight": 20.0})
    assert spec["options"]["labels"] == ["high", "low"]
    history = fit(model, clips, tmp_path, max_epochs=20, patience=20)
    chance = np.log(0.5) * (clips[0].where("validation").label != "").mean()
    assert history["train_label"].iloc[0] < 0.9 * chance
    assert history["validation_label"].iloc[-1] > 0.6 * chance
    without, _ = build([replace(clips[0], label=None)], "mfm")
    assert "validation_label" not in fit(without, clips, tmp_path / "none", max_epochs=1)


@pytest.mark.parametrize("name", ["audio", "neural"])
def test_a_single_modality_is_enough(tmp_path, name):
    clips = [make_clips(modalities=(name,))]
    model, spec = build(clips)
    history = fit(model, clips, tmp_path, max_epochs=2)
    assert spec["modalities"] == [name]
    assert history["neural_bits"].isna().all()
    assert np.isfinite(history[f"validation_{name}"]).all()


@pytest.mark.parametrize("likelihood", ["negative_binomial", "gaussian"])
def test_other_likelihoods_train(tmp_path, likelihood):
    clips = [make_clips()]
    model, _ = build(clips, neural_likelihood=likelihood, audio_likelihood="laplace")
    history = fit(model, clips, tmp_path, max_epochs=2)
    assert np.isfinite(history["validation_objective"]).all()
    assert np.isfinite(history["neural_bits"]).all() == (likelihood == "negative_binomial")


def test_traces_take_a_gaussian_and_stop_by_bits_a_bin(tmp_path):
    clips = make_clips(n=600)
    traces = np.log1p(clips.counts)
    traces = (traces - np.nanmean(traces)) / np.nanstd(traces)
    clips = [replace(clips, counts=traces, kind="traces")]
    model, spec = build(clips, neural_likelihood="auto")
    assert spec["likelihoods"]["neural"] == "gaussian" and spec["kind"] == "traces"
    history = fit(model, clips, tmp_path, max_epochs=15)
    assert history["neural_bits"].max() > 0.03
    batch = training._batches_of(model, clips, "validation", Fabric(accelerator="cpu"))[0]
    null = torch.zeros(traces.shape[1])
    gain, n = validation.cross_gain(model, batch, null, torch.Generator().manual_seed(0))
    z = model.posterior(batch, ["audio"]).rsample(validation.SAMPLES, torch.Generator().manual_seed(0))
    expected = model.decode(z, session="a")["neural"].mean.mean(0)
    expected = expected.detach()
    unit = torch.distributions.Normal(expected, 1.0), torch.distributions.Normal(torch.zeros_like(expected), 1.0)
    seen = batch.data["neural"].isfinite()
    x = batch.data["neural"].nan_to_num()
    assert gain == pytest.approx(float((unit[0].log_prob(x) - unit[1].log_prob(x))[seen].sum()), rel=1e-4)
    assert n == seen.sum()


def test_frozen_weights_stay_when_a_session_is_added(tmp_path):
    old = [make_clips()]
    model, spec = build(old)
    fit(model, old, tmp_path / "old")
    assembly.save_model(tmp_path / "old.pt", model, spec)
    new = make_clips("b", n_units=3, seed=5)
    wider, wider_spec, fitted = assembly.add_sessions(tmp_path / "old.pt", [*old, new])
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    assert [c.session for c in fitted] == ["b"]
    fit(wider, fitted, tmp_path / "new", learning_rate=0.02)
    key = wider.modalities["neural"].decoder.sessions["b"]
    for name, value in wider.state_dict().items():
        is_new = name.rsplit(".", 1)[-1] == key
        assert torch.equal(before[name], value) != is_new, name
    for name, value in model.state_dict().items():
        assert torch.equal(wider.state_dict()[name], value), name
    assert wider_spec["sessions"] == {"a": old[0].unit_ids, "b": new.unit_ids}
    with pytest.raises(InputError, match="nothing to fit"):
        assembly.add_sessions(tmp_path / "old.pt", old)


def test_decay_spares_biases_and_dispersions():
    model, _ = build([make_clips()], neural_likelihood="negative_binomial")
    decaying, spared = training._optimizer(model, Schedule(**SCHEDULE)).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    assert spared["weight_decay"] == 0
    assert decaying["weight_decay"] == 0.05
    for parameter in spared["params"]:
        assert any(part in names[id(parameter)] for part in ("bias", "log_spread", "log_scale"))
    assert not any("bias" in names[id(p)] or "log_s" in names[id(p)] for p in decaying["params"])


def test_missing_split_is_told(tmp_path):
    clips = make_clips()
    clips.split[:] = "train"
    model, _ = build([clips])
    with pytest.raises(InputError, match="validation"):
        fit(model, [clips], tmp_path)
