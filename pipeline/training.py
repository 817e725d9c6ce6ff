"""Training: one loop for all families, on a CPU or GPUs, that stops early, resumes exactly and keeps a history.

No global random state: an epoch's draws come from generators of (seed, epoch) alone, so that a training that was cut
off goes on from its checkpoint to the same weights.
"""

import copy
import hashlib
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from rich.console import Console
from rich.progress import Progress
from tensorboardX import SummaryWriter
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.clips import SessionClips
from pipeline.errors import InputError
from pipeline.memory import keep_freed_memory
from pipeline.seeds import numpy_generator, torch_generator
from pipeline.storage import write_table, written_whole
from pipeline.vae.assembly import to_batch
from pipeline.vae.base import Batch, MultimodalVAE
from pipeline.validation import mean_counts, validate

RISE = 0.05  # share of the training over which the learning rate rises
AVERAGED = 0.1  # share of the training over which weights are averaged


@dataclass(frozen=True)
class Schedule:
    """How to train; the fields are those of the `training` section of the configuration."""

    max_epochs: int
    patience: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    precision: str
    devices: int


@dataclass
class Progressed:
    """Where a training stands; with the weights and the optimizer, all that a resume needs."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_score: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class _Forward(nn.Module):
    """Fabric and DDP follow `forward`, tensors in and tensors out."""

    def __init__(self, model: MultimodalVAE):
        super().__init__()
        self.model = model

    def forward(self, data, present, session, labels, step, generator) -> tuple[Tensor, dict[str, Tensor]]:
        objective = self.model.objective(Batch(data, present, session, labels), step, generator)
        return objective.value, objective.terms


def train(
    model: MultimodalVAE,
    clips: Sequence[SessionClips],
    *,
    schedule: Schedule,
    seed: int,
    history_path: str | Path,
    checkpoint_path: str | Path,
    accelerator: str = "auto",
    threads: int = 1,
) -> pd.DataFrame:
    """Fit `model` in place to the clips of split `train`; its best weights on split `validation` are kept.

    What is validated and kept is the running mean of the weights over the last steps (Polyak & Juditsky 1992; here
    exponential, over a share `AVERAGED` of the whole training): where spikes are few, single steps are mostly noise.
    The best epoch has the most validation bits/spike (of traces: bits a bin) from audio to neural, where the family
    generates across modalities and clips hold both; else the highest validation objective. Parameters that
    do not require gradients stay as they are. Clips that the family cannot learn from, for want of modalities, are left
    out and counted in one warning. Returns the history, one row an epoch (the last row's `best_epoch` is the one that
    was kept), which is also written to `history_path` (CSV) and beside it as TensorBoard events. `checkpoint_path` is
    written after each epoch and deleted at the end; a checkpoint of another training is ignored.

    Raises InputError where a split holds no clips that the model can use.
    """
    fabric = _fabric(accelerator, schedule, threads)
    training = _batches_of(model, clips, "train", fabric)
    validation = _batches_of(model, clips, "validation", fabric)
    mark = _fingerprint(model, training, schedule, seed)
    model.to(fabric.device)
    rates = mean_counts(model, training, kind=clips[0].kind)
    forward, optimizer = fabric.setup(_Forward(model), _optimizer(model, schedule))
    n_steps = schedule.max_epochs * sum(math.ceil(len(batch) / schedule.batch_size) for batch in training)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / max(AVERAGED * n_steps, 1)))
    now, best = Progressed(), copy.deepcopy(model.state_dict())
    saved = _read_checkpoint(checkpoint_path, mark, fabric.device)
    if saved:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        averaged.load_state_dict(saved["averaged"])
        now, best = Progressed(**saved["progressed"]), saved["best"]
        fabric.print(f"resumed after epoch {now.epoch}", file=sys.stderr)

    events = Path(history_path).parent / "tensorboard"
    writer = SummaryWriter(str(events), purge_step=now.epoch + 1) if fabric.is_global_zero else None
    console = Console(stderr=True)
    with Progress(console=console, disable=not (fabric.is_global_zero and console.is_terminal)) as bar:
        task = bar.add_task("training", total=schedule.max_epochs, completed=now.epoch)
        while now.epoch < schedule.max_epochs and now.epoch - now.best_epoch < schedule.patience:
            started = time.perf_counter()
            row = _run_epoch(fabric, forward, optimizer, averaged, training, now, schedule, seed)
            row |= validate(averaged.module, validation, rates, seed)
            score = row["neural_bits"] if math.isfinite(row["neural_bits"]) else row["validation_objective"]
            if not math.isfinite(row["train_objective"]):
                raise InputError(
                    "the training diverged",
                    found=f"objective {row['train_objective']} in epoch {now.epoch}",
                    mend="lower training.learning_rate or training.clip_norm",
                )
            if not model.settled(now.epoch / schedule.max_epochs):
                now.best_epoch = now.epoch  # patience counts from when the model is whole
            elif score > now.best_score:
                now.best_score, now.best_epoch = score, now.epoch
                best = {name: value.detach().clone() for name, value in averaged.module.state_dict().items()}
            now.seconds += time.perf_counter() - started
            known = {"best_epoch": now.best_epoch, "seconds": round(now.seconds, 3)}
            now.history.append({"epoch": now.epoch, "step": now.step, **row, **known})
            if writer is not None:
                for name, value in row.items():
                    writer.add_scalar(name, value, now.epoch)
                write_table(pd.DataFrame(now.history), history_path)
                _write_checkpoint(checkpoint_path, mark, model, optimizer, averaged, now, best)
            bar.update(task, advance=1, description=f"epoch {now.epoch}  best {now.best_score:.4g}")
    model.load_state_dict(best)
    model.eval()
    if writer is not None:
        writer.close()
        Path(checkpoint_path).unlink(missing_ok=True)
    return pd.DataFrame(now.history)


def _fabric(accelerator: str, schedule: Schedule, threads: int) -> Fabric:
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cpu":
        torch.set_num_threads(threads)
        keep_freed_memory()
    else:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS sums in varying order
        torch.use_deterministic_algorithms(True, warn_only=True)
    # Not every session's weights are in every batch.
    strategy = DDPStrategy(find_unused_parameters=True) if schedule.devices > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=schedule.devices, strategy=strategy, precision=schedule.precision)
    fabric.launch()
    return fabric


def _batches_of(model: MultimodalVAE, clips: Sequence[SessionClips], split: str, fabric: Fabric) -> list[Batch]:
    """One batch a session with its usable clips of `split`: on the device where all fit, else in memory."""
    batches, left_out = [], {}
    n_present, n_first = 0, 0  # clips that hold anything, that the training can start with
    for session in clips:
        batch = to_batch(session.where(split), labels=model.labels)
        present = model.presence(batch)
        first, usable = model.usable(present, 0.0), model.usable(present, 1.0)
        n_present, n_first = n_present + int(present.any(0).sum()), n_first + int(first.sum())
        if not first.all():
            left_out[session.session] = f"{int((~first).sum())} of {len(first)}{' at first' if usable.all() else ''}"
        if usable.any():
            batches.append(batch.take(usable))
    where = ", ".join(session.session for session in clips)
    family = type(model).__module__.rsplit(".", 1)[-1]
    if n_present and (not batches or (split == "train" and not n_first)):
        raise InputError(
            f"{family} learns from clips that have all modalities, and split {split} holds none",
            where=where,
            found=f"{n_present} clips, none with all of {', '.join(model.modalities)}",
            mend="record them at once, or leave the family out of models.families",
        )
    if not batches:
        raise InputError(
            f"no clips to use in split {split}",
            where=where,
            mend="record longer, or lower clips.split.guard_s or clips.split.n_blocks",
        )
    if split == "train" and left_out and fabric.is_global_zero:
        counts = ", ".join(f"{session} {count}" for session, count in left_out.items())
        warnings.warn(f"{family} leaves out clips that lack modalities: {counts}", stacklevel=3)
    size = sum(x.nbytes for batch in batches for x in batch.data.values())
    fits = fabric.device.type == "cpu" or size < torch.cuda.mem_get_info(fabric.device)[0] / 2
    return [batch.to(fabric.device) for batch in batches] if fits else batches


def _run_epoch(fabric, forward, optimizer, averaged, training, now, schedule, seed) -> dict[str, float]:
    """One pass over the training clips; returns the means of the objective and its terms, and beta."""
    model: MultimodalVAE = forward.module.model
    model.train()
    shuffle = numpy_generator(seed, "order", now.epoch)
    noise = torch_generator(seed, "noise", now.epoch, fabric.global_rank, device=str(fabric.device))
    pieces = [
        (batch, model.presence(batch)[:, rows].cpu(), rows)
        for batch in training
        for rows in map(torch.as_tensor, _pieces(shuffle.permutation(len(batch)), schedule.batch_size))
    ]
    n_steps = schedule.max_epochs * len(pieces)
    sums: dict[str, Tensor] = {}
    seen: dict[str, int] = {}
    for index in shuffle.permutation(len(pieces)):
        batch, present, rows = pieces[index]
        done = now.step / n_steps
        model.advance((now.step - 1) / n_steps, done)
        now.step += 1
        rows = rows[model.usable(present, done)]
        if len(rows) < fabric.world_size:  # every process needs a part
            continue
        rows = rows[fabric.global_rank :: fabric.world_size]
        piece = batch.take(rows.to(next(iter(batch.present.values())).device)).to(fabric.device)
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate * _pace(done)
        value, terms = forward(piece.data, piece.present, piece.session, piece.labels, done, noise)
        optimizer.zero_grad()
        fabric.backward(-value.mean())
        fabric.clip_gradients(forward, optimizer, max_norm=schedule.clip_norm)
        optimizer.step()
        averaged.update_parameters(model)
        for name, term in ({"objective": value} | terms).items():
            sums[name] = sums.get(name, 0) + term.detach().sum()
            seen[name] = seen.get(name, 0) + len(rows)
    now.epoch += 1
    beta = model.beta_at((now.step - 1) / n_steps)
    return {"beta": beta} | {f"train_{name}": float(total) / seen[name] for name, total in sums.items()}


def _pace(done: float) -> float:
    """Learning rate over its highest value: a short rise, then half a cosine down to 0."""
    return min(1.0, done / RISE) * 0.5 * (1 + math.cos(math.pi * done))


def _pieces(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Cut into equal pieces of at most `batch_size`: a short last piece would be a noisier step."""
    return np.array_split(order, math.ceil(len(order) / batch_size))


def _optimizer(model: MultimodalVAE, schedule: Schedule) -> torch.optim.Optimizer:
    """AdamW; biases, dispersions and scales (fewer than two axes) do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = schedule.precision != "16-mixed"  # it cannot clip gradients that are scaled for half precision
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=schedule.learning_rate, fused=fused)


def _fingerprint(model: MultimodalVAE, training: list[Batch], schedule: Schedule, seed: int) -> str:
    """Tells this training from any other: its settings, starting weights and data."""
    digest = hashlib.sha256(json.dumps([asdict(schedule), seed, type(model).__name__, model.beta]).encode())
    data = [x for batch in training for x in (*batch.data.values(), batch.labels) if x is not None]
    for value in (*model.state_dict().values(), *data):
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _write_checkpoint(path, mark, model, optimizer, averaged, now: Progressed, best: dict[str, Tensor]) -> None:
    parts = {"model": model, "optimizer": optimizer, "averaged": averaged}
    with written_whole(path) as partial:
        saved = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"mark": mark, **saved, "progressed": asdict(now), "best": best}, partial)


def _read_checkpoint(path: str | Path, mark: str, device: torch.device) -> dict[str, Any] | None:
    """What was saved for the training `mark`, or None."""
    if not Path(path).exists():
        return None
    saved = torch.load(path, map_location=device, weights_only=True)
    return saved if saved["mark"] == mark else None
