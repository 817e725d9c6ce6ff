"""Negative-binomial counts: Poisson counts whose rate varies between observations."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pipeline.vae.likelihoods import Likelihood


class NegativeBinomial(Likelihood):
    """Mean m = exp(log_mean), variance m + m^2 / r with r = exp(log_dispersion).

    log p(x) = log G(x + r) - log G(r) - log x! + r log(r / (r + m)) + x log(m / (r + m)).
    """

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor, *, feature_dims: int = 1):
        super().__init__(feature_dims=feature_dims)
        self.log_mean = log_mean
        self.log_dispersion = log_dispersion

    @property
    def mean(self) -> Tensor:
        return torch.exp(self.log_mean)

    def element_log_prob(self, x: Tensor) -> Tensor:
        r = torch.exp(self.log_dispersion)
        logit = self.log_mean - self.log_dispersion  # log(m / r)
        normaliser = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        return normaliser - r * softplus(logit) - x * softplus(-logit)
