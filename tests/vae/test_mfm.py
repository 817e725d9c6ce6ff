"""MFM against plain numpy at fixed noise; its MMD against double sums and against what it estimates."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from scipy.stats import norm
from torch import nn

from pipeline.errors import InputError
from pipeline.training import _Forward
from pipeline.vae.mfm import KERNEL_SCALES, MFM, squared_mmd

BETA, LABELS, KINDS = 0.6, np.array([0, 2, -1, 1, 1, -1]), ("low", "high", "step")


class Reader(nn.Module):
    """Sum of linear maps of what is given; its log variances do not depend on it."""

    def __init__(self, names, parts, n_latents, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.maps = nn.ParameterDict(
            {
                name: nn.Parameter(torch.tensor(rng.normal(size=(len(part.b), n_latents)) / 4))
                for name, part in zip(names, parts, strict=True)
            }
        )
        self.log_variance = nn.Parameter(torch.tensor(rng.normal(size=n_latents) - 1))

    def forward(self, data, *, session=None, generator=None):
        mean = sum(x @ self.maps[name] for name, x in data.items())
        return mean, self.log_variance.expand(mean.shape)

    def by_hand(self, data):
        mean = sum(x @ self.maps[name].detach().numpy() for name, x in data.items())
        return mean, np.broadcast_to(self.log_variance.detach().numpy(), mean.shape)


def build(setting, **options):
    """Two shared latents and one of each modality, unless the options say otherwise."""
    names, n_latents = setting.names, 2 + len(setting.names)
    joint, surrogate = (Reader(names, setting.parts, n_latents, seed) for seed in (5, 6))
    private = {"private_dim": dict.fromkeys(names, 1)}
    encoders = {"joint_encoder": joint, "surrogate_encoder": surrogate}
    return MFM(setting.modalities(), latent_dim=2, **(private | encoders | options))


def codes_of(model, xs):
    """Means and log variances (n, d) of (z_y, z_a1, ...)."""
    data = dict(zip(model.modalities, xs, strict=True))
    mean, log_variance = (x.copy() for x in model.joint_encoder.by_hand(data))
    for row, (name, modality) in enumerate(model.modalities.items()):
        encoder = modality.encoder
        own = (data[name] - encoder.shift.detach().numpy()) @ encoder.weight.detach().numpy()
        mean[:, 2 + row] = own[:, 2]
        log_variance[:, 2 + row] = encoder.log_variance.detach().numpy()[2]
    return mean, log_variance


def kernel(x, y):
    return sum(2 * len(x) * c / (2 * len(x) * c + ((x - y) ** 2).sum()) for c in KERNEL_SCALES)


def brute_mmd(z, p):
    n = len(z)
    within = sum(kernel(a[i], a[j]) for a in (z, p) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return within - 2 * sum(kernel(z[i], p[j]) for i in range(n) for j in range(n)) / n**2


def by_hand(model, setting, xs, noise, *, held=None):
    """Mean objective of whole rows, their terms, and the codes that the surrogate learns (`held` in their place)."""
    n, n_latents = len(xs[0]), model.n_latents
    data = dict(zip(model.modalities, xs, strict=True))
    z, log_variance = codes_of(model, xs)
    mean = z
    if model.prior_penalty == "kl":
        z = mean + np.exp(0.5 * log_variance) * torch.randn((1, n, n_latents), generator=noise).numpy()[0]
    terms, value = {}, 0.0
    for row, (name, modality) in enumerate(model.modalities.items()):
        d = modality.decoder
        mu = np.column_stack([z[:, :2], z[:, 2 + row]]) @ d.weight.detach().numpy().T + d.shift.detach().numpy()
        terms[name] = norm.logpdf(data[name], mu, d.log_scale.exp().item()).sum(-1)
        value += modality.weight * terms[name].mean()
    if model.labels:
        logits = z[:, :2] @ model.label_head.weight.detach().numpy().T + model.label_head.bias.detach().numpy()
        each = log_softmax(logits, -1)
        terms["label"] = np.array([each[i, y] if y >= 0 else 0 for i, y in enumerate(LABELS[:n])])
        value += model.label_weight * terms["label"].mean()
    if model.prior_penalty == "mmd":
        value -= BETA * model.mmd_weight * brute_mmd(z, torch.randn((n, n_latents), generator=noise).numpy())
    else:
        kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
        terms["kl_shared"] = kl[:, :2].sum(-1)
        terms |= {f"kl_{name}": kl[:, 2 + row] for row, name in enumerate(model.modalities)}
        value -= BETA * sum(terms[f"kl_{name}"].mean() for name in ("shared", *model.modalities))
    targets = z if held is None else held
    subsets = [s for size in range(1, len(xs)) for s in combinations(range(len(xs)), size)]
    for subset in subsets:
        names = [setting.names[m] for m in subset]
        s_mean, s_log_variance = model.surrogate_encoder.by_hand({name: data[name] for name in names})
        s_sd = 1.0 if model.prior_penalty == "mmd" else np.exp(0.5 * s_log_variance)
        wanted = [0, 1] + [2 + m for m in range(len(xs)) if m not in subset]
        log_prob = norm.logpdf(targets, s_mean, s_sd)[:, wanted].sum(-1)
        terms["surrogate_" + "+".join(names)] = log_prob
        value += log_prob.mean() / len(subsets)
    return value, terms, z


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.grad is not None]


def labelled(batch):
    return type(batch)(batch.data, batch.present, batch.session, torch.tensor(LABELS[: len(batch)]))


def shaken(model):
    noise = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=noise)
    return model


OPTIONS = {"beta": BETA, "mmd_weight": 7.0, "labels": KINDS, "label_weight": 0.8}


@pytest.mark.parametrize("penalty", ["mmd", "kl"])
@pytest.mark.parametrize("n_modalities", [2, 3])
def test_terms_at_fixed_noise(lab, generator, penalty, n_modalities):
    setting = lab(n_modalities=n_modalities, weights=[0.7, 1.9, 1.0][:n_modalities], n_latents=3)
    xs = setting.data(6)
    model = shaken(build(setting, prior_penalty=penalty, **(OPTIONS | {"beta": 2 * BETA, "warmup_fraction": 0.5})))
    objective = model.objective(labelled(setting.batch(xs)), 0.25, generator())
    value, terms, _ = by_hand(model, setting, xs, generator())
    assert objective.loss.item() == pytest.approx(-value)
    assert set(objective.terms) == set(terms) | ({"mmd"} if penalty == "mmd" else set())
    for name, term in terms.items():
        assert objective.terms[name].detach().numpy() == pytest.approx(term), name


@pytest.mark.parametrize("penalty", ["mmd", "kl"])
def test_gradient_is_that_of_the_objective_with_the_surrogates_targets_held(lab, generator, penalty):
    setting = lab(weights=[0.7, 1.9], n_latents=3)
    xs = setting.data(6)
    model = shaken(build(setting, prior_penalty=penalty, **OPTIONS))
    model.objective(labelled(setting.batch(xs)), 1.0, generator()).loss.backward()
    _, _, codes = by_hand(model, setting, xs, generator())
    unheld = 0.0
    for name, parameter in model.named_parameters():
        index = (0,) * parameter.ndim
        numeric = []
        for held in (codes, None):
            values = []
            for step in (1e-5, -1e-5):
                parameter.data[index] += step
                values.append(-by_hand(model, setting, xs, generator(), held=held)[0])
                parameter.data[index] -= step
            numeric.append((values[0] - values[1]) / 2e-5)
        found = 0.0 if parameter.grad is None else parameter.grad[index].item()  # spreads of deterministic codes
        assert found == pytest.approx(numeric[0], rel=1e-5, abs=1e-7), name
        unheld = max(unheld, abs(numeric[1] - numeric[0]))
    assert unheld > 0.1  # so that the above can tell whether the targets are held


def test_mmd_is_the_double_sum_over_pairs():
    rng = np.random.default_rng(0)
    z, p = rng.normal(size=(9, 3)) * 0.4 + 1, rng.normal(size=(9, 3))
    parts = squared_mmd(torch.tensor(z), torch.tensor(p))
    assert parts.shape == (9,)
    assert parts.mean().item() == pytest.approx(brute_mmd(z, p), rel=1e-12)
    assert squared_mmd(torch.zeros(1, 3), torch.ones(1, 3)).tolist() == [0]


def test_mmd_is_unbiased(generator):
    """On average 0 where both samples come from the prior, and what it is for many points where they do not."""
    noise = generator()
    found = {"same": [], "shifted": []}
    for _ in range(1500):
        z, p = torch.randn((2, 4, 2), generator=noise)
        found["same"].append(squared_mmd(z, p).mean().item())
        found["shifted"].append(squared_mmd(0.5 * z + 1, p).mean().item())
    mean = {name: np.mean(values) for name, values in found.items()}
    error = {name: np.std(values) / math.sqrt(len(values)) for name, values in found.items()}
    assert abs(mean["same"]) < 4 * error["same"] < 0.1
    z, p = torch.randn((2, 1000, 2), generator=noise)
    many = squared_mmd(0.5 * z + 1, p).mean().item()
    assert mean["shifted"] == pytest.approx(many, abs=4 * error["shifted"] + 0.1)
    assert many > 0.5


def test_the_exact_posterior_gives_the_evidence(lab, generator):
    setting = lab()
    xs = [np.repeat(x, 40_000, 0) for x in setting.data(1)]
    encoders = {
        "joint_encoder": setting.joint_encoder(),
        "surrogate_encoder": Reader(setting.names, setting.parts, 2, 0),
    }
    model = MFM(setting.modalities(), latent_dim=2, prior_penalty="kl", private_dim={}, **encoders)
    objective = model.objective(setting.batch(xs), 1.0, generator())
    surrogates = [term for name, term in objective.terms.items() if name.startswith("surrogate")]
    value = objective.value - sum(surrogates) / len(surrogates)
    error = value.std().item() / 200
    assert value.mean().item() == pytest.approx(lab.evidence(setting.parts, [x[:1] for x in xs]).item(), abs=5 * error)
    assert error < 0.02


@pytest.mark.parametrize(("penalty", "n_samples"), [("mmd", 1), ("kl", 500)])
def test_cross_generation_is_what_the_other_modality_tells(lab, generator, penalty, n_samples):
    """Linear modalities with two factors in common and one each: E[x_t|x_s] is known.

    With `mmd` one sample of the posterior decodes to it; with `kl` the mean of many does.
    """
    setting = lab(n_latents=3)
    for part in setting.parts:
        part.b[:], part.s = 0, 0.3
    z = setting.rng.normal(size=(2500, 4))
    w = [np.insert(part.w, 3 - m, 0, axis=1) for m, part in enumerate(setting.parts)]
    xs = [z @ each.T + 0.3 * setting.rng.normal(size=(2500, len(each))) for each in w]
    model = build(setting, prior_penalty=penalty)
    lab.fit(model, setting.batch([x[:2000] for x in xs]), n_steps=400)
    held_out = setting.batch([x[2000:] for x in xs])
    for given, target in ((0, 1), (1, 0)):
        inside = w[given] @ w[given].T + 0.09 * np.eye(len(w[given]))
        exact = xs[given][2000:] @ np.linalg.solve(inside, w[given] @ w[target].T)
        with torch.no_grad():
            latents = model.posterior(held_out, [setting.names[given]]).rsample(n_samples, generator())
            found = model.decode(latents)[setting.names[target]].mean.mean(0).numpy()
        assert ((found - exact) ** 2).mean() < 0.1 * exact.var()


@pytest.mark.parametrize("penalty", ["mmd", "kl"])
def test_posterior_is_the_encoders_or_the_surrogates(lab, penalty):
    setting = lab(n_latents=3)
    xs = setting.data(4)
    model = shaken(build(setting, prior_penalty=penalty))
    present = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)
    q = model.posterior(setting.batch(xs, present), setting.names)
    means, log_variances = codes_of(model, xs)
    if penalty == "mmd":
        log_variances = np.full_like(means, 2 * math.log(0.1))
    for row, (given, own) in enumerate(((["m0", "m1"], [0, 1, 2, 3]), (["m0"], [2]), (["m1"], [3]))):
        data = {name: xs[setting.names.index(name)][row : row + 1] for name in given}
        mean, log_variance = (x[0].copy() for x in model.surrogate_encoder.by_hand(data))
        if penalty == "mmd":
            log_variance = np.full_like(mean, 2 * math.log(0.1))
        mean[own], log_variance[own] = means[row, own], log_variances[row, own]
        assert q.mean[row].detach().numpy() == pytest.approx(mean)
        assert q.variance[row].detach().numpy() == pytest.approx(np.exp(log_variance))
    assert q.mean[3].tolist() == [0] * 4 and q.variance[3].tolist() == [1] * 4
    one = model.posterior(setting.batch(xs), ["m1"])  # as if m0 were missing
    assert torch.allclose(one.mean[2], q.mean[2])


def test_rows_that_lack_a_modality_teach_nothing(lab, generator):
    setting = lab(n_latents=3)
    xs = setting.data(6)
    present = np.array([[1, 1, 0, 1, 0, 1], [1, 0, 1, 1, 0, 1]], bool)
    found = []
    for filler in (float("nan"), float("inf"), 3.0):
        model = build(setting, labels=KINDS)
        batch = labelled(setting.batch(xs, present))
        for name in batch.data:
            batch.data[name][~batch.present[name]] = filler
        objective = model.objective(batch, 1.0, generator())
        objective.loss.backward()
        found.append([objective.value.detach(), *objective.terms.values(), *(p.grad for p in trained(model))])
    for with_nan, with_inf, with_number in zip(*found, strict=True):
        assert torch.isfinite(with_nan).all()
        assert torch.equal(with_nan, with_inf) and torch.equal(with_nan, with_number)
    whole = torch.tensor(present.all(0))
    assert (found[0][0][~whole] == 0).all() and (found[0][0][whole] != 0).all()
    nothing = model.objective(setting.batch(xs, np.zeros((2, 6), bool)), 1.0, generator())
    assert nothing.value.tolist() == [0] * 6


def test_labels_reach_the_objective_through_the_training(lab, generator):
    setting = lab(n_latents=3)
    model = shaken(build(setting, labels=KINDS))
    batch = labelled(setting.batch(setting.data(6)))
    batch.take(torch.arange(3)).to("cpu")
    _, terms = _Forward(model)(batch.data, batch.present, batch.session, batch.labels, 1.0, generator())
    assert (terms["label"] != 0).tolist() == (LABELS >= 0).tolist()
    assert batch.take(torch.tensor([3, 1])).labels.tolist() == [1, 2]
    without = setting.batch(setting.data(6))
    assert "label" not in model.objective(without, 1.0, generator()).terms


def test_labels_that_are_asked_for_must_be_there(lab):
    setting = lab(n_latents=3)
    batch = setting.batch(setting.data(6))
    build(setting).start([batch])
    build(setting, labels=KINDS).start([batch, labelled(batch)])
    with pytest.raises(InputError, match=r"(?s)no training sample has one of the labels.*low, high, step"):
        build(setting, labels=KINDS).start([batch])
    with pytest.raises(InputError, match=r"(?s)more labels than were named.*0 to 1"):
        build(setting, labels=KINDS[:2]).start([labelled(batch)])


def test_private_latents_by_default(lab):
    assert MFM.default_private_dim(["audio", "neural"], 8) == {"audio": 2, "neural": 2}
    assert MFM.default_private_dim(["audio"], 1) == {"audio": 1}


@pytest.mark.parametrize("labels", [["low"], ["low", "low"]])
def test_labels_are_two_or_more_that_differ(lab, labels):
    with pytest.raises(InputError, match="mfm: labels"):
        build(lab(n_latents=3), labels=labels)


def test_one_modality_is_not_enough(lab):
    with pytest.raises(InputError, match="two or more"):
        build(lab(n_modalities=1))
