"""Laplace with a fixed scale (1 where none is given) or a learned one: less moved by outliers than a Gaussian."""

import math

import torch
from torch import Tensor

from pipeline.vae.likelihoods import Likelihood


class Laplace(Likelihood):
    """exp(-|x - mean| / b) / (2 b) with b = exp(log_scale)."""

    def __init__(self, mean: Tensor, log_scale: Tensor | float = 0.0, *, feature_dims: int = 1):
        super().__init__(feature_dims=feature_dims)
        self._mean = mean
        self.log_scale = torch.as_tensor(log_scale, dtype=mean.dtype, device=mean.device)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def element_log_prob(self, x: Tensor) -> Tensor:
        return -(x - self._mean).abs() * torch.exp(-self.log_scale) - self.log_scale - math.log(2)
