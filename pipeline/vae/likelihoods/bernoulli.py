"""Binary data."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pipeline.vae.likelihoods import Likelihood


class Bernoulli(Likelihood):
    """P(x = 1) = sigmoid(logits)."""

    def __init__(self, logits: Tensor, *, feature_dims: int = 1):
        super().__init__(feature_dims=feature_dims)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def element_log_prob(self, x: Tensor) -> Tensor:
        return x * self.logits - softplus(self.logits)
