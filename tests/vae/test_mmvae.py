"""MMVAE against numpy at fixed noise (values and hand-derived gradients), closed forms and quadrature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import laplace, norm

from pipeline.errors import InputError
from pipeline.vae import mmvae
from pipeline.vae.mmvae import MMVAE

PRESENT = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]], bool)


def parameters_of(model):
    """Encoder and decoder of each modality as numpy arrays."""
    return [
        {
            "a": m.encoder.weight.detach().numpy(),
            "c": m.encoder.shift.detach().numpy(),
            "v": m.encoder.log_variance.detach().numpy(),
            "w": m.decoder.weight.detach().numpy(),
            "b": m.decoder.shift.detach().numpy(),
            "s": np.exp(m.decoder.log_scale.item()),
        }
        for m in model.modalities.values()
    ]


def moved(setting, generator, **options):
    """A model away from its optimum, where no gradient vanishes."""
    model = MMVAE(setting.modalities(), latent_dim=2, **options)
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * torch.randn(parameter.shape, generator=generator(1)).double()
    return model


def by_hand(parts, weights, xs, present, noise, *, objective, bound, gradient, beta=1.0):
    """Value (n,), and gradients of the loss by modality and parameter, for normal experts with prior N(0, I).

    noise: (k, pairs, d), pairs ordered by expert, then row.
    """
    n_modalities, n = present.shape
    k = len(noise)
    pairs = [(m, i) for m in range(n_modalities) for i in range(n) if present[m, i]]
    value = np.zeros(n)
    gradients = [{name: np.zeros(np.shape(x)) for name, x in part.items()} for part in parts]
    for i in range(n):
        have = [m for m in range(n_modalities) if present[m, i]]
        if not have:
            continue
        mu = {m: (xs[m][i] - parts[m]["c"]) @ parts[m]["a"] for m in have}
        var = {m: np.exp(parts[m]["v"]) for m in have}
        z = {m: mu[m] + np.sqrt(var[m]) * noise[:, pairs.index((m, i))] for m in have}  # (k, d)
        log_w, log_each = {}, {}
        for m in have:
            log_each[m] = {j: norm.logpdf(z[m], mu[j], np.sqrt(var[j])).sum(-1) for j in have}
            log_q = logsumexp(list(log_each[m].values()), 0) - np.log(len(have))
            log_lik = sum(
                weights[d] * norm.logpdf(xs[d][i], z[m] @ parts[d]["w"].T + parts[d]["b"], parts[d]["s"]).sum(-1)
                for d in have
            )
            log_w[m] = log_lik + beta * (norm.logpdf(z[m]).sum(-1) - log_q)
        everything = np.concatenate(list(log_w.values()))
        for m in have:
            if objective == "elbo":
                value[i] += log_w[m].mean() / len(have)
                wbar, outer = np.full(k, 1 / k), 1 / len(have)
            elif bound == "looser":
                value[i] += (logsumexp(log_w[m]) - np.log(k)) / len(have)
                wbar, outer = np.exp(log_w[m] - logsumexp(log_w[m])), 1 / len(have)
            else:
                value[i] = logsumexp(everything) - np.log(k * len(have))
                wbar, outer = np.exp(log_w[m] - logsumexp(everything)), 1.0
            top = max(log_each[m].values(), key=lambda x: x.max()).max()
            total = sum(np.exp(each - top) for each in log_each[m].values())
            r = {j: np.exp(log_each[m][j] - top) / total for j in have}  # responsibilities, (k,)
            dq_dz = sum(r[j][:, None] * -(z[m] - mu[j]) / var[j] for j in have)
            dw_dz = beta * (-z[m] - dq_dz)
            for d in have:
                residual = (xs[d][i] - z[m] @ parts[d]["w"].T - parts[d]["b"]) / parts[d]["s"]  # (k, p)
                scaled = residual / parts[d]["s"]
                dw_dz = dw_dz + weights[d] * scaled @ parts[d]["w"]
                c = -outer * wbar * weights[d] / n  # decoders feel the weights once, whatever the estimator
                gradients[d]["w"] += np.einsum("k,kp,kd->pd", c, scaled, z[m])
                gradients[d]["b"] += c @ scaled
                gradients[d]["s"] += c @ (residual**2 - 1).sum(-1)  # of log s
            path = {"plain": wbar, "stl": wbar}.get(gradient, wbar * (1 - beta + beta * wbar))
            d_mu = {j: np.zeros(len(mu[m])) for j in have}
            d_v = {j: np.zeros(len(mu[m])) for j in have}
            d_mu[m] += (path[:, None] * dw_dz).sum(0)
            d_v[m] += (path[:, None] * dw_dz * 0.5 * (z[m] - mu[m])).sum(0)
            for j in have:  # what log q(z|x) says of the parameters at a fixed z
                share = {"plain": -r[j], "dreg_mixture": (j == m) - r[j]}.get(gradient, np.zeros(k))
                distance = z[m] - mu[j]
                c = (beta * wbar * share)[:, None]
                d_mu[j] += (c * distance / var[j]).sum(0)
                d_v[j] += (c * 0.5 * (distance**2 / var[j] - 1)).sum(0)
            for j in have:
                scale = -outer / n
                gradients[j]["a"] += scale * np.outer(xs[j][i] - parts[j]["c"], d_mu[j])
                gradients[j]["c"] -= scale * parts[j]["a"] @ d_mu[j]
                gradients[j]["v"] += scale * d_v[j]
    return value, gradients


CASES = [
    (objective, bound, gradient)
    for objective, bound in (("iwae", "looser"), ("iwae", "tight"), ("elbo", "looser"))
    for gradient in ("plain", "stl", "dreg", "dreg_mixture")
    if objective == "iwae" or not gradient.startswith("dreg")
]


@pytest.mark.parametrize(("objective", "bound", "gradient"), CASES)
@pytest.mark.parametrize("beta", [1.0, 0.6])
def test_value_and_gradients_at_fixed_noise(lab, generator, objective, bound, gradient, beta):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(5)
    options = {"objective": objective, "bound": bound, "gradient": gradient}
    model = moved(setting, generator, k=3, beta=2 * beta, warmup_fraction=0.5, **options)
    found = model.objective(setting.batch(xs, PRESENT), 0.25, generator())  # half way
    found.loss.backward()
    noise = torch.randn((3, 6, 2), generator=generator(), dtype=torch.float64).numpy()
    value, gradients = by_hand(parameters_of(model), setting.weights, xs, PRESENT, noise, beta=beta, **options)
    assert found.value.detach().numpy() == pytest.approx(value, rel=1e-10)
    for modality, wanted in zip(model.modalities.values(), gradients, strict=True):
        pairs = {
            "a": modality.encoder.weight,
            "c": modality.encoder.shift,
            "v": modality.encoder.log_variance,
            "w": modality.decoder.weight,
            "b": modality.decoder.shift,
            "s": modality.decoder.log_scale,
        }
        for name, parameter in pairs.items():
            largest = np.abs(wanted[name]).max()
            assert largest > 1e-3, name
            assert np.abs(parameter.grad.numpy() - wanted[name]).max() <= 1e-8 * largest, name


@pytest.mark.parametrize("bound", ["looser", "tight"])
def test_laplace_experts_and_a_learned_prior_at_fixed_noise(lab, generator, bound):
    setting = lab(weights=[0.7, 1.9])
    xs = setting.data(4)
    model = moved(setting, generator, posterior="laplace", prior_scale="learned", k=3, bound=bound)
    objective = model.objective(setting.batch(xs), 1.0, generator())
    parts, logits = parameters_of(model), model.prior_logits.detach().numpy()
    prior_sd = 2 * np.exp(logits) / np.exp(logits).sum()
    assert not np.allclose(prior_sd, 1)
    pair = torch.empty((2, 3, 8, 2), dtype=torch.float64).exponential_(generator=generator()).numpy()
    noise = ((pair[0] - pair[1]) / np.sqrt(2)).reshape(3, 2, 4, 2)
    mu = [(x - p["c"]) @ p["a"] for x, p in zip(xs, parts, strict=True)]
    sd = [np.exp(p["v"] / 2) for p in parts]
    log_w, terms, kl = [], np.zeros((2, 4)), np.zeros(4)
    for m in (0, 1):
        z = mu[m] + sd[m] * noise[:, m]  # (3, 4, 2)
        each = [laplace.logpdf(z, mu[j], sd[j] / np.sqrt(2)).sum(-1) for j in (0, 1)]
        log_q = logsumexp(each, 0) - np.log(2)
        log_p = laplace.logpdf(z, 0, prior_sd / np.sqrt(2)).sum(-1)
        log_lik = [norm.logpdf(xs[d], z @ p["w"].T + p["b"], p["s"]).sum(-1) for d, p in enumerate(parts)]
        log_w.append(0.7 * log_lik[0] + 1.9 * log_lik[1] + log_p - log_q)
        terms += np.mean(log_lik, 1) / 2
        kl += (log_q - log_p).mean(0) / 2
    wanted = np.mean([logsumexp(w, 0) - np.log(3) for w in log_w], 0)
    if bound == "tight":
        wanted = logsumexp(log_w, (0, 1)) - np.log(6)
    assert objective.value.detach().numpy() == pytest.approx(wanted)
    assert objective.terms["m0"].detach().numpy() == pytest.approx(terms[0])
    assert objective.terms["m1"].detach().numpy() == pytest.approx(terms[1])
    assert objective.terms["kl"].detach().numpy() == pytest.approx(kl)


@pytest.mark.parametrize("options", [{}, {"bound": "tight"}, {"objective": "elbo"}])
def test_plain_gradients_with_every_option_agree_with_finite_differences(lab, generator, options):
    setting = lab(n_modalities=3, n_latents=3)
    options = options | {"posterior": "laplace", "prior_scale": "learned", "gradient": "plain", "k": 2}
    model = MMVAE(setting.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1, "m2": 1}, **options).double()
    present = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]], bool)
    batch = setting.batch(setting.data(4), present)
    model.objective(batch, 1.0, generator()).loss.backward()
    for name, parameter in model.named_parameters():
        index = (0,) * parameter.ndim
        values = []
        for step in (1e-6, -1e-6):
            parameter.data[index] += step
            values.append(model.objective(batch, 1.0, generator()).loss.item())
            parameter.data[index] -= step
        numeric = (values[0] - values[1]) / 2e-6
        assert parameter.grad[index].item() == pytest.approx(numeric, rel=1e-4, abs=1e-6), name


def copies(xs, n):
    return [np.repeat(x[:1], n, 0) for x in xs]


def gradient_moments(setting, generator, batch, *, repeats=16, **options):
    """Mean and standard error of the encoders' gradients over draws."""
    draws = []
    for seed in range(repeats):
        model = moved(setting, generator, k=3, **options)
        model.objective(batch, 1.0, generator(seed)).loss.backward()
        parameters = [p for m in model.modalities.values() for p in (m.encoder.weight, m.encoder.log_variance)]
        draws.append(np.concatenate([p.grad.numpy().ravel() for p in parameters if p.grad is not None]))
    return np.mean(draws, 0), np.std(draws, 0, ddof=1) / np.sqrt(repeats)


@pytest.mark.parametrize("bound", ["looser", "tight"])
def test_gradient_estimators_agree_in_expectation(lab, generator, bound):
    setting = lab()
    xs = copies(setting.data(1), 2000)
    both, one = setting.batch(xs), setting.batch(xs, np.array([[True], [False]]).repeat(2000, 1))
    for batch, other in ((one, "dreg"), (both, "dreg_mixture")):
        (plain, se), (reparameterised, se_other) = (
            gradient_moments(setting, generator, batch, bound=bound, gradient=g) for g in ("plain", other)
        )
        distance = (plain - reparameterised) / np.maximum(np.hypot(se, se_other), 1e-12)
        assert np.abs(distance).max() < 4.5
        if other == "dreg":
            assert se_other.sum() < se.sum()  # what it is for
    published, se_published = gradient_moments(setting, generator, both, bound="looser", gradient="dreg")
    plain, se = gradient_moments(setting, generator, both, bound="looser", gradient="plain")
    assert np.abs((plain - published) / np.hypot(se, se_published)).max() > 10  # its bias, as the docstring says


def nodes_of_a_normal(n):
    """Even steps and their shares: for smooth functions the error falls faster than any power of the step."""
    nodes = np.linspace(-7.5, 7.5, n)
    shares = np.exp(-0.5 * nodes**2)
    return nodes, shares / shares.sum()


def exact_bound(parts, xs, bound, n_nodes):
    """The looser bound with K = 2, or the tight one with K = 1, of one latent and two experts, by quadrature."""
    nodes, shares = nodes_of_a_normal(n_nodes)
    mu = [((x - part["c"]) @ part["a"]).item() for x, part in zip(xs, parts, strict=True)]
    sd = [np.exp(0.5 * part["v"]).item() for part in parts]
    log_w = []
    for m in (0, 1):
        z = (mu[m] + sd[m] * nodes)[:, None]
        log_q = logsumexp([norm.logpdf(z[:, 0], mu[j], sd[j]) for j in (0, 1)], 0) - np.log(2)
        log_lik = sum(norm.logpdf(x, z @ p["w"].T + p["b"], p["s"]).sum(-1) for x, p in zip(xs, parts, strict=True))
        log_w.append(log_lik + norm.logpdf(z[:, 0]) - log_q)
    pairs = [(0, 0), (1, 1)] if bound == "looser" else [(0, 1)]
    return np.mean([shares @ np.logaddexp.outer(log_w[a], log_w[b]) @ shares - np.log(2) for a, b in pairs])


@pytest.mark.parametrize("bound", ["looser", "tight"])
def test_expected_gradients_against_that_of_the_exact_bound(lab, monkeypatch, bound):
    """All pairs of quadrature nodes stand in for the noise: a mean over rows is an expectation, without any error."""
    setting, n_nodes = lab(n_latents=1), 160
    xs = setting.data(1)
    nodes, shares = (torch.tensor(x) for x in nodes_of_a_normal(n_nodes))
    noise = torch.stack([nodes.repeat_interleave(n_nodes), nodes.repeat(n_nodes)])  # (sample or expert, row)
    noise = noise.repeat(1, 2) if bound == "looser" else noise.reshape(1, -1)  # (k, pairs of an expert and a row)
    monkeypatch.setattr(mmvae, "standard_noise", lambda *_, **__: noise.unsqueeze(-1))
    batch = setting.batch(copies(xs, n_nodes**2))
    found = {}
    for gradient in ("plain", "stl", "dreg", "dreg_mixture"):
        options = {"k": 2 if bound == "looser" else 1, "bound": bound, "gradient": gradient}
        model = MMVAE(setting.modalities(), latent_dim=1, **options)
        encoders = [modality.encoder for modality in model.modalities.values()]
        for encoder, shift in zip(encoders, (0.5, -1.0), strict=True):
            encoder.shift.data += shift * encoder.weight.data.T[0]
            encoder.log_variance.data += 0.5
        value = torch.outer(shares, shares).flatten() @ model.objective(batch, 1.0).value
        value.backward()
        found[gradient] = np.array([p.grad.ravel()[0].item() for e in encoders for p in (e.weight, e.log_variance)])
    parts = parameters_of(model)
    assert value.item() == pytest.approx(exact_bound(parts, [x[0] for x in xs], bound, n_nodes), rel=1e-8)
    exact = []
    for part in parts:
        for x in (part["a"], part["v"]):
            values = []
            for step in (1e-5, -1e-5):
                x.flat[0] += step
                values.append(exact_bound(parts, [x[0] for x in xs], bound, n_nodes))
                x.flat[0] -= step
            exact.append((values[0] - values[1]) / 2e-5)
    off = {gradient: np.abs(values / exact - 1) for gradient, values in found.items()}
    assert off["plain"].max() < 1e-8 and off["dreg_mixture"].max() < 1e-6
    assert off["dreg"].max() > 0.03 and off["stl"].max() > 0.1  # biased, as the docstring says


def test_the_elbo_of_equal_experts_is_closed_form(lab, generator):
    setting = lab(weights=[0.7, 1.9])
    xs = copies(setting.data(1), 20_000)
    model = MMVAE(setting.modalities(), latent_dim=2, objective="elbo", k=2)
    for modality in model.modalities.values():
        modality.encoder.weight.data.zero_()
        modality.encoder.log_variance.data = torch.tensor([-0.5, -1.0], dtype=torch.float64)
    value = model.objective(setting.batch(xs), 1.0, generator()).value
    mean, variance = np.zeros((1, 2)), np.exp([[-0.5, -1.0]])
    wanted = -lab.kl(mean, variance).item()
    for weight, part, x in zip(setting.weights, setting.parts, xs, strict=True):
        wanted += weight * part.expected_log_lik(x[:1], mean, variance).item()
    assert value.mean().item() == pytest.approx(wanted, abs=5 * value.std().item() / 20_000**0.5)


def test_the_elbo_of_a_mixture_agrees_with_quadrature(lab, generator):
    setting = lab(n_latents=1)
    xs = setting.data(1)
    model = MMVAE(setting.modalities(), latent_dim=1, objective="elbo", k=5)
    value = model.objective(setting.batch(copies(xs, 20_000)), 1.0, generator()).value
    q = [norm(p.expert_mean(x).item(), p.precision.item() ** -0.5) for p, x in zip(setting.parts, xs, strict=True)]

    def integrand(z):
        density = (q[0].pdf(z) + q[1].pdf(z)) / 2
        if density < 1e-200:
            return 0.0
        log_lik = sum(p.log_lik(x, np.array([[z]])).item() for p, x in zip(setting.parts, xs, strict=True))
        return density * (log_lik + norm.logpdf(z) - np.log(density))

    wanted = quad(integrand, -15, 15, limit=500)[0]
    assert value.mean().item() == pytest.approx(wanted, abs=5 * value.std().item() / 20_000**0.5)


def exact_encoders(model, parts):
    """Make q(z|x_m) the exact posterior of modality m."""
    for modality, part in zip(model.modalities.values(), parts, strict=True):
        precision = torch.tensor(part.precision)
        modality.encoder.weight.data *= precision / (1 + precision)
        modality.encoder.log_variance.data = -torch.log(1 + precision)
    return model


@pytest.mark.parametrize("options", [{}, {"bound": "tight"}, {"objective": "elbo"}, {"prior_scale": "learned"}])
def test_an_unpaired_row_reaches_its_evidence(lab, generator, options):
    setting = lab(n_latents=3)
    xs = setting.data(3)
    present = np.array([[True] * 3, [False] * 3])
    model = MMVAE(setting.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1}, k=4, **options)
    value = exact_encoders(model, setting.parts).objective(setting.batch(xs, present), 1.0, generator()).value
    assert value.detach().numpy() == pytest.approx(lab.evidence(setting.parts[:1], xs[:1]))  # without any noise


def test_more_samples_come_closer_from_below(lab, generator):
    setting = lab()
    xs = setting.data(1)
    exact = lab.evidence(setting.parts, xs).item()
    found = {}
    for bound in ("looser", "tight"):
        for k in (1, 3, 10, 40):
            model = MMVAE(setting.modalities(), latent_dim=2, k=k, bound=bound)
            value = model.objective(setting.batch(copies(xs, 40_000 // k)), 1.0, generator()).value
            found[bound, k] = value.mean().item(), value.std().item() / len(value) ** 0.5
    for bound in ("looser", "tight"):
        means = [found[bound, k][0] for k in (1, 3, 10, 40)]
        errors = [found[bound, k][1] for k in (1, 3, 10, 40)]
        assert (np.diff(means) > 3 * np.hypot(errors[1:], errors[:-1])).all()
        assert max(np.array(means) - 3 * np.array(errors)) < exact
    assert all(found["tight", k][0] > found["looser", k][0] for k in (1, 3, 10, 40))
    assert found["tight", 40][0] == pytest.approx(exact, abs=0.1)


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg", "dreg_mixture"])
def test_pieces_give_the_same_as_one_call(lab, generator, monkeypatch, gradient):
    setting = lab()
    batch = setting.batch(setting.data(5), PRESENT)
    found = []
    for at_once in (10**9, 1):
        monkeypatch.setattr(mmvae, "DECODED_AT_ONCE", at_once)
        model = moved(setting, generator, gradient=gradient, k=3)
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *(p.grad for p in model.parameters())])
    for whole, pieces in zip(*found, strict=True):
        assert torch.allclose(whole, pieces, rtol=1e-12)


def test_every_network_runs_once(lab, generator):
    setting = lab(n_modalities=3)
    model = MMVAE(setting.modalities(), latent_dim=2, k=7)
    calls = []
    for modality in model.modalities.values():
        for network in (modality.encoder, modality.decoder):
            network.register_forward_hook(lambda network, inputs, output: calls.append(network))
    model.objective(setting.batch(setting.data(4)), 1.0, generator())
    assert len(calls) == len(set(calls)) == 6


@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg", "dreg_mixture"])
@pytest.mark.parametrize("bound", ["looser", "tight"])
def test_fillers_reach_nothing(lab, generator, gradient, bound):
    setting = lab()
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), -5.0):
        model = moved(setting, generator, gradient=gradient, bound=bound, posterior="laplace", prior_scale="learned")
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        assert objective.value[4] == 0  # a row without data
        found.append([objective.value.detach(), *objective.terms.values(), *(p.grad for p in model.parameters())])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf)
        assert torch.equal(with_nan, with_number)


def test_the_posterior_is_the_mixture_of_what_is_given(lab):
    setting = lab()
    xs = setting.data(5)
    model = MMVAE(setting.modalities(), latent_dim=2, posterior="laplace", prior_scale="learned").double()
    model.prior_logits.data = torch.tensor([0.4, -0.4]).double()
    q = model.posterior(setting.batch(xs, PRESENT), ["m0", "m1"])
    means = [p.expert_mean(x) for p, x in zip(setting.parts, xs, strict=True)]
    wanted = [np.mean([means[m][i] for m in (0, 1) if PRESENT[m, i]], 0) for i in range(4)]
    assert q.mean[:4].detach().numpy() == pytest.approx(np.array(wanted))
    assert q.family == "laplace"
    assert torch.equal(q.variance[4], model.prior.variance[0])  # a row without any
    assert model.prior.variance.sqrt().mean().item() == pytest.approx(1)
    one = model.posterior(setting.batch(xs), ["m1"])
    assert one.log_prob(torch.tensor(xs[0][:, :2])).detach().numpy() == pytest.approx(
        laplace.logpdf(xs[0][:, :2], means[1], setting.parts[1].precision ** -0.5 / np.sqrt(2)).sum(-1)
    )


def test_the_learned_prior_is_sampled_and_weighed(lab, generator):
    model = MMVAE(lab().modalities(), latent_dim=2, prior_scale="learned").double()
    model.prior_logits.data = torch.tensor([0.4, -0.4]).double()
    sd = 2 * np.exp([0.4, -0.4]) / np.exp([0.4, -0.4]).sum()
    z = model.sample_prior(20_000, generator()).detach().numpy()
    assert z.std(0) == pytest.approx(sd, rel=0.03)
    assert model.prior_log_prob(torch.tensor(z[:5])).detach().numpy() == pytest.approx(
        norm.logpdf(z[:5], 0, sd).sum(-1)
    )


def test_nothing_is_recorded_without_gradients(lab, generator):
    setting = lab()
    model = MMVAE(setting.modalities(), latent_dim=2)
    batch = setting.batch(setting.data(3))
    with torch.no_grad():
        value = model.objective(batch, 1.0, generator()).value
    assert torch.allclose(value, model.objective(replace(batch), 1.0, generator()).value)


def test_an_elbo_has_no_dreg(lab):
    with pytest.raises(InputError, match="mmvae: objective elbo"):
        MMVAE(lab().modalities(), latent_dim=2, objective="elbo", gradient="dreg")
