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
