"""Modalities beside sound and neural: missing ones change nothing, each session has its own channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_assembly import SPEC, build, make_clips

from pipeline.clips import Series
from pipeline.embedding import embed
from pipeline.errors import InputError
from pipeline.vae import assembly, families
from pipeline.vae.spec import describe

FILLERS = (float("nan"), float("inf"), 1e30)


def with_third(clips, *, n_channels=3, missing=(), kind="traces", name="movement"):
    """The clips with a further modality, which the rows `missing` do not have."""
    rng = np.random.default_rng(7)
    shape = (len(clips), n_channels, len(clips.bin_s))
    values = (rng.normal(size=shape) if kind == "traces" else rng.poisson(2.0, shape)).astype(np.float32)
    has = np.ones((len(clips), 1), bool)
    has[list(missing)] = False
    values[~has[:, 0]] = np.nan
    series = Series(values, [f"channel{index}" for index in range(n_channels)], kind)
    return replace(clips, present=np.hstack([clips.present, has]), extra=clips.extra | {name: series})


def learn(model, batch, *, seed=1):
    """Value and gradients of one step of a model that is training."""
    model.train()
    model.zero_grad()
    objective = model.objective(batch, 0.5, torch.Generator().manual_seed(seed))
    objective.loss.backward()
    return objective.value.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", sorted(set(families()) - {"meme"}))
def test_every_family_takes_three_and_fillers_change_nothing(family):
    clips = with_third(make_clips(), missing=[1, 5, 8])
    model, spec = build([clips], family=family)
    assert spec["modalities"] == ["audio", "neural", "movement"]
    assert spec["extra"]["movement"] == {
        "kind": "traces",
        "sessions": {"mouse.1": ["channel0", "channel1", "channel2"]},
    }
    assert spec["likelihoods"]["movement"] == "gaussian" and spec["weights"]["movement"] == 1.0
    found = []
    for filler in FILLERS:
        clips.extra["movement"].values[[1, 5, 8]] = filler
        batch = assembly.to_batch(clips)
        batch = batch.take(model.usable(model.presence(batch), 0.5))
        found.append(learn(model, batch))
    value, gradients = found[0]
    assert torch.isfinite(value).all() and all(torch.isfinite(grad).all() for grad in gradients.values())
    assert any("movement" in name and grad.abs().max() > 0 for name, grad in gradients.items())
    for other, others in found[1:]:
        assert torch.equal(value, other)
        assert all(torch.equal(grad, others[name]) for name, grad in gradients.items())


def test_a_family_of_two_modalities_says_so_before_it_trains():
    with pytest.raises(InputError, match=r"(?s)meme needs two modalities.*audio, neural, movement.*section extra"):
        build([with_third(make_clips())], family="meme")


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("unimodal", {}),
        ("mvae", {"random_subsets": 0}),
        ("mopoe", {"prior_expert": "never"}),
        ("mmvae", {"k": 2}),
        ("mvtcae", {}),
    ],
)
def test_where_it_is_missing_a_third_changes_no_loss_and_no_gradient_of_the_others(family, options):
    two = make_clips()
    three = with_third(two, missing=range(len(two)))
    small, _ = build([two], family=family, options=options)
    large, _ = build([with_third(two)], family=family, options=options)
    unused = large.load_state_dict(small.state_dict(), strict=False)
    assert not unused.unexpected_keys and all("movement" in name for name in unused.missing_keys)
    value, gradients = learn(small, assembly.to_batch(two))
    other, others = learn(large, assembly.to_batch(three))
    torch.testing.assert_close(value, other, rtol=0, atol=0)
    assert len(gradients) > 10
    for name, grad in gradients.items():
        torch.testing.assert_close(others[name], grad, rtol=0, atol=0)
    assert not any(grad.any() for name, grad in others.items() if name not in gradients)


def test_sessions_have_channels_of_their_own_or_none(tmp_path):
    clips = [
        make_clips(),
        with_third(make_clips("mouse2", n_units=2), n_channels=2, kind="spikes"),
        with_third(make_clips("mouse3"), n_channels=5, kind="spikes"),
    ]
    model, spec = build(clips, family="mopoe")
    assert spec["likelihoods"]["movement"] == "poisson"
    z = torch.zeros(4, 2)
    assert set(model.decode(z, session="mouse.1")) == {"audio", "neural"}
    assert model.decode(z, session="mouse3")["movement"].mean.shape == (4, 5, 6)
    encoder, decoder = model.modalities["movement"].encoder, model.modalities["movement"].decoder
    counts = clips[2].extra["movement"].values
    key = decoder.sessions["mouse3"]
    np.testing.assert_allclose(decoder.bias[key].detach().exp(), counts.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(getattr(encoder, f"scale_{key}")[:, 0], counts.std((0, 2)), rtol=1e-5)
    units = model.modalities["neural"].encoder
    np.testing.assert_allclose(
        getattr(units, f"center_{units.sessions['mouse3']}")[:, 0], np.nanmean(clips[2].counts, (0, 2)), rtol=1e-5
    )

    assembly.save_model(tmp_path / "model.pt", model, spec)
    loaded = assembly.load_model(tmp_path / "model.pt")
    assert loaded.known("mouse.1") == ("audio", "neural") and loaded.known("mouse2") == loaded.modalities
    table = embed(loaded, clips)
    both = {"audio", "neural", "audio+neural"}
    assert set(table.loc[table["session"] == "mouse.1", "given"]) == both
    every = both | {"movement", "audio+movement", "neural+movement", "audio+neural+movement"}
    assert set(table.loc[table["session"] == "mouse3", "given"]) == every
    given = table[(table["session"] == "mouse2") & (table["given"] == "audio+movement")]
    rows = given["clip"].to_numpy()
    mean = model.posterior(assembly.to_batch(clips[1], rows), ["audio", "movement"]).mean
    np.testing.assert_allclose(given[["z0", "z1"]], mean.detach(), rtol=1e-6)


@pytest.mark.parametrize("family", ["mopoe", "jmvae"])
def test_a_new_session_brings_its_third_modality(tmp_path, family):
    old = [make_clips(), with_third(make_clips("mouse2"))]  # of each modality the sessions are numbered apart
    model, spec = build(old, family=family)
    assembly.save_model(tmp_path / "model.pt", model, spec)
    fresh = with_third(make_clips("mouse3", n_units=3), n_channels=2)
    wider, spec, new = assembly.add_sessions(tmp_path / "model.pt", [*old, fresh])
    assert [session.session for session in new] == ["mouse3"]
    assert spec["extra"]["movement"]["sessions"]["mouse3"] == ["channel0", "channel1"]
    learning = [name for name, parameter in wider.named_parameters() if parameter.requires_grad]
    assert {name.rsplit(".", 1)[-1] for name in learning if ".neural." in name} == {"session2"}
    assert {name.rsplit(".", 1)[-1] for name in learning if ".movement." in name} == {"session1"}
    assert all(".neural." in name or ".movement." in name for name in learning)
    batch = assembly.to_batch(old[1])
    before, after = (m.eval().posterior(batch, ["neural", "movement"]).mean for m in (model, wider))
    assert torch.equal(before, after)


def test_names_and_kinds_that_cannot_be():
    with pytest.raises(InputError, match=r"(?s)cannot have this name.*train"):
        describe([with_third(make_clips(), name="train")], **SPEC)
    mixed = [with_third(make_clips()), with_third(make_clips("mouse2"), kind="spikes")]
    with pytest.raises(InputError, match=r"(?s)others traces.*extra\.movement\.signal"):
        describe(mixed, **SPEC)
    with pytest.raises(InputError, match=r"(?s)private_dim: unknown modality.*allowed: +audio, neural, movement"):
        describe([with_third(make_clips())], **(SPEC | {"options": {"private_dim": {"lfp": 1}}}))
    model, _ = build([with_third(make_clips())], options={"private_dim": {"movement": 2}})
    assert model.n_latents == 4
    spec = describe([with_third(make_clips())], **(SPEC | {"extra_weight": "dim"}))
    assert spec["weights"]["movement"] == pytest.approx(32 / 18)  # 8 bands x 4 frames of sound, 3 channels x 6 bins
