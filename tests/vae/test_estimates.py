"""Every family's log-likelihood estimates against the exact values of a linear-Gaussian model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import nn

from pipeline.evaluation.likelihood import draw
from pipeline.vae import families
from pipeline.vae.spec import family_class

N_CLIPS, N_SAMPLES = 40, 2000


class Inference(nn.Module):
    """q(z|what is given) as wide as the exact posterior, or `wider` by a factor on the variance."""

    def __init__(self, setting, speaks, wider):
        super().__init__()
        self.parts, self.speaks, self.wider = dict(zip(setting.names, setting.parts, strict=True)), speaks, wider

    def forward(self, data, *, session=None, generator=None):
        n, n_latents = len(next(iter(data.values()))), self.speaks.shape[1]
        precision, drive = np.ones(n_latents), np.zeros((n, n_latents))
        for (name, part), own in zip(self.parts.items(), self.speaks, strict=True):
            if name in data:
                precision[own] += part.precision
                drive[:, own] += part.precision * part.expert_mean(data[name].numpy())
        log_variance = np.broadcast_to(np.log(self.wider / precision), drive.shape)
        return torch.tensor(drive / precision), torch.tensor(log_variance)


def seen_through(model, setting, names):
    """The decoders of `names` over all latents: maps (p, d), shifts and noise variances (p,)."""
    rows = [setting.names.index(name) for name in names]
    wide = []
    for row in rows:
        w = np.zeros((len(setting.parts[row].b), model.n_latents))
        w[:, model.speaks[row].numpy()] = setting.parts[row].w
        wide.append(w)
    noise = np.concatenate([np.full(len(setting.parts[row].b), setting.parts[row].s ** 2) for row in rows])
    return np.concatenate(wide), np.concatenate([setting.parts[row].b for row in rows]), noise


def averaged(model, setting, x, names, latents):
    """log of the mean of p(x_names|z) over z of `latents`, an even mixture of normals, for each row (n,)."""
    w, shift, noise = seen_through(model, setting, names)
    shape = (len(latents.means), len(x), model.n_latents)
    means = np.broadcast_to(latents.means.detach().numpy(), shape)
    variances = np.broadcast_to(latents.log_variances.exp().detach().numpy(), shape)
    covariance = np.einsum("pd,cnd,qd->cnpq", w, variances, w) + np.diag(noise)
    apart = x - shift - means @ w.T  # (c, n, p)
    squared = (apart * np.linalg.solve(covariance, apart[..., None])[..., 0]).sum(-1)
    log_probs = -0.5 * (squared + np.linalg.slogdet(covariance)[1] + x.shape[1] * np.log(2 * np.pi))
    shares = latents.present.numpy() / latents.present.numpy().sum(0)
    return logsumexp(log_probs, 0, b=np.broadcast_to(shares, shape[:2]))


def build(family, lab, norms=(0.3, 0.4, 0.5), **options):
    """The model with exact decoders of columns of these norms and experts a little wider than the exact posteriors.

    With small norms z is little known from one modality, and its posterior will do as a proposal for the other, too.
    """
    cls = family_class(family)
    private = cls.default_private_dim(["m0", "m1"], 2)
    setting = lab(n_latents=3 if private else 2)
    norms = np.array(norms[: 3 if private else 2])
    setting.parts = [replace(p, w=p.w / np.linalg.norm(p.w, axis=0) * norms, s=1.0) for p in setting.parts]
    speaks = np.array([[1, 1, 1, 0], [1, 1, 0, 1]] if private else [[1, 1]] * 2, bool)
    needs = {"joint_encoder": cls.needs_joint_encoder, "surrogate_encoder": cls.needs_surrogate_encoder}
    encoders = {name: Inference(setting, speaks, np.exp(0.6)) for name, needed in needs.items() if needed}
    model = cls(setting.exact_modalities(), latent_dim=2, **encoders, **options).double()
    for modality in model.modalities.values():
        modality.encoder.log_variance.data += 0.6
    return model, setting


def drawn_from(model, setting, n):
    """Samples of the model; of families whose prior is learnt from data, of z ~ N(0, I)."""
    z = setting.rng.normal(size=(n, model.n_latents))
    return [
        z[:, model.speaks[row].numpy()] @ p.w.T + p.b + p.s * setting.rng.normal(size=(n, len(p.b)))
        for row, p in enumerate(setting.parts)
    ]


# mfm with prior_penalty `mmd` has codes, no posterior: around them stands a width that it does not learn.
OPTIONS = {"mfm": {"prior_penalty": "kl"}, "meme": {"pseudo_samples": 4}}


@pytest.mark.parametrize("family", families())
def test_estimates_are_exact_within_their_error(lab, generator, family):
    """All that the table has: joint, marginals with every proposal, conditionals and predictives."""
    model, setting = build(family, lab, **OPTIONS.get(family, {}))
    xs = drawn_from(model, setting, N_CLIPS)
    batch = setting.batch(xs)
    model.start([batch])
    noise, found = generator(1), {}

    def check(case, estimate, exact, minus=None):
        relative = np.maximum(N_SAMPLES / estimate.ess - 1, 0)  # variance of a weight over its squared mean
        # The log of a mean is low by half its relative variance.
        value, square = estimate.log_prob + relative / (2 * N_SAMPLES), relative
        if minus is not None:
            other = np.maximum(N_SAMPLES / minus.ess - 1, 0)
            value, square = value - minus.log_prob - other / (2 * N_SAMPLES), relative + other
        se = np.sqrt(square.sum() / N_SAMPLES) / N_CLIPS
        assert se <= 0.01, case
        assert abs((value - exact).mean()) <= 3 * se + 1e-9, case

    def log_prob(*names):
        return averaged(
            model, setting, np.concatenate([xs[setting.names.index(n)] for n in names], 1), names, model.prior
        )

    for given in (("m0",), ("m1",), ("m0", "m1")) if model.cross_generates else (("m0",), ("m1",)):
        targets = ("m0", "m1") if model.cross_generates else given
        draws = draw(model, batch, given=given, targets=targets, n_samples=N_SAMPLES, generator=noise)
        for names in dict.fromkeys([*((target,) for target in targets), targets]):
            found[given, names] = draws.marginal(*names)
            check((given, names), found[given, names], log_prob(*names))
        for target in set(targets) - set(given):
            exact = averaged(model, setting, xs[setting.names.index(target)], [target], model.posterior(batch, given))
            check((given, "predictive", target), draws.predictive(target), exact)
    if model.cross_generates:
        for one, other in (("m0", "m1"), ("m1", "m0")):
            exact = log_prob("m0", "m1") - log_prob(other)
            joint, marginal = found[("m0", "m1"), ("m0", "m1")], found[(other,), (other,)]
            check(("conditional", one), joint, exact, minus=marginal)


def test_a_mixture_drawn_unevenly_would_be_noticed(lab, generator):
    """The fault that the even spread avoids: all samples from one expert, weighed by the mixture."""
    model, setting = build("mmvae", lab, norms=(1.5, 1.5))
    xs = setting.data(N_CLIPS)
    batch = setting.batch(xs)
    q = model.posterior(batch, ["m0", "m1"])
    one = replace(q, means=q.means[:1], log_variances=q.log_variances[:1], present=q.present[:1])
    with torch.no_grad():
        z = one.rsample(N_SAMPLES, generator())
        log_lik = sum(model.log_likelihoods(batch, z, model.presence(batch)).values())
        log_w = log_lik + model.prior_log_prob(z) - q.log_prob(z)
    estimate = torch.logsumexp(log_w, 0).numpy() - np.log(N_SAMPLES)
    exact = averaged(model, setting, np.concatenate(xs, 1), ("m0", "m1"), model.prior)
    assert abs(estimate - exact).mean() > 0.05
