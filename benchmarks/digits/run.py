"""Do the families do on digits what their papers say? MNIST beside coloured scenes of the same class.

    python benchmarks/digits/run.py [--images DIR] [--families NAME ...] [--minutes M | --epochs N] [--out DIR]

Every family gets the same networks, the same pairs and the same CPU time (one thread); the weights with the highest
objective on the validation images are kept. Prints tables in Markdown, all on test images: coherence (classifiers
of real images judge what is made), what a linear classifier reads from the latents, reconstruction errors, and
log p(x_t) with the three proposals of the seed's table. Saves under --out the models and PNGs of cross generations.
Likelihoods are weighted by dimension in training (MNIST 3072 / 784), never in the tables.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import measures
import pictures
import torch
from measures import Figure, Found
from networks import SHAPES, build

from data import FILES, Part, floats, make_parts, read_digits
from pipeline.errors import InputError
from pipeline.seeds import torch_generator
from pipeline.vae import families
from pipeline.vae.base import Batch, MultimodalVAE

ROOT = Path(__file__).resolve().parents[2]
# Other than the families' own defaults: as few decoded samples a step as in the others, so that a minute is a minute.
OPTIONS = {
    "mmvae": {"objective": "elbo", "k": 1},
    "mmvaeplus": {"objective": "elbo", "k": 1},
    "meme": {"fresh_samples": 3},
}
BATCH_SIZE, LEARNING_RATE, RISE = 128, 3e-3, 0.05  # RISE: share of the training over which the learning rate rises
N_CHECKS = 10  # of the objective on validation images
N_DRAWINGS = 4  # scenes of a training image
CLASSIFIER_EPOCHS = {"mnist": 8, "textured": 6}
N_ERROR_SAMPLES = 20  # posterior samples of a reconstruction


@dataclass(frozen=True)
class Measured:
    """All that is known of one family."""

    n_steps: int
    cpu_s: float
    coherence: Found
    joint: tuple[Figure, float]
    latents: dict[str, Figure]
    errors: Found
    likelihoods: measures.Table


def fit(
    model: MultimodalVAE, parts: dict[str, Part], *, minutes: float, epochs: int | None, seed: int
) -> tuple[int, float]:
    """Train for `minutes` of CPU time, or `epochs`; keep the best weights. Returns the number of steps and the CPU s.

    Raises InputError where the objective is no longer finite.
    """
    train, draws = parts["train"], torch_generator(seed, "pairs")
    noise = torch_generator(seed, "noise")
    validation = floats(parts["validation"].pairs(torch_generator(seed, "validation")))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    n_batches = len(train) // BATCH_SIZE
    model.start([floats(train.pairs(draws))])
    best, best_value, n_checks = model.state_dict(), -math.inf, 0
    started, n_steps, before, done = time.process_time(), 0, -math.inf, 0.0
    while done < 1:
        pairs = train.pairs(draws)
        for rows in torch.randperm(len(train), generator=draws).split(BATCH_SIZE)[:n_batches]:
            model.train()
            model.advance(before, done)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min(1, done / RISE + 0.01) * 0.5 * (1 + math.cos(math.pi * done))
            optimizer.zero_grad()
            loss = model.objective(floats(pairs.take(rows)), done, noise).loss
            loss.backward()
            optimizer.step()
            n_steps += 1
            before = done
            spent = (time.process_time() - started) / (60 * minutes)
            done = min(1.0, n_steps / (epochs * n_batches) if epochs else spent)
            if done * N_CHECKS >= n_checks + 1:
                n_checks += 1
                value = validated(model, validation, seed)
                if not math.isfinite(value):
                    raise InputError("the training diverged", found=f"objective {value} at step {n_steps}")
                if model.settled(done) and value > best_value:
                    best_value = value
                    best = {name: x.detach().clone() for name, x in model.state_dict().items()}
            if done >= 1:
                break
    model.load_state_dict(best)
    model.eval()
    return n_steps, time.process_time() - started


@torch.no_grad()
def validated(model: MultimodalVAE, validation: Batch, seed: int) -> float:
    """The mean objective on validation pairs, nats, with the same noise every time."""
    model.eval()
    noise = torch_generator(seed, "validation noise")
    values = [
        model.objective(validation.take(rows), 1.0, noise).value
        for rows in torch.arange(len(validation)).split(BATCH_SIZE)
    ]
    return torch.cat(values).mean().item()


def measure(model: MultimodalVAE, train: Batch, test: Batch, judges: dict, args, fitted: tuple[int, float]) -> Measured:
    """All measures of a trained model."""
    few = test.take(torch.arange(args.pairs))
    return Measured(
        *fitted,
        coherence=measures.coherence(model, test, judges, seed=args.seed),
        joint=measures.joint_coherence(model, judges, n=len(test), seed=args.seed),
        latents=measures.latent_classes(model, train, test),
        errors=measures.errors(model, test, n_samples=N_ERROR_SAMPLES, seed=args.seed),
        likelihoods=measures.likelihoods(model, few, n_samples=args.samples, seed=args.seed),
    )


def share(figure: Figure | None) -> str:
    """Per cent and its standard error."""
    if figure is None or math.isnan(figure.mean):
        return "-"
    return f"{100 * figure.mean:.1f} ± {100 * figure.error:.1f}"


def error(figure: Figure | None) -> str:
    return f"{figure.mean:.4f}" if figure else "-"


def nats(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    ess = "" if math.isnan(figure.ess) else f" ({figure.ess:.1f})"
    return f"{figure.mean:.2f} ± {figure.error:.2f}{ess}"


def table(heads: list[str], rows: list[list[str]]) -> None:
    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def print_tables(measured: dict[str, Measured]) -> None:
    m, t = SHAPES
    both = f"{m}+{t}"
    print("\nShare (%) of images that the classifier of real ones finds to be of the class given; joint: prior samples")
    print("whose two images are of one class (in brackets: if their partners were shuffled).")
    table(
        ["family", "steps", "CPU s", f"{m} → {t}", f"{t} → {m}", "joint", f"{m} → {m}", f"{t} → {t}"],
        [
            [
                family,
                str(x.n_steps),
                f"{x.cpu_s:.0f}",
                *(share(x.coherence.get(pair)) for pair in ((t, m), (m, t))),
                share(x.joint[0]) + ("" if math.isnan(x.joint[1]) else f" ({100 * x.joint[1]:.0f})"),
                *(share(x.coherence[name, name]) for name in SHAPES),
            ]
            for family, x in measured.items()
        ],
    )
    print("Share (%) of classes that a linear classifier reads from posterior means; mean absolute error a pixel of")
    print("reconstructions.")
    table(
        ["family", m, t, "both", f"{m} given {m}", f"{m} given both", f"{t} given {t}", f"{t} given both"],
        [
            [
                family,
                *(share(x.latents.get(given)) for given in (m, t, both)),
                *(error(x.errors.get((target, given))) for target in SHAPES for given in (target, both)),
            ]
            for family, x in measured.items()
        ],
    )
    print("log p(x_t), nats, by importance sampling with three proposals: mean ± standard error (effective samples);")
    print("gain: of the first over the last, over the same pairs, with as many samples in all: a mixture of n experts")
    print("that uses a share 1/n of them loses up to log n; per expert: with as many from each component of a mixture.")
    table(
        ["family", "t", "x_t given x_t, x_n", "x_t given x_n", "x_t given x_t", "gain", "gain, per expert"],
        [
            [
                family,
                target,
                *(nats(x.likelihoods.log_probs.get((target, given))) for given in (both, other, target)),
                *(nats(gains.get(target)) for gains in (x.likelihoods.gains, x.likelihoods.gains_each)),
            ]
            for family, x in measured.items()
            for target, other in ((m, t), (t, m))
        ],
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared/data/images", help="folder of the idx.gz")
    parser.add_argument("--families", nargs="+", default=families(), choices=families(), metavar="NAME")
    parser.add_argument("--minutes", type=float, default=1.5, help="CPU time to train each family (default: 1.5)")
    parser.add_argument("--epochs", type=int, help="train for so many epochs instead")
    parser.add_argument("--latents", type=int, default=20, help="shared latents (default: 20)")
    parser.add_argument("--likelihood", choices=("laplace", "bernoulli"), default="laplace", help="of MNIST")
    parser.add_argument("--scale", type=float, default=0.75, help="of the Laplace likelihoods (default: 0.75)")
    parser.add_argument("--samples", type=int, default=300, help="posterior samples of a likelihood (default: 300)")
    parser.add_argument("--pairs", type=int, default=200, help="test pairs of the likelihoods (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/digits"), help="(default: results/digits)")
    parser.add_argument("--trained", action="store_true", help="measure the models in --out instead of training")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if not all((args.images / name).exists() for name in FILES.values()):
        print(f"skipped: no {' and '.join(FILES.values())} in {args.images} (name their folder with --images)")
        return
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    parts = make_parts(*read_digits(args.images), n_drawings=N_DRAWINGS, seed=args.seed)
    train, test = (floats(parts[name].pairs(torch_generator(args.seed, "measured"))) for name in ("train", "test"))
    print(f"`python {' '.join(sys.argv)}`")
    judges = {}
    for name in SHAPES:
        judges[name] = measures.train_classifier(name, parts["train"], n_epochs=CLASSIFIER_EPOCHS[name], seed=args.seed)
        right = measures.classified(judges[name], test.data[name]) == test.labels
        print(f"classifier of {name}: {share(Figure.of(right.numpy()))} % of test images", flush=True)
    models, measured = {}, {}
    for family in args.families:
        model = build(
            family,
            latent_dim=args.latents,
            likelihood=args.likelihood,
            scale=args.scale,
            seed=args.seed,
            options=OPTIONS.get(family, {}),
        )
        path = args.out / f"{family}.pt"
        if args.trained:
            saved = torch.load(path, weights_only=True)
            model.load_state_dict(saved["state"])
            fitted = saved["fitted"]
            model.eval()
        else:
            fitted = fit(model, parts, minutes=args.minutes, epochs=args.epochs, seed=args.seed)
            torch.save({"state": model.state_dict(), "fitted": fitted}, path)
        models[family] = model
        measured[family] = measure(model, train, test, judges, args, fitted)
        print(f"{family} done", file=sys.stderr, flush=True)
    print_tables(measured)
    pictures.save_all(args.out, models, test, seed=args.seed)


if __name__ == "__main__":
    main()
