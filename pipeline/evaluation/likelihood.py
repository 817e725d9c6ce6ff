"""Held-out log-likelihoods by importance sampling, and how much each latent says.

log p(x) ~ log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|given), z_k ~ q(z|given) (L_K of Burda et al. 2016). Mixture
posteriors are sampled evenly over their components and enter with the density of the whole mixture. Latents that the
decoders of x do not see integrate to 1 and are left out: they would only add noise. The estimate lies below log p(x) on
average and rises to it with K.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.evaluation.heldout import HeldOut
from pipeline.evaluation.metrics import Metrics
from pipeline.evaluation.predictions import pieces, possible_givens, possible_targets
from pipeline.evaluation.scores import clip_mean
from pipeline.vae.assembly import to_batch
from pipeline.vae.base import Batch, MultimodalVAE
from pipeline.vae.posterior import Posterior, latent_kl

KL_SAMPLES = 64  # for posteriors that are mixtures, whose KL has no closed form


@dataclass(frozen=True)
class Estimate:
    """log_prob: nats, ess: effective number of samples behind it; both of shape (n_clips,)."""

    log_prob: np.ndarray
    ess: np.ndarray

    @classmethod
    def of(cls, log_weights: torch.Tensor) -> "Estimate":
        """The log of the mean weight, and (sum w)^2 / sum w^2 (Kong 1992), over log weights (n_samples, n_clips)."""
        total = torch.logsumexp(log_weights.double(), dim=0)
        ess = torch.exp(2 * total - torch.logsumexp(2 * log_weights.double(), dim=0))
        return cls((total - math.log(len(log_weights))).cpu().numpy(), ess.cpu().numpy())


@dataclass(frozen=True)
class Draws:
    """What posterior samples say, from which every estimate with this proposal is made; tensors (n_samples, n_clips).

    log_likelihoods: log p(x_t|z) by modality, nats. log_ratios: log p(z) - log q(z|given), nats, of the latents that
    the decoders of some targets see, by those targets: each of them, those among the given, and all.
    """

    log_likelihoods: dict[str, torch.Tensor]
    log_ratios: dict[frozenset[str], torch.Tensor]

    def marginal(self, *targets: str) -> Estimate:
        """log p(x_targets) with q(z|given) as the proposal."""
        log_likelihood = sum(self.log_likelihoods[target] for target in targets)
        return Estimate.of(self.log_ratios[frozenset(targets)] + log_likelihood)

    def predictive(self, target: str) -> Estimate:
        """log E_{q(z|given)} p(x_target|z)."""
        return Estimate.of(self.log_likelihoods[target])


def draw(
    model: MultimodalVAE,
    batch: Batch,
    *,
    given: Collection[str],
    targets: Collection[str],
    n_samples: int,
    generator: torch.Generator,
) -> Draws:
    """Sample q(z|x_given) for each clip of a batch in which `given` and `targets` are present."""
    sets = (*((target,) for target in targets), [target for target in targets if target in given], targets)
    seen = {frozenset(names): _seen(model, names) for names in sets if names}
    ratios, likelihoods = {names: [] for names in seen}, {target: [] for target in targets}
    with torch.inference_mode():
        for part in pieces(batch, targets, n_samples):
            posterior = model.posterior(part, given)
            z = posterior.rsample(n_samples, generator)  # (k, n, d)
            for names, latents in seen.items():
                ratios[names].append(model.prior_log_prob(z, latents) - posterior.log_prob(z, latents))
            for name, likelihood in model.decode(z, session=batch.session, names=targets).items():
                likelihoods[name].append(likelihood.log_prob(part.data[name]))
    return Draws(*({name: torch.cat(parts, dim=1) for name, parts in each.items()} for each in (likelihoods, ratios)))


def _seen(model: MultimodalVAE, names: Collection[str]) -> torch.Tensor | None:
    """Which latents the decoders of `names` see, bool (n_latents,); None for all."""
    rows = [row for row, name in enumerate(model.modalities) if name in names]
    seen = model.speaks[rows].any(dim=0)
    return None if seen.all() else seen


def kl_per_latent(posterior: Posterior, prior: Posterior, generator: torch.Generator) -> np.ndarray:
    """KL(q(z_j|x) || p(z_j)) of each clip and latent, nats, shape (n_clips, n_latents).

    Sampled where a mixture, or two families, leave no closed form.
    """
    kl = latent_kl(posterior, prior)
    if kl is None:
        z = posterior.rsample(KL_SAMPLES, generator)  # (k, n, d)
        kl = (posterior.latent_log_prob(z) - prior.latent_log_prob(z)).mean(dim=0)
    return kl.cpu().numpy()


def likelihood_scores(
    model: MultimodalVAE,
    metrics: Metrics,
    *,
    modalities: tuple[str, ...],
    held_out: Callable[[tuple[str, ...]], HeldOut | None],
    n_samples: int,
    n_clips: int,
    generator: torch.Generator,
) -> None:
    """Add marginal, joint, conditional and predictive log-likelihoods, synergies and latents' KL, means over clips.

    All rows of a session rest on the same clips, at most `n_clips` of them, evenly spread, that have all `modalities`.
    `marginal`: log p(x_target) with q(z|given) as the proposal; `joint`: log p of all that is given, two or more;
    `conditional`: the joint of target and given less the given's own; `predictive`: log E_{q(z|given)} p(x_target|z);
    `synergy`: log p(x_target) with q(z|given), the target among them, as the proposal less that with q(z|x_target),
    clip by clip.
    """
    held = held_out(modalities)
    if held is None:
        return
    held = held.thinned(n_clips)
    batch = to_batch(held.clips)
    labels = {"session": held.clips.session, "split": held.split}

    def add(name: str, values: np.ndarray, ess: np.ndarray, target: str, given: tuple[str, ...]) -> None:
        names = {"target": target, "given": "+".join(given), "metric": f"log_likelihood:{name}", "unit": "nat"}
        metrics.add(clip_mean(values, held.blocks), ess=float(ess.mean()), **names, **labels)

    marginals: dict[tuple[str, tuple[str, ...]], Estimate] = {}  # by target and given
    joints: dict[tuple[str, ...], Estimate] = {}  # of what is given
    for given in possible_givens(model, modalities):
        targets = possible_targets(model, modalities, given)
        draws = draw(model, batch, given=given, targets=targets, n_samples=n_samples, generator=generator)
        for target in targets:
            marginal = draws.marginal(target)
            add("marginal", marginal.log_prob, marginal.ess, target, given)
            marginals[target, given] = marginal
            if target not in given:
                predictive = draws.predictive(target)
                add("predictive", predictive.log_prob, predictive.ess, target, given)
        joints[given] = draws.marginal(*given)
        if len(given) > 1:
            add("joint", joints[given].log_prob, joints[given].ess, "+".join(given), given)
        if len(given) == len(modalities) or not model.cross_generates:
            with torch.inference_mode():
                kl = kl_per_latent(model.posterior(batch, given), model.prior, generator)
            names = {"target": "", "given": "+".join(given), "metric": "kl", "unit": "nat"}
            for index in range(kl.shape[1]):
                metrics.add(clip_mean(kl[:, index], held.blocks), unit_id=f"z{index}", **names, **labels)
    for target in modalities:
        for given in (names for names in joints if target not in names):
            together = joints.get(tuple(name for name in modalities if name in (target, *given)))
            if together is not None:
                ess = np.minimum(together.ess, joints[given].ess)
                add("conditional", together.log_prob - joints[given].log_prob, ess, target, given)
    for target, given in (names for names in marginals if names[0] in names[1] and len(names[1]) > 1):
        whole, own = marginals[target, given], marginals[target, (target,)]
        add("synergy", whole.log_prob - own.log_prob, np.minimum(whole.ess, own.ess), target, given)
