"""The joint encoder of real networks, and posteriors put together from unimodal ones."""

import numpy as np
import pytest
import torch
from test_assembly import build, make_clips

from pipeline.errors import InputError
from pipeline.vae import assembly
from pipeline.vae.gaussians import product_of_posteriors

FAMILIES = ("jmvae", "telbo")


def test_posteriors_multiply_with_one_prior():
    rng = np.random.default_rng(0)
    precision = 1 + rng.gamma(2.0, size=(3, 5, 2))
    mean = rng.normal(size=(3, 5, 2))
    present = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 1, 0]], bool)
    has = present[..., None]
    total = 1 + ((precision - 1) * has).sum(0)
    means = torch.tensor(np.where(has, mean, np.nan), requires_grad=True)
    log_variances = torch.tensor(np.where(has, -np.log(precision), np.nan), requires_grad=True)
    found = product_of_posteriors(means, log_variances, torch.tensor(present))
    assert found[0].detach().numpy() == pytest.approx((precision * mean * has).sum(0) / total)
    assert found[1].detach().numpy() == pytest.approx(-np.log(total))
    (found[0].sum() + found[1].sum()).backward()
    for gradient in (means.grad, log_variances.grad):
        assert torch.isfinite(gradient).all() and (gradient[~torch.tensor(present)] == 0).all()


def test_a_posterior_wider_than_the_prior_adds_no_precision():
    means, log_variances = torch.full((2, 1, 1), 3.0), torch.tensor([[[1.0]], [[-1.0]]])
    everyone = torch.ones(2, 1, dtype=torch.bool)
    assert product_of_posteriors(means, log_variances, everyone)[1].item() == pytest.approx(-1)
    alone = torch.tensor([[True], [False]])
    assert [x.item() for x in product_of_posteriors(means, log_variances, alone)] == [3, 1]  # one stays as it is


@pytest.mark.parametrize("family", FAMILIES)
def test_the_joint_encoder_reads_every_modality(family):
    clips = [make_clips(), make_clips("mouse2", n_units=2)]
    model, _ = build(clips, family=family)
    for session in clips:
        batch = assembly.to_batch(session, [0, 1, 2, 7])
        mean, log_variance = model.joint(batch, ["audio", "neural"])
        assert mean.shape == log_variance.shape == (4, 2)
        assert torch.equal(model.posterior(batch, ["audio", "neural"]).mean, mean)
        for name in ("audio", "neural"):
            batch.data[name] = batch.data[name] + 1
            changed, _ = model.joint(batch, ["audio", "neural"])
            assert (changed != mean).all()
            mean = changed


def test_absent_means_standardised_zeros():
    clips = make_clips()
    model, _ = build([clips], family="jmvae")
    for name, parameter in model.joint_encoder.named_parameters():
        if name.endswith("bias"):  # 0 at the start, where zeros would have no features
            parameter.data += 0.5
    batch = assembly.to_batch(clips, [0, 1])
    batch.data["audio"] = model.joint_encoder.trunks["audio"].center_db.expand(2, 8, 4)
    full = model.joint(batch, ["audio", "neural"])[0]
    assert torch.allclose(full, model.joint(batch, ["neural"])[0], atol=1e-6)
    batch.data["neural"] = model.joint_encoder.trunks["neural"].center_session0.expand(2, 4, 6)
    full = model.joint(batch, ["audio", "neural"])[0]
    assert torch.allclose(full, model.joint(batch, ["audio"])[0], atol=1e-6)


def test_the_joint_encoder_reads_data_on_the_scale_of_the_others():
    model, _ = build([make_clips(), make_clips("mouse2", n_units=2)], family="jmvae")
    for name, trunk in model.joint_encoder.trunks.items():
        encoder = dict(model.modalities[name].encoder.named_buffers())
        assert dict(trunk.named_buffers()).keys() == encoder.keys()
        for buffer, value in trunk.named_buffers():
            assert torch.equal(value, encoder[buffer])
            assert (value != 0).any()


def test_rows_without_all_do_not_reach_the_joint_encoder():
    clips = make_clips()
    model, _ = build([clips], family="telbo")
    seen = []
    model.joint_encoder.register_forward_hook(lambda _, args, __: seen.append(len(args[0]["audio"])))
    q = model.posterior(assembly.to_batch(clips), ["audio", "neural"])
    assert seen == [28]  # of 30, one lacks the sound and one the spikes
    assert torch.isfinite(q.mean).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_session_brings_its_read_in_only(tmp_path, family):
    old = [make_clips()]
    model, spec = build(old, family=family)
    assembly.save_model(tmp_path / "m.pt", model, spec)
    wider, _, _ = assembly.add_sessions(tmp_path / "m.pt", [*old, make_clips("mouse2", n_units=3)])
    learning = {name for name, p in wider.named_parameters() if p.requires_grad}
    assert learning == {
        "modalities.neural.encoder.read_in.session1",
        "modalities.neural.decoder.read_out.session1",
        "modalities.neural.decoder.bias.session1",
        "modalities.neural.decoder.log_spread.session1",
        "joint_encoder.trunks.neural.read_in.session1",
    }
    assert (wider.joint_encoder.trunks["neural"].center_session1 > 0).all()
    batch = assembly.to_batch(old[0])
    assert torch.equal(
        wider.eval().posterior(batch, ["audio", "neural"]).mean, model.posterior(batch, ["audio", "neural"]).mean
    )


def test_stage_two_starts_from_what_stage_one_saw():
    model, _ = build([make_clips(), make_clips("mouse2", n_units=2)], family="telbo", options={"joint_share": 0.3})
    frozen = model.modalities["neural"].encoder.read_in["session0"].requires_grad_(False)
    frozen_before = frozen.clone()
    start = {name: p.clone() for name, p in model.named_parameters()}
    for before, now in ((0.0, 0.2), (0.3, 0.4)):
        model.advance(before, now)
        assert all(torch.equal(p, start[name]) for name, p in model.named_parameters())
    model.advance(0.29, 0.3)
    for name, trunk in model.joint_encoder.trunks.items():
        own = dict(model.modalities[name].encoder.named_parameters())
        for part, learnt in trunk.named_parameters():
            assert torch.equal(own[part], learnt) == (part != "read_in.session0"), part
            assert torch.equal(learnt, start[f"joint_encoder.trunks.{name}.{part}"])
    assert torch.equal(frozen, frozen_before)


@pytest.mark.parametrize("family", FAMILIES)
def test_private_latents_are_in_the_joint_posterior(family):
    clips = make_clips()
    model, _ = build([clips], family=family, options={"private_dim": {"audio": 1, "neural": 2}})
    assert model.joint(assembly.to_batch(clips, [0, 1]), ["audio", "neural"])[0].shape == (2, 5)


def test_the_joint_encoder_is_no_option():
    with pytest.raises(InputError, match="unknown option") as error:
        build([make_clips()], family="jmvae", options={"joint_encode": 1})
    assert "joint_encoder" not in str(error.value)
    assert "alpha" in str(error.value) and "private_dim" in str(error.value)
    with pytest.raises(InputError, match=r"telbo\.gammas.*modality"):
        build([make_clips()], family="telbo", options={"gammas": {"sound": 1}})
