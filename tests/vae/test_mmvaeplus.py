"""MMVAE+ against numpy and hand-made gradients at fixed noise, and against exact evidences."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import laplace, norm

from pipeline.errors import InputError
from pipeline.vae.mmvaeplus import MMVAEPlus

PRESENT = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 1, 0]], bool)
PRIVATE = {"m0": 1, "m1": 1}
LATENTS = {0: [0, 1, 2], 1: [0, 1, 3]}  # two shared ones, then each modality's own


def moved(setting, generator, **options):
    """A model away from its optimum, with an auxiliary prior that is not p(w)."""
    model = MMVAEPlus(setting.modalities(), latent_dim=2, private_dim=PRIVATE, **options).double()
    for parameter in model.parameters():
        parameter.data = parameter.data + 0.3 * torch.randn(parameter.shape, generator=generator(1)).double()
    return model


def exact(setting, **options):
    """Experts that are the exact posteriors of single modalities, r = p."""
    model = MMVAEPlus(setting.modalities(), latent_dim=2, private_dim=PRIVATE, **options).double()
    for modality, part in zip(model.modalities.values(), setting.parts, strict=True):
        precision = torch.tensor(part.precision)
        modality.encoder.weight.data *= precision / (1 + precision)
        modality.encoder.log_variance.data = -torch.log(1 + precision)
    return model


def wide(setting):
    """The modalities over all four latents, for exact evidences."""
    parts = []
    for m, part in enumerate(setting.parts):
        w = np.zeros((len(part.b), 4))
        w[:, LATENTS[m]] = part.w
        parts.append(replace(part, w=w))
    return parts


@pytest.mark.parametrize("family", ["normal", "laplace"])
@pytest.mark.parametrize("bound", ["looser", "tight", "elbo"])
def test_value_at_fixed_noise(lab, generator, family, bound):
    setting = lab(n_latents=3, weights=[0.7, 1.9])
    xs = setting.data(5)
    options = {"objective": "elbo"} if bound == "elbo" else {"bound": bound}
    model = moved(setting, generator, k=3, posterior=family, beta=0.6, **options)
    objective = model.objective(setting.batch(xs, PRESENT), 1.0, generator())
    if family == "normal":
        noise = torch.randn((3, 6, 4), generator=generator(), dtype=torch.float64).numpy()
        density = norm.logpdf
    else:
        pair = torch.empty((2, 3, 6, 4), dtype=torch.float64).exponential_(generator=generator()).numpy()
        noise = (pair[0] - pair[1]) / np.sqrt(2)

        def density(x, mean=0.0, sd=1.0):
            return laplace.logpdf(x, mean, sd / np.sqrt(2))

    pairs = [(m, i) for m in (0, 1) for i in range(5) if PRESENT[m, i]]
    modalities = list(model.modalities.values())
    mean = [m.encoder(torch.tensor(x))[0].detach().numpy() for m, x in zip(modalities, xs, strict=True)]  # (n, 3)
    sd = [(m.encoder.log_variance / 2).exp().detach().numpy() for m in modalities]
    auxiliary_sd = model.auxiliary_log_sd.exp().detach().numpy()
    decoders = [
        (m.decoder.weight.detach().numpy(), m.decoder.shift.detach().numpy(), m.decoder.log_scale.exp().item())
        for m in modalities
    ]
    wanted, kl = np.zeros(5), np.zeros(5)
    for i in range(4):
        have = [m for m in (0, 1) if PRESENT[m, i]]
        log_w = []
        for m in have:
            eps = noise[:, pairs.index((m, i))]  # (3, 4)
            shared = mean[m][i, :2] + sd[m][:2] * eps[:, :2]
            private = {m: mean[m][i, 2] + sd[m][2] * eps[:, 2 + m]}
            private |= {o: auxiliary_sd[o] * eps[:, 2 + o] for o in have if o != m}
            log_lik = 0
            for d in have:
                w, b, s = decoders[d]
                z = np.concatenate([shared, private[d][:, None]], 1)
                log_lik = log_lik + setting.weights[d] * norm.logpdf(xs[d][i], z @ w.T + b, s).sum(-1)
            each = [density(shared, mean[j][i, :2], sd[j][:2]).sum(-1) for j in have]
            log_q = logsumexp(each, 0) - np.log(len(have)) + density(private[m], mean[m][i, 2], sd[m][2])
            log_p = density(shared).sum(-1) + density(private[m])
            log_w.append(log_lik + 0.6 * (log_p - log_q))
            kl[i] += (log_q - log_p).mean() / len(have)
        wanted[i] = {
            "elbo": np.mean(log_w),
            "looser": np.mean(logsumexp(log_w, 1)) - np.log(3),
            "tight": logsumexp(log_w) - np.log(3 * len(have)),
        }[bound]
    assert objective.value.detach().numpy() == pytest.approx(wanted)
    assert objective.terms["kl"].detach().numpy() == pytest.approx(kl)


@pytest.mark.parametrize("bound", ["looser", "tight"])
@pytest.mark.parametrize("gradient", ["plain", "stl", "dreg"])
def test_gradients_made_by_hand(lab, generator, gradient, bound):
    """From autograd on log w of every sample, with its z as a leaf: no hook, no surrogate, no batch."""
    setting = lab(n_latents=3, weights=[0.7, 1.9])
    xs = setting.data(5)
    model = moved(setting, generator, k=3, bound=bound, gradient=gradient)
    model.objective(setting.batch(xs, PRESENT), 1.0, generator()).loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    noise = torch.randn((3, 6, 4), generator=generator(), dtype=torch.float64)
    pairs = [(m, i) for m in (0, 1) for i in range(5) if PRESENT[m, i]]
    wanted = {name: torch.zeros_like(p) for name, p in model.named_parameters()}

    def pull(value, factor, constant=()):
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, retain_graph=True)
        for (name, _), g in zip(parameters.items(), gradients, strict=True):
            if g is not None and name not in constant:
                wanted[name] -= factor * g / 5

    encoders = {name for name, _ in model.named_parameters() if "encoder" in name}
    for i in range(4):
        have = [m for m in (0, 1) if PRESENT[m, i]]
        samples = {}
        for m in have:
            q = {j: list(model.modalities.values())[j].encoder(torch.tensor(xs[j][i : i + 1])) for j in have}
            mean, log_variance = q[m][0][0], q[m][1][0]
            for k in range(3):
                eps = noise[k, pairs.index((m, i))]
                own = mean + torch.exp(log_variance / 2) * eps[[0, 1, 2 + m]]  # shared, shared, private
                leaf = own.detach().requires_grad_()
                log_w = 0
                for d in have:
                    w_d = leaf[2:] if d == m else (model.auxiliary_log_sd[d].exp() * eps[2 + d]).reshape(1)
                    likelihood = list(model.modalities.values())[d].decode(torch.cat([leaf[:2], w_d])[None])
                    log_w = log_w + setting.weights[d] * likelihood.log_prob(torch.tensor(xs[d][i : i + 1]))[0]

                def log_normal(x, mean, log_variance):
                    return torch.distributions.Normal(mean, torch.exp(log_variance / 2)).log_prob(x).sum()

                each = [log_normal(leaf[:2], q[j][0][0, :2], q[j][1][0, :2]) for j in have]
                log_q = torch.logsumexp(torch.stack(each), 0) - np.log(len(have))
                log_q = log_q + log_normal(leaf[2:], mean[2:], log_variance[2:])
                log_w = log_w + log_normal(leaf, torch.zeros(3), torch.zeros(3)) - log_q
                samples[m, k] = own, leaf, log_w
        for m in have:
            pool = [samples[j, k][2] for j in have for k in range(3) if bound == "tight" or j == m]
            total = torch.logsumexp(torch.stack(pool), 0).detach()
            outer = 1.0 if bound == "tight" else 1 / len(have)
            for k in range(3):
                own, leaf, log_w = samples[m, k]
                wbar = torch.exp(log_w.detach() - total).item()
                # Decoders, auxiliary prior and, in the plain estimator, the experts' density, at a fixed z and w_m.
                pull(log_w, outer * wbar, constant=() if gradient == "plain" else encoders)
                slope = torch.autograd.grad(log_w, leaf, retain_graph=True)[0]
                pull((own * slope).sum(), outer * wbar * (wbar if gradient == "dreg" else 1.0))
    for name, value in wanted.items():
        assert (found[name] - value).abs().max() <= 1e-8 * value.abs().max(), name
        assert value.abs().max() > 1e-4, name


@pytest.mark.parametrize("options", [{}, {"bound": "tight"}, {"objective": "elbo"}])
def test_an_unpaired_row_reaches_its_evidence(lab, generator, options):
    setting = lab(n_latents=3)
    xs = setting.data(3)
    present = np.array([[False] * 3, [True] * 3])
    value = exact(setting, k=4, **options).objective(setting.batch(xs, present), 1.0, generator()).value
    assert value.detach().numpy() == pytest.approx(lab.evidence(setting.parts[1:], xs[1:]))


def test_more_samples_come_closer_from_below(lab, generator):
    setting = lab(n_latents=3)
    xs = [np.repeat(x, 4000, 0) for x in setting.data(1)]
    evidence = lab.evidence(wide(setting), [x[:1] for x in xs]).item()
    for bound in ("looser", "tight"):
        means, errors = [], []
        for k in (1, 4, 16):
            value = exact(setting, k=k, bound=bound).objective(setting.batch(xs), 1.0, generator()).value
            means.append(value.mean().item())
            errors.append(value.std().item() / 4000**0.5)
        assert (np.diff(means) > 3 * np.hypot(errors[1:], errors[:-1])).all()
        assert means[-1] < evidence + 3 * errors[-1]


def test_weights_are_unbiased_where_the_auxiliary_prior_is_the_prior(lab, generator):
    setting = lab(n_latents=3)
    xs = setting.data(6)
    value = exact(setting, k=40_000, bound="tight").objective(setting.batch(xs), 1.0, generator()).value
    assert value.detach().numpy() == pytest.approx(lab.evidence(wide(setting), xs), abs=0.05)


def test_the_posterior_mixes_what_is_shared_and_keeps_what_is_private(lab):
    setting = lab(n_latents=3)
    xs = setting.data(5)
    model = exact(setting)
    with torch.no_grad():
        encoded = [m.encoder(torch.tensor(x))[0].numpy() for m, x in zip(model.modalities.values(), xs, strict=True)]
        model.auxiliary_log_sd += 1.0
    both = model.posterior(setting.batch(xs), ["m0", "m1"])
    for component in (0, 1):
        assert both.means[component, :, :2].detach().numpy() == pytest.approx(encoded[component][:, :2])
        for m in (0, 1):  # private latents are no mixture
            assert both.means[component, :, 2 + m].detach().numpy() == pytest.approx(encoded[m][:, 2])
            variance = 1 / (1 + setting.parts[m].precision[2])
            assert both.log_variances[component, :, 2 + m].exp().detach().numpy() == pytest.approx(variance)
    one = model.posterior(setting.batch(xs), ["m0"])
    assert torch.equal(one.mean[:, 3], torch.zeros(5).double())  # m1's own: p(w)
    assert torch.equal(one.variance[:, 3], torch.ones(5).double())
    assert one.mean[:, :3].detach().numpy() == pytest.approx(encoded[0])
    unpaired = model.posterior(setting.batch(xs, PRESENT), ["m0", "m1"])
    assert torch.equal(unpaired.mean[1], one.mean[1])
    assert torch.equal(unpaired.variance[4], torch.ones(4).double())


@pytest.mark.parametrize("options", [{}, {"gradient": "plain"}, {"bound": "tight", "gradient": "dreg_mixture"}])
def test_fillers_reach_nothing(lab, generator, options):
    setting = lab(n_latents=3)
    xs = setting.data(5)
    found = []
    for filler in (float("nan"), float("inf"), -5.0):
        model = moved(setting, generator, prior_scale="learned", **options)
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


def test_private_latents_are_there_without_asking(lab):
    model = MMVAEPlus(lab(n_latents=3).modalities(), latent_dim=2)
    assert model.n_latents == 4
    assert MMVAEPlus.default_private_dim(["audio", "neural"], 9) == {"audio": 4, "neural": 4}
    with pytest.raises(InputError, match="private_dim"):
        MMVAEPlus(lab().modalities(), latent_dim=2, private_dim={})
