"""MEME against plain numpy at fixed noise, with its ratio held still, and against closed forms of linear models."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn

from pipeline.errors import InputError
from pipeline.vae.base import Batch, Modality
from pipeline.vae.meme import MEME
from pipeline.vae.modality import Contextual

PRESENT = np.array([[1, 1, 0, 1, 0, 1], [1, 0, 1, 1, 0, 1]], bool)
FRESH, BETA = 4, 0.6


def numbers(model):
    """Each modality's parameters as numpy: encoder e, f, v and decoder w, b, s; the inputs u_i; lambda."""
    found = []
    for name, modality in model.modalities.items():
        e, d, u = modality.encoder, modality.decoder, model.pseudo[name]
        inputs = u.values["all"] * u.scale_all + u.center_all
        parts = (e.weight, e.shift, e.log_variance, d.weight, d.shift, d.log_scale, inputs)
        found.append(SimpleNamespace(**dict(zip("efvwbsu", (p.detach().numpy() for p in parts), strict=True))))
        found[-1].weight = modality.weight
    return found


def encode(m, x):
    return (x - m.f) @ m.e, np.broadcast_to(m.v, (len(x), len(m.v)))


def log_lik(m, x, z):
    return norm.logpdf(x, z @ m.w.T + m.b, np.exp(m.s)).sum(-1)


def log_normal(z, mean, log_variance):
    return norm.logpdf(z, mean, np.exp(0.5 * log_variance)).sum(-1)


def by_hand(model, xs, present, eps, *, variant="paper", temperature=1.0, beta=1.0, held=None):
    """Objective, ratios (2, n) and terms of each direction; `held` ratios stand in for those found."""
    parts, n = numbers(model), len(xs[0])
    value, ratios, kls, ess, cross = np.zeros(n), np.zeros((2, n)), np.zeros((2, n)), np.zeros((2, n)), np.zeros((2, n))
    for direction, (s, t) in enumerate(((0, 1), (1, 0))):
        for i in np.flatnonzero(present[s]):
            x_s, x_t = xs[s][i : i + 1], xs[t][i : i + 1]
            mean, log_variance = encode(parts[s], x_s)
            z = mean + np.exp(0.5 * log_variance) * eps[direction][:, i]  # (k, d)
            log_s = parts[s].weight * log_lik(parts[s], x_s, z[:1]).item()
            log_q = log_normal(z[0], mean, log_variance).item()
            if not present[t, i]:
                u_mean, u_log_variance = encode(parts[t], parts[t].u)
                each = log_normal(z[0], u_mean, u_log_variance)
                kls[direction, i] = log_q - (logsumexp(each) - math.log(len(each)))
                value[i] += log_s - beta * kls[direction, i]
                continue
            l_t = log_lik(parts[t], x_t, z)
            powers = np.exp(l_t / temperature)
            weights = powers / powers.mean()
            ratios[direction, i] = weights[0]
            ess[direction, i] = weights.sum() ** 2 / (weights**2).sum()
            cross[direction, i] = np.log(np.exp(l_t).mean())
            w = weights[0] if held is None else held[direction, i]
            m_t, v_t = encode(parts[t], x_t)
            if variant == "paper":
                kls[direction, i] = log_q - log_normal(z[0], m_t, v_t).item()
                inner = kls[direction, i] + l_t[0] / temperature
                value[i] += (w * (log_s - beta * inner) + beta * np.log(powers.mean())) / 2
            else:
                ratio = np.exp(log_variance - v_t)
                kls[direction, i] = 0.5 * (ratio + (mean - m_t) ** 2 / np.exp(v_t) - 1 - np.log(ratio)).sum()
                value[i] += w * (log_s - l_t[0] / temperature - beta * kls[direction, i]) + 10 * np.log(powers.mean())
    return value, ratios, {"kl": kls, "ess": ess, "cross": cross}


def noise(generator, n=6, fresh=FRESH):
    return [torch.randn((1 + fresh, n, 2), generator=generator, dtype=torch.float64).numpy() for _ in range(2)]


@pytest.fixture
def made(lab, generator):
    """make(**options): model whose parameters and pseudo-samples are nowhere special, data and lab."""

    def make(**options):
        setting = lab(weights=[0.7, 1.9])
        xs = setting.data(6)
        model = MEME(setting.modalities(), latent_dim=2, fresh_samples=FRESH, pseudo_samples=3, **options)
        model.start([setting.batch(xs, PRESENT)])
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator(1), dtype=torch.float64)
        return model, xs, setting

    return make


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_terms_at_fixed_noise(made, generator, variant, temperature):
    model, xs, setting = made(variant=variant, ratio_temperature=temperature, beta=2 * BETA, warmup_fraction=0.5)
    objective = model.objective(setting.batch(xs, PRESENT), 0.25, generator())
    settings = {"variant": variant, "temperature": temperature, "beta": BETA}
    value, ratios, terms = by_hand(model, xs, PRESENT, noise(generator()), **settings)
    assert objective.value.detach().numpy() == pytest.approx(value)
    assert (ratios <= FRESH + 1).all() and ratios.max() > 1
    for s, t in ((0, 1), (1, 0)):
        assert objective.terms[f"kl_m{s}"].detach().numpy() == pytest.approx(terms["kl"][s])
        assert objective.terms[f"ratio_ess_m{t}"].detach().numpy() == pytest.approx(terms["ess"][s])
        assert objective.terms[f"cross_m{t}"].detach().numpy() == pytest.approx(terms["cross"][s])


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_gradient_is_that_of_the_objective_with_the_ratio_held(made, generator, variant):
    model, xs, setting = made(variant=variant, ratio_temperature=2.0, beta=BETA)
    eps, settings = noise(generator()), {"variant": variant, "temperature": 2.0, "beta": BETA}
    model.objective(setting.batch(xs, PRESENT), 1.0, generator()).loss.backward()
    _, ratios, _ = by_hand(model, xs, PRESENT, eps, **settings)
    with_ratio = 0.0
    for name, parameter in model.named_parameters():
        index = (0,) * parameter.ndim
        numeric = []
        for held in (ratios, None):
            values = []
            for step in (1e-5, -1e-5):
                parameter.data[index] += step
                values.append(-by_hand(model, xs, PRESENT, eps, held=held, **settings)[0].mean())
                parameter.data[index] -= step
            numeric.append((values[0] - values[1]) / 2e-5)
        assert parameter.grad[index].item() == pytest.approx(numeric[0], rel=1e-6, abs=1e-8), name
        with_ratio = max(with_ratio, abs(numeric[1] - numeric[0]))
    assert with_ratio > 0.1  # so that the above can tell whether the ratio is held


def test_exact_posteriors_reach_the_evidence(lab, generator):
    """With p(z|t) and q(z|s) exact, L(s, t) is log p(s|t) as the number of fresh samples grows."""
    setting = lab()
    xs = setting.data(1)
    model = MEME(setting.modalities(), latent_dim=2, fresh_samples=400, ratio_temperature=1.0)
    for modality, part in zip(model.modalities.values(), setting.parts, strict=True):
        modality.encoder.weight.data *= torch.tensor(part.precision / (1 + part.precision))
        modality.encoder.log_variance.data = -torch.log(1 + torch.tensor(part.precision))
    value = model.objective(setting.batch([np.repeat(x, 4000, 0) for x in xs]), 1.0, generator()).value
    p = setting.parts
    both = lab.evidence(p, xs).item()
    exact = both - 0.5 * (lab.evidence(p[:1], xs[:1]) + lab.evidence(p[1:], xs[1:])).item()
    error = value.std().item() / len(value) ** 0.5
    assert value.mean().item() == pytest.approx(exact, abs=5 * error + 0.01)
    assert error < 0.04


def test_a_tempered_ratio_gives_the_bound_of_its_posterior(lab, generator):
    """q(z|s) q(t|z)^(1/T) / c is a Gaussian r; L(s, t) is log p(s|t) - KL(r || p(z|s,t))."""
    setting = lab()
    xs, temperature = setting.data(1), 4.0
    model = MEME(setting.modalities(), latent_dim=2, fresh_samples=400, ratio_temperature=temperature)
    for modality, part in zip(model.modalities.values(), setting.parts, strict=True):
        modality.encoder.weight.data *= torch.tensor(part.precision / (1 + part.precision))
        modality.encoder.log_variance.data = -torch.log(1 + torch.tensor(part.precision))
    value = model.objective(setting.batch([np.repeat(x, 4000, 0) for x in xs]), 1.0, generator()).value
    mean_p, var_p = lab.product(setting.parts, xs, True)
    exact = 0.0
    for s, t in ((0, 1), (1, 0)):
        parts = setting.parts[s], setting.parts[t]
        precision = 1 + parts[0].precision + parts[1].precision / temperature
        mean = parts[0].precision * parts[0].expert_mean(xs[s]) + parts[1].precision * parts[1].expert_mean(xs[t]) / (
            temperature
        )
        mean, variance = mean / precision, 1 / precision
        gap = 0.5 * (variance / var_p + (mean - mean_p) ** 2 / var_p - 1 - np.log(variance / var_p)).sum()
        conditional = lab.evidence(setting.parts, xs) - lab.evidence([parts[1]], [xs[t]])
        exact += (conditional.item() - gap) / 2
    error = value.std().item() / len(value) ** 0.5
    assert value.mean().item() == pytest.approx(exact, abs=5 * error + 0.01)
    assert error < 0.02


def test_fillers_reach_neither_objective_nor_gradient(lab, generator):
    setting = lab()
    xs = setting.data(6)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = MEME(setting.modalities(), latent_dim=2, pseudo_samples=3)
        batch = setting.batch(xs, PRESENT)
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        model.start([batch])
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *objective.terms.values(), *(p.grad for p in model.parameters())])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf) and torch.equal(with_nan, with_number)
    assert found[0][0][4] == 0  # a row without data
    assert all((p.grad != 0).any() for p in model.pseudo.parameters())


def test_posteriors_are_the_encoders_and_both_their_mixture(lab):
    setting = lab(n_latents=3)
    xs = setting.data(4)
    model = MEME(setting.modalities(), latent_dim=2, private_dim={"m0": 1, "m1": 1})
    means = [part.expert_mean(x) for part, x in zip(setting.parts, xs, strict=True)]
    one = model.posterior(setting.batch(xs), ["m1"])
    nothing = np.zeros((4, 1))
    expected = np.concatenate([means[1][:, :2], nothing, means[1][:, 2:]], 1)
    assert one.mean.detach().numpy() == pytest.approx(expected)
    both = model.posterior(setting.batch(xs), ["m0", "m1"])
    private = np.concatenate([means[0][:, 2:], means[1][:, 2:]], 1)
    for component in range(2):
        expected = np.concatenate([means[component][:, :2], private], 1)
        assert both.means[component].detach().numpy() == pytest.approx(expected)
    variances = np.concatenate([1 / part.precision[2:] for part in setting.parts])
    assert both.log_variances[0, 0, 2:].exp().detach().numpy() == pytest.approx(variances)
    absent = model.posterior(setting.batch(xs, np.zeros((2, 4), bool)), ["m0", "m1"])
    assert absent.present.tolist() == [[True] * 4, [False] * 4] and not absent.means.any()


def test_what_t_keeps_for_itself_is_no_matter_between_s_and_t(lab, generator):
    setting = lab(n_latents=3)
    xs = setting.data(4)
    model = MEME(setting.modalities(), latent_dim=2, private_dim={"m1": 1, "m0": 1}, variant="code")
    terms = model.objective(setting.batch(xs), 1.0, generator()).terms
    for s, t in ((0, 1), (1, 0)):
        (m_s, v_s), (m_t, v_t) = ((setting.parts[m].expert_mean(xs[m]), 1 / setting.parts[m].precision) for m in (s, t))
        m_t = np.concatenate([m_t[:, :2], np.zeros((4, 1))], 1)  # s has latents of its own, of which t knows nothing
        v_t = np.concatenate([v_t[:2], [1.0]])
        expected = 0.5 * (v_s / v_t + (m_s - m_t) ** 2 / v_t - 1 - np.log(v_s / v_t)).sum(-1)
        assert terms[f"kl_m{s}"].detach().numpy() == pytest.approx(expected)


def test_temperature_follows_the_size_of_the_target(lab):
    setting = lab()
    batch = setting.batch(setting.data(2))
    batch.data["m1"] = torch.zeros(2, 30, 5)
    free, code = (MEME(setting.modalities(), latent_dim=2, variant=variant) for variant in ("paper", "code"))
    assert [free._temperature(batch, name) for name in ("m0", "m1")] == [1.0, 15.0]
    assert code._temperature(batch, "m1") == 1.0
    assert MEME(setting.modalities(), latent_dim=2, ratio_temperature=2.5)._temperature(batch, "m1") == 2.5


def test_joint_generation_starts_at_pseudo_samples(made, generator):
    model, _, _ = made()
    parts = numbers(model)
    means, log_variances = (np.concatenate(each) for each in zip(*(encode(p, p.u) for p in parts), strict=True))
    z = np.random.default_rng(0).normal(size=(5, 2))
    each = [log_normal(z, m, v) for m, v in zip(means, log_variances, strict=True)]
    expected = logsumexp(each, 0) - math.log(6)
    assert model.prior_log_prob(torch.tensor(z)).detach().numpy() == pytest.approx(expected)
    drawn = model.sample_prior(60_000, generator()).detach().numpy()
    assert drawn.mean(0) == pytest.approx(means.mean(0), abs=0.02)
    variance = np.exp(log_variances).mean(0) + means.var(0)
    assert drawn.var(0) == pytest.approx(variance, rel=0.03)
    data = model.generate(7, generator())
    z = model.sample_prior(7, generator())
    assert torch.equal(data["m1"], model.decode(z)["m1"].mean)


class OwnWeights(Contextual):
    """An encoder and decoder with as many features as the session has units."""

    def __init__(self, units):
        super().__init__()
        self.sessions = {name: f"session{index}" for index, name in enumerate(units)}
        self.weight = nn.ParameterDict(
            {self.sessions[name]: nn.Parameter(torch.ones(n, 2)) for name, n in units.items()}
        )


class OwnEncoder(OwnWeights):
    def forward(self, x, *, session, generator):
        mean = x.nan_to_num(nan=0.0) @ self.weight[self.sessions[session]]
        return mean, torch.zeros_like(mean)


class OwnDecoder(OwnWeights):
    def forward(self, z, *, session, generator):
        return z @ self.weight[self.sessions[session]].T


def test_pseudo_samples_live_with_the_weights_that_read_them():
    units = {"a": 3, "b": 2}
    sound = Modality("sound", nn.Linear(4, 2), nn.Linear(2, 4), "gaussian")
    sound.encoder.forward = lambda x: (x[:, :2], x[:, 2:])
    model = MEME(
        [sound, Modality("cells", OwnEncoder(units), OwnDecoder(units), "gaussian")], latent_dim=2, pseudo_samples=4
    )
    assert {k: v.shape for k, v in model.pseudo["cells"].values.items()} == {"session0": (4, 3), "session1": (4, 2)}

    def batch(session, n, start):
        rows = torch.arange(n) % 2 == 0
        cells = (start + torch.arange(n * units.get(session, 0))).reshape(n, -1).float()
        cells[~rows] = math.nan
        data = {"sound": torch.full((n, 4), float(start)), "cells": cells}
        return Batch(data, {"sound": torch.ones(n, dtype=torch.bool), "cells": rows}, session)

    batches = [batch("a", 8, 0), batch("b", 4, 100)]
    batches[0].data["cells"][4, 1] = math.nan  # an element is missing
    model.start(batches)
    ((owner, inputs),) = model.pseudo["cells"].sets("a")
    expected = batches[0].data["cells"][[0, 2, 4, 6]].clone()
    expected[2, 1] = expected[[0, 1, 3], 1].mean()
    assert owner == "a" and torch.allclose(inputs, expected, atol=1e-4)
    ((_, heard),) = model.pseudo["sound"].sets("b")
    assert torch.allclose(heard, torch.tensor([0.0, 0, 0, 100])[:, None].expand(4, 4), atol=1e-3)
    strange = list(model.pseudo["cells"].sets("deaf"))  # a session without cells: a part of every set
    assert [(name, x.shape) for name, x in strange] == [("a", (2, 3)), ("b", (2, 2))]
    assert model.prior.means.shape == (8, 1, 2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.start([batch("b", 4, 200)], shared=False)  # a session is added to a trained model
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"pseudo.cells.center_session1"}
    alone = Batch({"sound": torch.randn(5, 4)}, {"sound": torch.ones(5, dtype=torch.bool)}, "deaf")
    assert torch.isfinite(model.objective(alone, 1.0).value).all()


@pytest.mark.parametrize("n_modalities", [1, 3])
def test_needs_two_modalities(lab, n_modalities):
    with pytest.raises(InputError, match="two modalities"):
        MEME(lab(n_modalities=n_modalities).modalities(), latent_dim=2)
