"""Distributions of the data given the latents: one file each, found by name.

A likelihood is made from what a decoder returns, tensors of shape (..., *features) or broadcastable to it.
Elements of the data that are NaN are missing: they add nothing to the value nor to any gradient.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Likelihood(ABC):
    """Independent elements; `feature_dims` of the last axes of the data are one observation."""

    filler = 0.0  # stands in for missing data, inside the support so that no gradient becomes NaN

    def __init__(self, *, feature_dims: int = 1):
        self.feature_dims = feature_dims

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """Expected data, (..., *features)."""

    @abstractmethod
    def element_log_prob(self, x: Tensor) -> Tensor:
        """log p of each element in nats, (..., *features); `x` holds no NaN."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, summed over the features: x (n, *features) -> (..., n); NaN elements are left out."""
        missing = torch.isnan(x)
        if not missing.any():
            return self.over_features(self.element_log_prob(x))
        return self.over_features(self.element_log_prob(x.masked_fill(missing, self.filler)).masked_fill(missing, 0))

    def over_features(self, each: Tensor) -> Tensor:
        """Sum over the features, (..., *features) -> (...)."""
        return each.sum(tuple(range(-self.feature_dims, 0))) if self.feature_dims else each


def likelihood_class(name: str) -> type[Likelihood]:
    """The class in the file `name` of this folder.

    Raises InputError, with the names that exist, where there is none.
    """
    import pipeline.vae.likelihoods as package
    from pipeline.discovery import load

    module = load(package, name, what="likelihood")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Likelihood) and value.__module__ == module.__name__
    )
