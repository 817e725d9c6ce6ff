"""CPU time of a training step of each family, beside the same family of the `multivae` toolkit.

    python benchmarks/step_time.py [--peers PYTHON] [--families NAME ...] [--rounds N] [--steps N]

One architecture (Duet's networks at their default widths), batches of 128 pairs: spectrograms of 32 x 32 and counts of
56 units in 10 bins. A step is the objective, its gradient and one step of the optimizer, as each side trains: Duet with
freed memory kept and fused AdamW, the toolkit with its default, Adam; one process, one thread. PYTHON is an interpreter
that can import `multivae` and what pipeline/vae/networks.py imports; its models get the same encoders and decoders,
normal and Poisson likelihoods, and K = 10 where they weigh samples; TELBO is in its second stage. Both take turns in
`--rounds` rounds; the figure is the median over rounds of the mean over `--steps` steps. Prints a table in Markdown.

multivae imports torchvision for its image tools. Where no build of that fits, an empty package `torchvision` whose
attributes are classes does.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
N_CLIPS, N_FREQUENCIES, N_FRAMES, N_UNITS, N_BINS = 128, 32, 32, 56, 10
LATENT_DIM, HIDDEN, N_FACTORS, N_BASIS, K = 32, 256, 12, 6, 10
PRIVATE_DIM = LATENT_DIM // 2  # of each modality in MMVAE+
WARMUP = 3  # steps that are not counted
PEERS = {
    "jmvae": "JMVAE",
    "mmvae": "MMVAE",
    "mmvaeplus": "MMVAEPlus",
    "mopoe": "MoPoE",
    "mvae": "MVAE",
    "mvtcae": "MVTCAE",
    "telbo": "TELBO",
}
PEER_OPTIONS = {
    "MMVAE": {"K": K, "prior_and_posterior_dist": "normal"},
    "MMVAEPlus": {"K": K, "prior_and_posterior_dist": "normal", "modalities_specific_dim": PRIVATE_DIM},
    "TELBO": {"uses_likelihood_rescaling": False},
}
OWN_OPTIONS = {"mmvae": {"k": K}, "mmvaeplus": {"k": K}}
FRAME_S = [0.005 * i for i in range(N_FRAMES)]
BIN_S = [0.03 + 0.01 * i for i in range(N_BINS)]


def data() -> dict:
    """Spectrograms (n, 32, 32) and counts (n, 56, 10)."""
    import torch

    noise = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((N_CLIPS, N_UNITS, N_BINS), 0.3), generator=noise)
    return {"audio": torch.randn((N_CLIPS, N_FREQUENCIES, N_FRAMES), generator=noise), "neural": counts}


def own_step(family: str) -> Callable[[], object]:
    """A training step of Duet's model."""
    import torch

    from pipeline.memory import keep_freed_memory
    from pipeline.vae.assembly import assemble
    from pipeline.vae.base import Batch
    from pipeline.vae.spec import family_class

    private = family_class(family).default_private_dim(["audio", "neural"], LATENT_DIM)
    options = OWN_OPTIONS.get(family, {})
    spec = {
        "family": family,
        "latent_dim": LATENT_DIM,
        "seed": 0,
        "modalities": ["audio", "neural"],
        "sessions": {"a": [f"u{i}" for i in range(N_UNITS)]},
        "frequency_hz": [1000.0 * i for i in range(N_FREQUENCIES)],
        "frame_s": FRAME_S,
        "bin_s": BIN_S,
        "bin_width_s": 0.01,
        "kind": "spikes",
        "likelihoods": {"audio": "gaussian", "neural": "poisson"},
        "weights": {"audio": 1.0, "neural": 1.0},
        "hidden": HIDDEN,
        "n_factors": N_FACTORS,
        "n_basis": N_BASIS,
        "count_dropout": 0.0,
        "beta": 1.0,
        "warmup_fraction": 0.0,
        "options": options | {"private_dim": private} if private else options,
    }
    model = assemble(spec)
    batch = Batch(data(), {name: torch.ones(N_CLIPS, dtype=torch.bool) for name in ("audio", "neural")}, "a")
    model.start([batch])
    noise = torch.Generator().manual_seed(0)
    keep_freed_memory()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    return _stepper(model, optimizer, lambda: model.objective(batch, 1.0, noise).loss)


def peer_step(family: str) -> Callable[[], object]:
    """A training step of the toolkit's model of that name."""
    import torch
    from multivae import models
    from multivae.data.datasets import MultimodalBaseDataset
    from multivae.models.nn.base_architectures import BaseDecoder, BaseEncoder, BaseJointEncoder, BaseMultilatentEncoder
    from pythae.models.base.base_utils import ModelOutput

    from pipeline.vae import networks

    name = PEERS[family]
    private = PRIVATE_DIM if family == "mmvaeplus" else 0
    common = {"hidden": HIDDEN, "n_latents": LATENT_DIM + private}
    counts = {"sessions": {"a": N_UNITS}, "n_factors": N_FACTORS}

    class Encoder(BaseMultilatentEncoder if private else BaseEncoder):
        def __init__(self, network, **options):
            super().__init__()
            self.network, self.options = network, options
            self.latent_dim, self.style_dim = LATENT_DIM, private

        def forward(self, x):
            mean, log_variance = self.network(x, **self.options)
            output = ModelOutput(embedding=mean[:, :LATENT_DIM], log_covariance=log_variance[:, :LATENT_DIM])
            if private:
                output["style_embedding"] = mean[:, LATENT_DIM:]
                output["style_log_covariance"] = log_variance[:, LATENT_DIM:]
            return output

    class Decoder(BaseDecoder):
        def __init__(self, network, key, **options):
            super().__init__()
            self.network, self.key, self.options = network, key, options
            self.latent_dim = LATENT_DIM + private

        def forward(self, z):
            return ModelOutput(reconstruction=self.network(z, **self.options)[self.key])

    class Joint(BaseJointEncoder):
        def __init__(self, network):
            super().__init__()
            self.network, self.latent_dim = network, LATENT_DIM

        def forward(self, x):
            mean, log_variance = self.network(x, session="a")
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    shape = {"n_frequencies": N_FREQUENCIES, "n_frames": N_FRAMES}
    of_counts = {"n_bins": N_BINS, "dropout": 0.0}
    encoders = {
        "audio": Encoder(networks.SpectrogramEncoder(**shape, **common)),
        "neural": Encoder(networks.CountEncoder(**of_counts, **counts, **common), session="a", generator=None),
    }
    courses = [networks.TimeCourses(n_frames=N_FRAMES, **common)]
    courses.append(networks.TimeCourses(n_frames=N_FRAMES, **common) if private else courses[0])
    lags = networks.lag_hats(frame_s=FRAME_S, bin_s=BIN_S, bin_width_s=0.01, n_basis=N_BASIS)
    spikes = networks.CountDecoder(lag_basis=lags, courses=courses[1], log_link=True, spread=None, **counts)
    decoders = {
        "audio": Decoder(networks.SpectrogramDecoder(n_frequencies=N_FREQUENCIES, courses=courses[0]), "mean"),
        "neural": Decoder(spikes, "log_mean", session="a", generator=None),
    }
    extra = {}
    if family in ("jmvae", "telbo"):
        from pipeline.vae.joint import JointEncoder

        trunks = {
            "audio": networks.SpectrogramFeatures(**shape, hidden=HIDDEN),
            "neural": networks.CountFeatures(**of_counts, **counts, hidden=HIDDEN),
        }
        extra["joint_encoder"] = Joint(JointEncoder(trunks, **common))
    config = getattr(models, f"{name}Config")(
        n_modalities=2,
        latent_dim=LATENT_DIM,
        input_dims={"audio": (N_FREQUENCIES, N_FRAMES), "neural": (N_UNITS, N_BINS)},
        **PEER_OPTIONS.get(name, {}),
    )
    model = getattr(models, name)(config, encoders, decoders, **extra)
    # The toolkit has no counts: a Poisson in its own manner.
    model.recon_log_probs["neural"] = lambda found, x: torch.distributions.Poisson(found.exp()).log_prob(x)
    batch = MultimodalBaseDataset(data())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    return _stepper(model, optimizer, lambda: model(batch, epoch=20).loss)


def _stepper(model, optimizer, loss: Callable[[], object]) -> Callable[[], object]:
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def worker(of: str, families: Sequence[str], n_steps: int) -> None:
    """Print the CPU time (ms) of a step of each family, as JSON on the last line."""
    sys.path.insert(0, str(ROOT))
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    found = {}
    for family in families:
        torch.manual_seed(0)
        step = (own_step if of == "duet" else peer_step)(family)
        for _ in range(WARMUP):
            step()
        started = time.process_time()
        for _ in range(n_steps):
            step()
        found[family] = 1e3 * (time.process_time() - started) / n_steps
    print(json.dumps(found))


def measured(python: str, of: str, families: Sequence[str], n_steps: int) -> dict[str, float]:
    """CPU time (ms) of a step by family, from a process of its own."""
    command = [python, __file__, "--worker", of, "--steps", str(n_steps), "--families", *families]
    run = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{run.stderr}")
    return json.loads(run.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter that can import multivae")
    parser.add_argument("--families", nargs="+", help="(default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="steps a round")
    parser.add_argument("--worker", choices=("duet", "multivae"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.families, args.steps)
        return
    families = args.families
    if not families:
        from pipeline.vae import families as known

        families = known()
    shared = [family for family in families if family in PEERS]
    own, peers = {f: [] for f in families}, {f: [] for f in shared}
    for _ in range(args.rounds):
        for family in families:  # one after the other, so that both meet the same load of the machine
            own[family].append(measured(sys.executable, "duet", [family], args.steps)[family])
            if args.peers and family in peers:
                peers[family].append(measured(args.peers, "multivae", [family], args.steps)[family])
    print("| family | Duet, ms CPU a step | multivae, ms | ratio |\n|---|---|---|---|")
    for family in families:
        ours = statistics.median(own[family])
        if peers.get(family):
            theirs = statistics.median(peers[family])
            print(f"| {family} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |")
        else:
            print(f"| {family} | {ours:.1f} | - | - |")


if __name__ == "__main__":
    main()
