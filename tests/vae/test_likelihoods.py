"""Likelihoods against scipy.stats and torch.distributions, and missing elements."""

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.errors import InputError
from pipeline.vae.likelihoods import likelihood_class

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(2, 3, 4))
COUNTS = RNG.poisson(2.0, size=(3, 4)).astype(float)
REAL = RNG.normal(size=(3, 4))
BINARY = (RNG.random((3, 4)) < 0.5).astype(float)
SPREAD = np.array([0.3, -0.2, 0.1, 0.6])


def nb(x):
    r, m = np.exp(SPREAD), np.exp(MEAN)
    return stats.nbinom.logpmf(x, r, r / (r + m))


CASES = {
    "gaussian": (REAL, (MEAN, SPREAD), lambda x: stats.norm.logpdf(x, MEAN, np.exp(SPREAD)), MEAN),
    "laplace": (REAL, (MEAN, SPREAD), lambda x: stats.laplace.logpdf(x, MEAN, np.exp(SPREAD)), MEAN),
    "poisson": (COUNTS, (MEAN,), lambda x: stats.poisson.logpmf(x, np.exp(MEAN)), np.exp(MEAN)),
    "negative_binomial": (COUNTS, (MEAN, SPREAD), nb, np.exp(MEAN)),
    "bernoulli": (BINARY, (MEAN,), lambda x: stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-MEAN))), None),
}


@pytest.mark.parametrize("name", CASES)
def test_log_prob_and_mean(name):
    x, parameters, oracle, mean = CASES[name]
    likelihood = likelihood_class(name)(*map(torch.tensor, parameters), feature_dims=1)
    assert likelihood.log_prob(torch.tensor(x)).numpy() == pytest.approx(oracle(x).sum(-1))
    expected = 1 / (1 + np.exp(-MEAN)) if mean is None else mean
    assert likelihood.mean.numpy() == pytest.approx(expected)
    wide = likelihood_class(name)(*map(torch.tensor, parameters), feature_dims=2)
    assert wide.log_prob(torch.tensor(x)).numpy() == pytest.approx(oracle(x).sum((-1, -2)))


@pytest.mark.parametrize("name", ["gaussian", "laplace"])
def test_scale_is_one_where_none_is_given(name):
    likelihood = likelihood_class(name)(torch.tensor(MEAN))
    oracle = {"gaussian": stats.norm, "laplace": stats.laplace}[name].logpdf(REAL, MEAN).sum(-1)
    assert likelihood.log_prob(torch.tensor(REAL)).numpy() == pytest.approx(oracle)


@pytest.mark.parametrize("name", CASES)
def test_missing_elements_add_nothing(name):
    x, parameters, oracle, _ = CASES[name]
    missing = np.zeros_like(x, bool)
    missing[0, 1] = missing[2, :] = True
    tensors = [torch.tensor(p, requires_grad=True) for p in parameters]
    value = likelihood_class(name)(*tensors).log_prob(torch.tensor(np.where(missing, np.nan, x)))
    assert value.detach().numpy() == pytest.approx(np.where(missing, 0, oracle(x)).sum(-1))
    value.sum().backward()
    gradient = tensors[0].grad.numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[:, missing] == 0).all()
    assert (gradient[:, ~missing] != 0).all()
    if len(tensors) > 1:
        assert torch.isfinite(tensors[1].grad).all()


def test_names_come_from_the_folder():
    with pytest.raises(InputError, match="negative_binomial") as error:
        likelihood_class("negative_binomal")
    assert "nearest: negative_binomial" in str(error.value)


def test_one_scale_for_all_elements_in_any_layout():
    mean = torch.tensor(RNG.normal(size=(2, 3, 5, 4))).mT.requires_grad_()  # as decoders return it
    x = RNG.normal(size=(3, 4, 5))
    x[1, 2, 3] = x[0, 0, :2] = np.nan
    scale = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    for data in (x, np.nan_to_num(x)):
        value = likelihood_class("gaussian")(mean, scale, feature_dims=2).log_prob(torch.tensor(data))
        each = stats.norm.logpdf(data, mean.detach().numpy(), np.exp(0.4))
        assert value.detach().numpy() == pytest.approx(np.nansum(each, (-1, -2)))
        gradient = torch.autograd.grad(value.sum(), (mean, scale))
        residual = (data - mean.detach().numpy()) / np.exp(0.4)
        assert gradient[0].numpy() == pytest.approx(np.nan_to_num(residual) / np.exp(0.4))
        assert gradient[1].item() == pytest.approx(np.nansum(residual**2 - 1))


def test_counts_of_several_samples_in_any_layout():
    log_mean = torch.tensor(RNG.normal(size=(2, 3, 5, 4))).mT.requires_grad_()  # as decoders return it
    x = RNG.poisson(2.0, size=(3, 4, 5))
    value = likelihood_class("poisson")(log_mean, feature_dims=2).log_prob(torch.tensor(x, dtype=torch.float64))
    rate = np.exp(log_mean.detach().numpy())
    assert value.detach().numpy() == pytest.approx(stats.poisson.logpmf(x, rate).sum((-1, -2)))
    (gradient,) = torch.autograd.grad(value.sum(), log_mean)
    assert gradient.numpy() == pytest.approx(x - rate)
