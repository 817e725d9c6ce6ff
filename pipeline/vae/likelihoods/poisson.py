"""Poisson counts."""

import torch
from torch import Tensor

from pipeline.vae.likelihoods import Likelihood


class Poisson(Likelihood):
    """log p(x) = x log m - m - log x!, m = exp(log_mean) the expected count in a bin."""

    def __init__(self, log_mean: Tensor, *, feature_dims: int = 1):
        super().__init__(feature_dims=feature_dims)
        self.log_mean = log_mean

    @property
    def mean(self) -> Tensor:
        return torch.exp(self.log_mean)

    def element_log_prob(self, x: Tensor) -> Tensor:
        return x * self.log_mean - torch.exp(self.log_mean) - torch.lgamma(x + 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """As the sum over elements, in few passes over what has the axes of all samples: it is called in every step."""
        drawn = self.over_features(x * self.log_mean) - self.over_features(torch.exp(self.log_mean))
        if torch.isnan(drawn).any():  # elements are missing
            return super().log_prob(x)
        return drawn - self.over_features(torch.lgamma(x + 1))
