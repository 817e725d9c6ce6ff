"""One kind of data: its encoder, its decoder and the likelihood that joins them to the latents."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.vae.likelihoods import Likelihood, likelihood_class


class Contextual(nn.Module):
    """A network that is called with `session=` and `generator=` besides its input.

    `sessions` names the sessions that it has weights for; None: it serves any.
    """

    sessions: dict[str, str] | None = None


class Modality(nn.Module):
    """Name, encoder q(z|x), decoder and likelihood p(x|z), and the weight lambda of that likelihood in training.

    encoder: x (n, ...) -> mean and log variance, each (n, d). decoder: z (..., d) -> the likelihood's parameters,
    a tensor, a tuple or a dict, with axes (..., *features). likelihood: a name of `pipeline.vae.likelihoods`, or
    anything that makes a Likelihood from those parameters and `feature_dims=`.
    """

    def __init__(
        self,
        name: str,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: str | Callable[..., Likelihood],
        weight: float = 1.0,
    ):
        super().__init__()
        self.name = name
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood_class(likelihood) if isinstance(likelihood, str) else likelihood
        self.weight = weight

    def serves(self, session: str | None) -> bool:
        """Whether the decoder has weights for `session`; None stands for the only one."""
        sessions = getattr(self.decoder, "sessions", None)
        return sessions is None or session in sessions or (session is None and len(sessions) == 1)

    def encode(
        self, x: Tensor, *, session: str | None = None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (n, d)."""
        mean, log_variance = _call(self.encoder, x, session, generator)
        return full_precision(mean), full_precision(log_variance)

    def decode(
        self,
        z: Tensor,
        *,
        session: str | None = None,
        courses: dict[nn.Module, Tensor] | None = None,
        places: Tensor | None = None,
    ) -> Likelihood:
        """p(x|z) for z (..., d); with `places`, int (p,), for z (..., n, d) only there: (..., p, d).

        A decoder may be in two parts, `courses`, which others may have in common with it, and `read`, which makes the
        parameters from what that returns. `courses`: what such parts have returned for all of this z; added to.
        """
        common = getattr(self.decoder, "courses", None)
        if common is None or courses is None:
            parameters = _call(self.decoder, z if places is None else z.index_select(-2, places), session, None)
        else:
            if common not in courses:
                courses[common] = common(z)
            contextual = isinstance(self.decoder, Contextual)
            known = {"session": session, "generator": None} if contextual else {}
            course = courses[common]
            course = course if places is None else course.index_select(z.ndim - 2, places)
            parameters = self.decoder.read(course, **known)
        if isinstance(parameters, dict):
            named = {key: full_precision(value) for key, value in parameters.items()}
            first = next(iter(named.values()))
            return self.likelihood(**named, feature_dims=first.ndim - z.ndim + 1)
        ordered = [full_precision(p) for p in (parameters if isinstance(parameters, tuple | list) else [parameters])]
        return self.likelihood(*ordered, feature_dims=ordered[0].ndim - z.ndim + 1)


def _call(network: nn.Module, x: Tensor, session: str | None, generator: torch.Generator | None):
    return network(x, session=session, generator=generator) if isinstance(network, Contextual) else network(x)


def full_precision(x: Tensor) -> Tensor:
    """Densities need single precision even where layers run in half."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
