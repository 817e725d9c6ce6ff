"""Gaussian with a fixed scale (1 where none is given) or a learned one."""

import math

import torch
from torch import Tensor

from pipeline.vae.likelihoods import Likelihood


class Gaussian(Likelihood):
    """N(x; mean, exp(log_scale)^2)."""

    def __init__(self, mean: Tensor, log_scale: Tensor | float = 0.0, *, feature_dims: int = 1):
        super().__init__(feature_dims=feature_dims)
        self._mean = mean
        self.log_scale = torch.as_tensor(log_scale, dtype=mean.dtype, device=mean.device)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def element_log_prob(self, x: Tensor) -> Tensor:
        z = (x - self._mean) * torch.exp(-self.log_scale)
        return -0.5 * z**2 - self.log_scale - 0.5 * math.log(2 * math.pi)

    def log_prob(self, x: Tensor) -> Tensor:
        """As the sum over elements, in few passes over what has the axes of all samples: it is called in every step."""
        if self.log_scale.ndim or not self.feature_dims:
            return super().log_prob(x)
        mean, target = self._mean, x
        if mean.ndim > 1 and mean.stride(-2) == 1 and self.feature_dims > 1:  # in memory the last axis is not the last
            mean, target = mean.mT, target.mT.contiguous()
        residual = mean - target
        squared = self.over_features(residual * residual)
        if torch.isnan(squared).any():  # elements are missing
            return super().log_prob(x)
        n_features = math.prod(x.shape[x.ndim - self.feature_dims :])
        constant = n_features * (self.log_scale + 0.5 * math.log(2 * math.pi))
        return -0.5 * torch.exp(-2 * self.log_scale) * squared - constant
