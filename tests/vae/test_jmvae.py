"""JMVAE against closed forms of linear-Gaussian models, and trained to their evidence."""

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.vae.jmvae import JMVAE

PRESENT = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]], bool)


def build(setting, **options):
    return JMVAE(setting.exact_modalities(), **({"latent_dim": 2, "joint_encoder": setting.joint_encoder()} | options))


def divergence(mean_q, variance_q, mean_p, variance_p):
    """KL(q || p), (n, d), by the textbook."""
    return 0.5 * ((variance_q + (mean_q - mean_p) ** 2) / variance_p - 1 + np.log(variance_p / variance_q))


@pytest.mark.parametrize("variant", ["zero", "kl"])
def test_the_exact_posterior_gives_the_evidence_less_the_divergences(lab, generator, variant):
    setting = lab()
    xs = [np.repeat(x, 40_000, 0) for x in setting.data(1)]
    objective = build(setting, variant=variant, alpha=0.3).objective(setting.batch(xs), 1.0, generator())
    exact = lab.evidence(setting.parts, [x[:1] for x in xs]).item()
    joint = lab.product(setting.parts, [x[:1] for x in xs], True)
    for name, part, x in zip(setting.names, setting.parts, xs, strict=True):
        apart = divergence(*joint, *lab.product([part], [x[:1]], True)).sum()
        if variant == "kl":
            assert objective.terms[f"kl_to_{name}"][0].item() == pytest.approx(apart)
            exact -= 0.3 * apart
    error = (objective.value.std() / 200).item()
    assert objective.value.mean().item() == pytest.approx(exact, abs=5 * error)
    assert error < 0.02


@pytest.mark.parametrize("variant", ["zero", "kl"])
def test_terms_at_fixed_noise(lab, generator, variant):
    setting = lab(n_modalities=3, weights=[0.7, 1.9, 1.0])
    xs = setting.data(6)
    present = np.ones((3, 6), bool)
    present[0, 1] = present[2, 4] = False
    model = build(setting, variant=variant, alpha=0.2, beta=0.6, warmup_fraction=0.5)
    objective = model.objective(setting.batch(xs, present), 0.25, generator())  # beta is half way: 0.3
    whole = present.all(0)
    noise = torch.randn((1, 4, 2), generator=generator(), dtype=torch.float64).numpy()[0]
    seen = [x[whole] for x in xs]
    joint = lab.product(setting.parts, seen, True)
    z = joint[0] + np.sqrt(joint[1]) * noise
    expected = -0.3 * lab.kl(*joint)
    for name, weight, part, x in zip(setting.names, setting.weights, setting.parts, seen, strict=True):
        log_lik = part.log_lik(x, z)
        assert objective.terms[name].detach().numpy()[whole] == pytest.approx(log_lik)
        expected += weight * log_lik
        if variant == "kl":
            expected -= 0.2 * divergence(*joint, *lab.product([part], [x], True)).sum(-1)
    assert objective.value.detach().numpy()[whole] == pytest.approx(expected)
    assert (objective.value[~whole] == 0).all()  # rows that lack a modality teach nothing
    assert ("kl_to_m0" in objective.terms) == (variant == "kl")


def test_both_sides_of_the_divergence_learn(lab, generator):
    """Hand-derived at fixed data: d KL(q || q_m) by the means and log variances of both."""
    setting = lab()
    xs = setting.data(4)
    grads = {}
    for alpha in (0.0, 0.5):
        model = build(setting, alpha=alpha)
        model.joint_encoder.log_variance.data += 0.4
        model.objective(setting.batch(xs), 1.0, generator()).loss.backward()
        grads[alpha] = {
            "joint": model.joint_encoder.log_variance.grad.numpy().copy(),
            "single": [m.encoder.log_variance.grad for m in model.modalities.values()],
        }
    mean, variance = lab.product(setting.parts, xs, True)
    variance = variance * np.exp(0.4)
    by_joint = np.zeros(2)
    for part, x, found in zip(setting.parts, xs, grads[0.5]["single"], strict=True):
        mean_m, variance_m = lab.product([part], [x], True)
        by_single = 0.5 * (1 - (variance + (mean - mean_m) ** 2) / variance_m)
        np.testing.assert_allclose(found.numpy(), 0.5 * by_single.mean(0), rtol=1e-8)
        by_joint += 0.5 * (0.5 * (variance / variance_m - 1)).mean(0)
    np.testing.assert_allclose(grads[0.5]["joint"] - grads[0.0]["joint"], by_joint, rtol=1e-8)


def test_gradient_of_the_bound_by_hand(lab, generator):
    """At fixed noise, d/d log variance = (d log p(x|z) / dz) SD noise / 2 - beta (variance - 1) / 2."""
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(4)
    model = build(setting, variant="zero", beta=0.6)
    model.joint_encoder.log_variance.data += 0.4
    model.objective(setting.batch(xs), 1.0, generator()).loss.backward()
    noise = torch.randn((1, 4, 2), generator=generator(), dtype=torch.float64).numpy()[0]
    mean, variance = lab.product(setting.parts, xs, True)
    variance = variance * np.exp(0.4)
    z = mean + np.sqrt(variance) * noise
    by_z = sum(
        weight * (x - z @ p.w.T - p.b) @ p.w / p.s**2
        for weight, p, x in zip(setting.weights, setting.parts, xs, strict=True)
    )
    by_hand = by_z * 0.5 * np.sqrt(variance) * noise - 0.6 * 0.5 * (variance - 1)
    np.testing.assert_allclose(model.joint_encoder.log_variance.grad.numpy(), -by_hand.mean(0), rtol=1e-8)


@pytest.mark.parametrize("variant", ["zero", "kl"])
def test_fillers_reach_neither_objective_nor_gradient(lab, generator, variant):
    setting = lab()
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = build(setting, variant=variant)
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
        found[-1] += [model.posterior(batch, setting.names).mean.detach(), model.posterior(batch, ["m1"]).mean.detach()]
    assert len(found[0]) == 3 + (12 if variant == "kl" else 6) + 5
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf)
        assert torch.equal(with_nan, with_number)


@pytest.mark.parametrize("variant", ["zero", "kl"])
def test_gradient_agrees_with_finite_differences(lab, generator, variant):
    setting = lab(weights=[0.7, 1.9])
    model = build(setting, beta=0.6, variant=variant)
    batch = setting.batch(setting.data(5), PRESENT)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
    model.objective(batch, 1.0, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        if variant == "zero" and ".encoder." in name:
            assert parameter.grad is None, name
            continue
        index = (0,) * parameter.ndim
        values = []
        for step in (1e-5, -1e-5):
            parameter.data[index] += step
            values.append(model.objective(batch, 1.0, generator()).loss.item())
            parameter.data[index] -= step
        numeric = (values[0] - values[1]) / 2e-5
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-7), name


def test_what_one_modality_tells(lab):
    setting = lab()
    xs = setting.data(5)
    model = build(setting)
    q = model.posterior(setting.batch(xs, PRESENT), ["m0", "m1"])
    for row, members in enumerate(([0, 1], [0], [1], [0, 1])):
        exact = lab.product([setting.parts[m] for m in members], [xs[m][row : row + 1] for m in members], True)
        assert q.mean[row].tolist() == pytest.approx(exact[0][0])
        assert q.variance[row].tolist() == pytest.approx(exact[1][0])
    assert q.mean[4].tolist() == [0, 0] and q.variance[4].tolist() == [1, 1]  # nothing: the prior
    with pytest.raises(InputError, match="m0, m1"):
        model.posterior(setting.batch(xs), ["audio"])


def test_imputation_settles_at_the_mean_given_what_is_there(lab):
    """The fixed point of x_m <- E p(x_m|z), z <- E q(z|x) is the exact posterior mean; the SD stays the joint one."""
    setting = lab(n_modalities=3)
    xs = setting.data(5)
    present = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0], [1, 0, 1, 0, 0]], bool)
    model = build(setting, variant="zero", impute_iterations=1000)
    q = model.posterior(setting.batch(xs, present), setting.names)
    joint = lab.product(setting.parts, xs, True)[1]
    for row, members in enumerate(([0, 1, 2], [0], [1, 2], [0, 1])):
        exact = lab.product([setting.parts[m] for m in members], [xs[m][row : row + 1] for m in members], True)
        assert q.mean[row].tolist() == pytest.approx(exact[0][0], abs=2e-3)
        assert q.variance[row].tolist() == pytest.approx(joint[0])
    assert q.mean[4].tolist() == [0, 0] and q.variance[4].tolist() == [1, 1]
    with pytest.raises(InputError, match="m0, m1"):
        model.posterior(setting.batch(xs), ["audio"])


def test_imputation_starts_from_zeros_and_counts_its_steps(lab):
    setting = lab()
    xs = setting.data(3)
    precision = [p.precision for p in setting.parts]
    total = 1 + sum(precision)
    own = precision[0] * setting.parts[0].expert_mean(xs[0])
    z = (own + precision[1] * setting.parts[1].expert_mean(np.zeros_like(xs[1]))) / total
    for steps in range(3):
        model = build(setting, variant="zero", impute_iterations=steps)
        assert model.posterior(setting.batch(xs), ["m0"]).mean.detach().numpy() == pytest.approx(z)
        z = (own + precision[1] * z) / total


def test_imputation_stops_where_nothing_moves(lab):
    setting = lab()
    model = build(setting, variant="zero", impute_iterations=10_000)
    calls = []
    model.joint_encoder.register_forward_hook(lambda *_: calls.append(1))
    model.posterior(setting.batch(setting.data(20)), ["m1"])
    assert 2 < len(calls) < 500


def test_private_latents_count_for_the_divergence_of_their_modality(lab, generator):
    wide = lab(n_latents=3)

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Parameter(torch.linspace(-1, 1, 4, dtype=torch.float64))

        def forward(self, data, *, session, generator):
            mean = self.mean.expand(len(data["m0"]), 4)
            return mean, torch.full_like(mean, -0.5)

    xs = wide.data(4)
    model = JMVAE(
        wide.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1}, joint_encoder=Encoder(), variant="kl"
    )
    terms = model.objective(wide.batch(xs), 1.0, generator()).terms
    mean = np.linspace(-1, 1, 4)
    for name, latents, part, x in zip(wide.names, ([0, 1, 2], [0, 1, 3]), wide.parts, xs, strict=True):
        apart = divergence(mean[latents], np.exp(-0.5), part.expert_mean(x), 1 / part.precision).sum(-1)
        assert terms[f"kl_to_{name}"].detach().numpy() == pytest.approx(apart)
    q = model.posterior(wide.batch(xs), ["m0"])
    assert torch.equal(q.mean[:, 3], torch.zeros(4, dtype=torch.float64))


def test_training_reaches_the_exact_evidence(lab, generator):
    setting = lab()
    model = build(setting, variant="zero")
    lab.fit(model, setting.batch(setting.data(4000)), learnt=lambda name: ".encoder." not in name)
    fresh = setting.data(20_000)
    with torch.no_grad():
        reached = model.objective(setting.batch(fresh), 1.0, generator()).value.mean().item()
    exact = lab.evidence(setting.parts, fresh).mean()
    assert abs(reached - exact) / sum(len(p.b) for p in setting.parts) < 0.01
