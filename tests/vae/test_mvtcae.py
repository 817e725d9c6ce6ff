"""MVTCAE against its closed form on linear-Gaussian models and against plain numpy at fixed noise."""

import numpy as np
import pytest
import torch

from pipeline.vae.mvtcae import MVTCAE

ALPHA, BETA = 0.7, 0.6
PRESENT = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 0, 0]], bool)


def kl_between(mean_q, var_q, mean_p, var_p):
    return 0.5 * (var_q / var_p + (mean_q - mean_p) ** 2 / var_p - 1 - np.log(var_q / var_p)).sum(-1)


def by_hand(lab, setting, xs, present, eps):
    """The objective of each row and its terms; where `eps` is None the expectation itself."""
    n = len(xs[0])
    value, prior_kl, kls = np.zeros(n), np.zeros(n), np.zeros((len(xs), n))
    for i in range(n):
        members = [m for m in range(len(xs)) if present[m, i]]
        parts, rows = [setting.parts[m] for m in members], [xs[m][i : i + 1] for m in members]
        mean, variance = lab.product(parts, rows, False)
        for m, part, x in zip(members, parts, rows, strict=True):
            if eps is None:
                log_lik = part.expected_log_lik(x, mean, variance).item()
            else:
                log_lik = part.log_lik(x, mean + np.sqrt(variance) * eps[i]).item()
            value[i] += (len(members) - ALPHA) / len(members) * setting.weights[m] * log_lik
            kls[m, i] = kl_between(mean, variance, *lab.product([part], [x], False)).item()
        prior_kl[i] = lab.kl(mean, variance).item()
        value[i] -= BETA * ((1 - ALPHA) * prior_kl[i] + ALPHA / len(members) * kls[:, i].sum())
    return value, prior_kl, kls


def test_terms_at_fixed_noise(lab, generator):
    setting = lab(n_modalities=3, weights=[0.7, 1.9, 1.0])
    xs = setting.data(5)
    model = MVTCAE(setting.modalities(), latent_dim=2, beta=2 * BETA, warmup_fraction=0.5, alpha=ALPHA)
    objective = model.objective(setting.batch(xs, PRESENT), 0.25, generator())
    eps = torch.randn((1, 5, 2), generator=generator(), dtype=torch.float64).numpy()[0]
    value, prior_kl, kls = by_hand(lab, setting, xs, PRESENT, eps)
    assert objective.value.detach().numpy() == pytest.approx(value)
    assert objective.terms["kl"].detach().numpy() == pytest.approx(prior_kl)
    for m in range(3):
        assert objective.terms[f"kl_m{m}"].detach().numpy() == pytest.approx(kls[m])


def test_expectation_in_closed_form(lab, generator):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(1)
    model = MVTCAE(setting.modalities(), latent_dim=2, beta=BETA, alpha=ALPHA)
    many = model.objective(setting.batch([np.repeat(x, 40_000, 0) for x in xs]), 1.0, generator()).value
    exact, _, _ = by_hand(lab, setting, xs, np.ones((2, 1), bool), None)
    error = many.std().item() / 200
    assert many.mean().item() == pytest.approx(exact.item(), abs=5 * error)
    assert error < 0.05


def test_alpha_0_bounds_the_evidence_and_one_modality_weighs_1_less_alpha(lab, generator):
    setting = lab()
    xs = [np.repeat(x, 40_000, 0) for x in setting.data(1)]
    plain = MVTCAE(setting.modalities(), latent_dim=2, alpha=0.0).objective(setting.batch(xs), 1.0, generator()).value
    evidence = setting.evidence(setting.parts, [x[:1] for x in xs]).item()
    assert plain.mean().item() < evidence + 5 * plain.std().item() / 200
    alone = np.array([[True], [False]]).repeat(len(xs[0]), 1)
    values = [
        MVTCAE(setting.modalities(), latent_dim=2, alpha=alpha).objective(setting.batch(xs, alone), 1.0, generator())
        for alpha in (0.0, ALPHA)
    ]
    assert torch.allclose((1 - ALPHA) * values[0].value, values[1].value)


def test_posterior_is_the_product_without_the_prior(lab):
    setting = lab()
    xs = setting.data(4)
    model = MVTCAE(setting.modalities(), latent_dim=2)
    for given, members in ((["m0"], [0]), (["m0", "m1"], [0, 1])):
        q = model.posterior(setting.batch(xs), given)
        mean, variance = lab.product([setting.parts[m] for m in members], [xs[m] for m in members], False)
        assert q.mean.detach().numpy() == pytest.approx(mean)
        assert q.variance.detach().numpy() == pytest.approx(variance)
    absent = np.array([[True, False], [True, True]])
    q = model.posterior(setting.batch([x[:2] for x in xs], absent), ["m0"])
    assert q.mean[1].tolist() == [0, 0] and q.variance[1].tolist() == [1, 1]


def test_fillers_reach_neither_objective_nor_gradient(lab, generator):
    setting = lab(n_modalities=3)
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = MVTCAE(setting.modalities(), latent_dim=2)
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *objective.terms.values(), *(p.grad for p in model.parameters())])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf) and torch.equal(with_nan, with_number)
    nothing = model.objective(setting.batch(xs, np.zeros((3, 5), bool)), 1.0, generator())
    assert nothing.value.tolist() == [0] * 5


def test_gradient_agrees_with_finite_differences(lab, generator):
    setting = lab(n_modalities=3, weights=[0.7, 1.9, 1.0])
    model = MVTCAE(setting.modalities(), latent_dim=2, beta=BETA, alpha=ALPHA)
    batch = setting.batch(setting.data(5), PRESENT)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
    model.objective(batch, 1.0, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        index = (0,) * parameter.ndim
        values = []
        for step in (1e-5, -1e-5):
            parameter.data[index] += step
            values.append(model.objective(batch, 1.0, generator()).loss.item())
            parameter.data[index] -= step
        assert parameter.grad[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-7), name


def test_private_latents_are_judged_against_the_prior_alone(lab, generator):
    setting = lab(n_latents=3)
    xs = setting.data(4)
    model = MVTCAE(setting.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1}, alpha=ALPHA, beta=BETA)
    objective = model.objective(setting.batch(xs), 1.0, generator())
    shared = [part.precision[:2] for part in setting.parts]
    means = [part.expert_mean(x) for part, x in zip(setting.parts, xs, strict=True)]
    precision = sum(shared)
    mean = sum(t * m[:, :2] for t, m in zip(shared, means, strict=True)) / precision
    for m in range(2):
        expected = kl_between(mean, 1 / precision, means[m][:, :2], 1 / shared[m])
        assert objective.terms[f"kl_m{m}"].detach().numpy() == pytest.approx(expected)
    everything = lab.kl(mean, np.broadcast_to(1 / precision, mean.shape))
    for m, part in enumerate(setting.parts):
        own = 1 / part.precision[2:]
        everything = everything + lab.kl(means[m][:, 2:], np.broadcast_to(own, (4, 1)))
    assert objective.terms["kl"].detach().numpy() == pytest.approx(everything)
