"""TELBO against closed forms of linear-Gaussian models, and trained to their evidence."""

import numpy as np
import pytest
import torch

from pipeline.vae.telbo import TELBO

PRESENT = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]], bool)
MODES = [(1, 1.0), (2, 0.2), (2, 0.8)]  # stages and the share of the training that is done


def build(setting, **options):
    return TELBO(setting.exact_modalities(), **({"latent_dim": 2, "joint_encoder": setting.joint_encoder()} | options))


def noise_of(generator, n):
    return torch.randn((1, n, 2), generator=generator, dtype=torch.float64).numpy()[0]


@pytest.mark.parametrize("stages, step", MODES)
def test_exact_posteriors_give_the_evidences(lab, generator, stages, step):
    setting = lab()
    xs = [np.repeat(x, 40_000, 0) for x in setting.data(1)]
    value = build(setting, stages=stages).objective(setting.batch(xs), step, generator()).value
    first = [x[:1] for x in xs]
    joint = lab.evidence(setting.parts, first).item()
    single = sum(lab.evidence([p], [x]).item() for p, x in zip(setting.parts, first, strict=True))
    exact = {(1, 1.0): joint + single, (2, 0.2): joint, (2, 0.8): single}[stages, step]
    error = (value.std() / 200).item()
    assert value.mean().item() == pytest.approx(exact, abs=5 * error)
    assert error < 0.02


@pytest.mark.parametrize("stages, step", MODES)
def test_terms_at_fixed_noise(lab, generator, stages, step):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(5)
    model = build(setting, stages=stages, gammas={"m1": 2.5}, beta=0.6, warmup_fraction=2.0)
    objective = model.objective(setting.batch(xs, PRESENT), step, generator())
    beta = 0.3 * step
    noise = generator()
    expected = np.zeros(5)
    if stages == 1 or step < 0.5:
        whole = PRESENT.all(0)
        seen = [x[whole] for x in xs]
        mean, variance = lab.product(setting.parts, seen, True)
        z = mean + np.sqrt(variance) * noise_of(noise, 2)
        assert objective.terms["kl"].detach().numpy()[whole] == pytest.approx(lab.kl(mean, variance))
        expected[whole] -= beta * lab.kl(mean, variance)
        for name, weight, part, x in zip(setting.names, setting.weights, setting.parts, seen, strict=True):
            assert objective.terms[name].detach().numpy()[whole] == pytest.approx(part.log_lik(x, z))
            expected[whole] += weight * part.log_lik(x, z)
    if stages == 1 or step > 0.5:
        for name, gamma, part, x, has in zip(setting.names, (1, 2.5), setting.parts, xs, PRESENT, strict=True):
            mean, variance = lab.product([part], [x], True)
            log_lik = part.log_lik(x, mean + np.sqrt(variance) * noise_of(noise, 5))
            assert objective.terms[f"kl_{name}"].detach().numpy()[has] == pytest.approx(lab.kl(mean, variance)[has])
            assert objective.terms[f"{name}_alone"].detach().numpy()[has] == pytest.approx(log_lik[has])
            expected += np.where(has, gamma * log_lik - beta * lab.kl(mean, variance), 0)
    if stages == 1:
        expected[1:3] *= 3  # one bound instead of three, and yet the same weight
    assert objective.value.detach().numpy() == pytest.approx(expected)


def test_rows_with_two_of_three_weigh_as_much(lab, generator):
    setting = lab(n_modalities=3)
    xs = [np.repeat(x, 20_000, 0) for x in setting.data(1)]
    present = np.array([[True], [False], [True]]).repeat(20_000, 1)
    value = build(setting, stages=1).objective(setting.batch(xs, present), 1.0, generator()).value
    single = sum(lab.evidence([setting.parts[m]], [xs[m][:1]]).item() for m in (0, 2))
    assert value.mean().item() == pytest.approx(4 / 2 * single, abs=5 * value.std().item() / 20_000**0.5)


@pytest.mark.parametrize("step", [0.2, 0.5, 0.8])
def test_stages_teach_their_own_parts(lab, generator, step):
    setting = lab()
    model = build(setting)
    model.modalities["m0"].decoder.shift.requires_grad_(False)  # as where only a new session is fitted
    model.objective(setting.batch(setting.data(5), PRESENT), step, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        frozen = name == "modalities.m0.decoder.shift"
        assert (parameter.grad is not None) == (not frozen and (".encoder." in name) == (step >= 0.5)), name
        assert parameter.requires_grad != frozen


def test_decoders_learn_again_after_an_error(lab, generator):
    setting = lab()
    model = build(setting)
    batch = setting.batch(setting.data(5))
    batch.data["m1"] = batch.data["m1"][:, :2]
    with pytest.raises(RuntimeError):
        model.objective(batch, 0.8, generator())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("stages, step", MODES)
def test_fillers_reach_neither_objective_nor_gradient(lab, generator, stages, step):
    setting = lab()
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = build(setting, stages=stages)
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, step, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf)
        assert torch.equal(with_nan, with_number)
    assert found[0][0][4] == 0


@pytest.mark.parametrize("stages, step", MODES)
def test_gradient_agrees_with_finite_differences(lab, generator, stages, step):
    setting = lab(weights=[0.7, 1.9])
    model = build(setting, beta=0.6, stages=stages)
    batch = setting.batch(setting.data(5), PRESENT)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
    model.objective(batch, step, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert stages == 2
            continue
        index = (0,) * parameter.ndim
        values = []
        for change in (1e-5, -1e-5):
            parameter.data[index] += change
            values.append(model.objective(batch, step, generator()).loss.item())
            parameter.data[index] -= change
        numeric = (values[0] - values[1]) / 2e-5
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-7), name


def test_gradient_of_a_single_bound_by_hand(lab, generator):
    """At fixed noise, d/d log variance = gamma (d log p(x|z) / dz) SD noise / 2 - beta (variance - 1) / 2."""
    setting = lab()
    xs = setting.data(4)
    model = build(setting, beta=0.6, gammas={"m0": 1.7})
    encoder = model.modalities["m0"].encoder
    encoder.log_variance.data += 0.4
    model.objective(setting.batch(xs), 0.8, generator()).loss.backward()
    part = setting.parts[0]
    mean, variance = lab.product([part], xs[:1], True)
    variance = variance * np.exp(0.4)
    noise = noise_of(generator(), 4)
    z = mean + np.sqrt(variance) * noise
    by_z = 1.7 * (xs[0] - z @ part.w.T - part.b) @ part.w / part.s**2
    by_hand = by_z * 0.5 * np.sqrt(variance) * noise - 0.6 * 0.5 * (variance - 1)
    np.testing.assert_allclose(encoder.log_variance.grad.numpy(), -by_hand.mean(0), rtol=1e-8)


def test_posteriors_are_those_of_what_a_row_has(lab):
    setting = lab(n_modalities=3)
    xs = setting.data(5)
    present = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0], [1, 0, 1, 0, 0]], bool)
    model = build(setting)
    q = model.posterior(setting.batch(xs, present), setting.names)
    for row, members in enumerate(([0, 1, 2], [0], [1, 2], [0, 1])):
        exact = lab.product([setting.parts[m] for m in members], [xs[m][row : row + 1] for m in members], True)
        assert q.mean[row].tolist() == pytest.approx(exact[0][0])
        assert q.variance[row].tolist() == pytest.approx(exact[1][0])
    assert q.mean[4].tolist() == [0, 0] and q.variance[4].tolist() == [1, 1]
    assert torch.equal(model.posterior(setting.batch(xs), ["m2"]).mean, model.experts(setting.batch(xs)).means[2])


def test_private_latents_belong_to_one_modality(lab, generator):
    wide = lab(n_latents=3)

    def encoder(data, session, generator):
        mean = torch.linspace(-1, 1, 4, dtype=torch.float64).expand(len(data["m0"]), 4)
        return mean, torch.full_like(mean, -0.5)

    xs = wide.data(4)
    joint = torch.nn.Module()
    joint.forward = encoder
    model = TELBO(wide.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1}, joint_encoder=joint, stages=1)
    terms = model.objective(wide.batch(xs), 1.0, generator()).terms
    mean = np.linspace(-1, 1, 4)
    assert terms["kl"].detach().numpy() == pytest.approx([lab.kl(mean, np.full(4, np.exp(-0.5)))] * 4)
    for name, part, x in zip(wide.names, wide.parts, xs, strict=True):
        own = lab.kl(part.expert_mean(x), 1 / part.precision)
        assert terms[f"kl_{name}"].detach().numpy() == pytest.approx(own)


def test_training_reaches_the_exact_evidences(lab, generator):
    setting = lab()
    model = build(setting)
    batch = setting.batch(setting.data(4000))
    fresh = setting.data(20_000)
    n_dims = sum(len(p.b) for p in setting.parts)

    def reached(step):
        with torch.no_grad():
            return model.objective(setting.batch(fresh), step, generator()).value.mean().item()

    lab.fit(model, batch, learnt=lambda name: ".encoder." not in name, end=0.5)
    joint = reached(0.2)
    assert abs(joint - lab.evidence(setting.parts, fresh).mean()) / n_dims < 0.01
    lab.fit(model, batch, learnt=lambda name: ".encoder." in name, begin=0.5)
    single = sum(lab.evidence([p], [x]).mean() for p, x in zip(setting.parts, fresh, strict=True))
    assert abs(reached(0.8) - single) / n_dims < 0.01
    assert reached(0.2) == joint


def test_who_learns_when(lab):
    setting = lab()
    present = torch.tensor(PRESENT)
    two, one = build(setting, joint_share=0.3), build(setting, stages=1)
    assert two.usable(present, 0.29).tolist() == [True, False, False, True, False]
    assert two.usable(present, 0.3).tolist() == one.usable(present, 0.0).tolist() == [True, True, True, True, False]
    assert not two.usable(present[:1], 0.0).any()  # one modality has no pairs
    assert [two.settled(step) for step in (0.1, 0.3, 0.31)] == [False, False, True]
    assert one.settled(0.0)
