"""Pictures of what the trained models of the digits benchmark make."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import measures
import numpy as np
import torch
from networks import SHAPES
from torch import Tensor

from data import N_CLASSES
from pipeline.seeds import torch_generator
from pipeline.vae.base import Batch, MultimodalVAE

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CELL_INCH, DPI = 0.8, 120
N_JOINT = 10  # prior samples of each family


def save_all(out: Path, models: dict[str, MultimodalVAE], test: Batch, *, seed: int) -> None:
    """`from_<modality>.png`: rows are test images of each class, columns families; `joint.png`: prior samples."""
    able = {family: model for family, model in models.items() if model.cross_generates}
    if not able:
        return
    chosen = test.take(torch.as_tensor([int((test.labels == label).nonzero()[0]) for label in range(N_CLASSES)]))
    for given, target in (tuple(SHAPES), tuple(reversed(SHAPES))):
        columns = {"given": chosen.data[given]}
        for family, model in able.items():
            noise = torch_generator(seed, "pictures", given)
            columns[family] = measures.made_from(model, chosen, [given], [target], noise)[target]
        _save(out / f"from_{given}.png", columns)
    columns = {}
    for family, model in able.items():
        for name, images in measures.joint_images(model, N_JOINT, seed=seed).items():
            columns[f"{family}\n{name}"] = images
    _save(out / "joint.png", columns)


def _save(path: Path, columns: dict[str, Tensor]) -> None:
    n_rows = len(next(iter(columns.values())))
    figure, axes = plt.subplots(n_rows, len(columns), figsize=(CELL_INCH * len(columns), CELL_INCH * n_rows + 0.3))
    for column, (title, images) in zip(np.reshape(axes, (n_rows, -1)).T, columns.items(), strict=True):
        column[0].set_title(title, fontsize=7)
        _draw(column, images)
    figure.tight_layout(pad=0.2)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _draw(column: Sequence, images: Tensor) -> None:
    for axis, image in zip(column, images.clamp(0, 1).numpy(), strict=True):
        axis.imshow(image if image.ndim == 2 else np.moveaxis(image, 0, -1), cmap="gray", vmin=0, vmax=1)
        axis.axis("off")
