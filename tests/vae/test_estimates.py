"""Every family's log-likelihood estimates against the exact values of a linear-Gaussian model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from pipeline.evaluation.likelihood import draw
from pipeline.vae import families
from pipeline.vae.spec import family_class

N_CLIPS, N_SAMPLES = 40, 2000


def exact(model, setting, xs, names):
    """log p(x_names) under the model's own prior, an even mixture of normals, (n,)."""
    rows = [setting.names.index(name) for name in names]
    wide = []
    for row in rows:
        w = np.zeros((len(setting.parts[row].b), model.n_latents))
        w[:, model.speaks[row].numpy()] = setting.parts[row].w
        wide.append(w)
    w = np.concatenate(wide)
    noise = np.concatenate([np.full(len(setting.parts[row].b), setting.parts[row].s ** 2) for row in rows])
    shift = np.concatenate([setting.parts[row].b for row in rows])
    x = np.concatenate([xs[row] for row in rows], 1)
    prior = model.prior
    parts = [
        multivariate_normal(w @ mean[0] + shift, w @ np.diag(variance[0]) @ w.T + np.diag(noise)).logpdf(x)
        for mean, variance in zip(prior.means.detach().numpy(), prior.log_variances.exp().detach().numpy(), strict=True)
    ]
    return logsumexp(parts, 0) - np.log(len(parts))


def build(family, lab, norms=(0.3, 0.4, 0.5)):
    """The model with exact decoders of columns of these norms and experts a little wider than the exact posteriors.

    With small norms z is little known from one modality, and its posterior will do as a proposal for the other, too.
    """
    cls = family_class(family)
    private = bool(cls.default_private_dim(["m0", "m1"], 2))
    setting = lab(n_latents=3 if private else 2)
    norms = np.array(norms[: 3 if private else 2])
    setting.parts = [replace(p, w=p.w / np.linalg.norm(p.w, axis=0) * norms, s=1.0) for p in setting.parts]
    extra = {"joint_encoder": setting.joint_encoder()} if cls.needs_joint_encoder else {}
    model = cls(setting.exact_modalities(), latent_dim=2, **extra).double()
    for modality in model.modalities.values():
        modality.encoder.log_variance.data += 0.6
    return model, setting


# A code around which MFM puts an arbitrary width is no proposal.
@pytest.mark.parametrize("family", [family for family in families() if family != "mfm"])
def test_estimates_are_exact_within_their_error(lab, generator, family):
    model, setting = build(family, lab)
    xs = setting.data(N_CLIPS)
    if len(model.prior.means) == 1 and model.n_latents > setting.parts[0].w.shape[1]:
        z = setting.rng.normal(size=(N_CLIPS, model.n_latents))  # each modality with private latents of its own
        xs = [
            z[:, model.speaks[row].numpy()] @ p.w.T + p.b + p.s * setting.rng.normal(size=(N_CLIPS, len(p.b)))
            for row, p in enumerate(setting.parts)
        ]
    batch = setting.batch(xs)
    model.start([batch])
    noise = generator(1)
    for given in (("m0",), ("m1",), ("m0", "m1")) if model.cross_generates else (("m0",), ("m1",)):
        targets = ("m0", "m1") if model.cross_generates else given
        draws = draw(model, batch, given=given, targets=targets, n_samples=N_SAMPLES, generator=noise)
        for names in dict.fromkeys([*((target,) for target in targets), targets]):
            estimate = draws.marginal(*names)
            relative = np.maximum(N_SAMPLES / estimate.ess - 1, 0)  # variance of a weight over its squared mean
            se = np.sqrt(relative.sum() / N_SAMPLES) / N_CLIPS
            # The log of a mean is low by half its relative variance.
            error = (estimate.log_prob + relative / (2 * N_SAMPLES) - exact(model, setting, xs, names)).mean()
            assert se <= 0.01, (given, names)
            assert abs(error) <= 3 * se + 1e-9, (given, names)


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
    assert abs(estimate - exact(model, setting, xs, ("m0", "m1"))).mean() > 0.05
