"""How far each family's objective stays below the likelihood that it bounds, where that is known exactly.

    python benchmarks/exact.py

The world is the linear-Gaussian one of the tests (tests/vae/conftest.py): two modalities of 4 and 5 numbers from two
shared latents, with encoders and decoders that can hold the exact posteriors and the exact model. Each family starts
at random and is trained on 4000 samples, with twice the steps until that changes its value by less than 0.002 nats per
dimension; then it is measured on 20 000 others. Prints a table in Markdown: what is reached, the expected value of what
it bounds, the gap in nats per dimension, and what of it the model itself lacks: the same exact likelihood, under the
decoders that were learned and N(0, I) (meme has a prior of its own). The rest is the posterior's or the objective's.
"""

import runpy
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.vae.base import Batch, MultimodalVAE
from pipeline.vae.spec import family_class

WORLD = runpy.run_path(str(Path(__file__).resolve().parents[1] / "tests" / "vae" / "conftest.py"))
Lab, Linear = WORLD["Lab"], WORLD["Linear"]
N_LATENTS, N_TRAINING, N_HELD_OUT, FIRST_STEPS, SETTLED = 2, 4000, 20_000, 150, 0.002
ALPHA = 5 / 6  # of mvtcae


@dataclass(frozen=True)
class Case:
    """A family, and what its objective bounds: `joint` log p(x1,x2) + `single` (log p(x1) + log p(x2))."""

    family: str
    bounds: str
    joint: float
    single: float
    why: str
    options: dict[str, Any] = field(default_factory=dict)
    n_private: int = 0
    is_bound: bool = True
    own_prior: bool = False


BOTH = {"bounds": "log p(x1,x2)", "joint": 1, "single": 0}
ALL = {"bounds": "log p(x1,x2) + log p(x1) + log p(x2)", "joint": 1, "single": 1}
CASES = [
    Case("unimodal", "log p(x1) + log p(x2)", 0, 1, "none: the posteriors can be exact"),
    Case("mvae", **ALL, why="none: so can the products"),
    Case("telbo", **ALL, why="none", options={"stages": 1}),
    Case("jmvae", **BOTH, why="none", options={"variant": "zero"}),
    Case("jmvae", **BOTH, why="alpha times the KL to the single encoders"),
    Case("mopoe", **BOTH, why="a third of its samples know x1 alone, a third x2"),
    Case("mmvae", **BOTH, why="every sample knows one modality", options={"objective": "elbo"}),
    Case("mmvae", **BOTH, why="so it does, but 10 are weighted"),
    Case("mmvae", **BOTH, why="20 are weighted together", options={"bound": "tight"}),
    Case("mmvaeplus", **BOTH, why="as mmvae", n_private=1),
    Case("mvtcae", "log p(x1,x2) - 5/12 (log p(x1) + log p(x2))", 1, -ALPHA / 2, "the product has the prior twice"),
    Case("meme", "log p of one given the other, mean", 1, -0.5, "a log of a mean over 11 samples", own_prior=True),
    Case("mfm", **BOTH, why="none: an ELBO", options={"prior_penalty": "kl"}, n_private=1),
    Case("mfm", **BOTH, why="no bound: codes are points", n_private=1, is_bound=False),
]


def main() -> None:
    torch.set_num_threads(1)
    world = Lab(n_latents=N_LATENTS)
    training, held_out = world.data(N_TRAINING), world.data(N_HELD_OUT)
    print("| family | reached | what it bounds | its exact value | gap | of it the model's | why | steps | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in CASES:
        print(row(case, world, training, held_out), flush=True)


def row(case: Case, world: Lab, training: list, held_out: list) -> str:
    began_s = time.process_time()
    n_dims = (case.joint + case.single) * sum(x.shape[1] for x in training)
    n_steps, before, value = FIRST_STEPS, float("inf"), 0.0
    while abs(value - before) > SETTLED * n_dims:
        before, n_steps = value, 2 * n_steps
        model = untrained(case)
        Lab.fit(model, world.batch(training), n_steps=n_steps)
        value = reached(model, world.batch(held_out))
    exact = expected(case, world.parts, held_out)
    lacks = "-" if case.own_prior else f"{(exact - expected(case, learned(model), held_out)) / n_dims:.3f}"
    options = ", ".join(f"{name}: {chosen}" for name, chosen in case.options.items())
    name = case.family + (f" ({options})" if options else "")
    took = f"{n_steps} | {time.process_time() - began_s:.0f} |"
    found = f"{value:.2f} | {case.bounds} | {exact:.2f} | {(exact - value) / n_dims:.3f}"
    if not case.is_bound:
        found = f"- | {case.bounds} | {exact:.2f} | -"
    return f"| {name} | {found} | {lacks} | {case.why} | {took}"


def untrained(case: Case) -> MultimodalVAE:
    cls = family_class(case.family)
    wide = Lab(n_latents=N_LATENTS + case.n_private)
    n_latents = N_LATENTS + case.n_private * len(wide.names)
    needs = {"joint_encoder": cls.needs_joint_encoder, "surrogate_encoder": cls.needs_surrogate_encoder}
    encoders = {name: Lab(n_latents=n_latents).joint_encoder() for name, needed in needs.items() if needed}
    private = {"private_dim": dict.fromkeys(wide.names, case.n_private)} if case.n_private else {}
    return cls(wide.modalities(), latent_dim=N_LATENTS, **encoders, **private, **case.options)


@torch.no_grad()
def reached(model: MultimodalVAE, batch: Batch) -> float:
    """Mean objective, without what the surrogates of mfm learn by, which is no part of its bound."""
    generator = torch.Generator().manual_seed(0)
    values = []
    for rows in torch.arange(len(batch)).split(1000):  # mmd compares each with each
        objective = model.objective(batch.take(rows), 1.0, generator)
        surrogates = [term for name, term in objective.terms.items() if name.startswith("surrogate_")]
        values.append(objective.value - sum(surrogates) / max(len(surrogates), 1))
    return torch.cat(values).mean().item()


def learned(model: MultimodalVAE) -> list[Linear]:
    """The decoders, each over all latents."""
    parts = []
    for modality, speaks in zip(model.modalities.values(), model.speaks, strict=True):
        decoder = modality.decoder
        w = torch.zeros(len(decoder.shift), model.n_latents, dtype=torch.float64)
        w[:, speaks] = decoder.weight.detach()
        parts.append(Linear(w.numpy(), decoder.shift.detach().numpy(), decoder.log_scale.exp().item()))
    return parts


def expected(case: Case, parts: list[Linear], xs: list) -> float:
    """Mean over the samples of what the family bounds, were `parts` the model."""
    single = sum(Lab.evidence([part], [x]).mean() for part, x in zip(parts, xs, strict=True))
    return float(case.joint * Lab.evidence(parts, xs).mean() + case.single * single)


if __name__ == "__main__":
    main()
