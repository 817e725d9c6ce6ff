"""MNIST digits in pairs: an image as it is, and another image of the same class drawn into a coloured scene.

The scenes stand in for street numbers (SVHN): the digit is turned, scaled and shifted, filled with a texture, dark on
light or light on dark, over a background with a gradient and stripes. What the two have in common is the class alone.
"""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import InputError
from pipeline.seeds import torch_generator
from pipeline.vae.base import Batch

FILES = {"images": "t10k-images-idx3-ubyte.gz", "labels": "t10k-labels-idx1-ubyte.gz"}
PARTS = {"train": 0.8, "validation": 0.1, "test": 0.1}  # shares of the images
SIDE = 32  # of a scene, pixels
N_CLASSES = 10
MOST_TURN = math.pi / 9  # of a digit in a scene, either way, rad
DARK_SHARE = 0.25  # of scenes with a dark digit on a light ground
AT_ONCE = 2000  # scenes that are drawn together: bounds the memory


@dataclass(frozen=True)
class Part:
    """Images of one part: digits uint8 (n, 28, 28), labels int64 (n,), their numbers in the file `images` (n,).

    scenes uint8 (n, r, 3, 32, 32): r drawings of each of these digits.
    """

    digits: Tensor
    labels: Tensor
    scenes: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def partners(self, generator: torch.Generator) -> Tensor:
        """For every digit another one of its class, drawn evenly, int64 (n,).

        Raises InputError where a digit is the only one of its class.
        """
        found = torch.empty(len(self), dtype=torch.int64)
        for label in range(N_CLASSES):
            members = (self.labels == label).nonzero().squeeze(-1)
            if not len(members):
                continue
            if len(members) == 1:
                raise InputError("one image of a class in a part: no other to pair it with", found=f"class {label}")
            ahead = torch.randint(1, len(members), (len(members),), generator=generator)
            found[members] = members[(torch.arange(len(members)) + ahead) % len(members)]
        return found

    def pairs(self, generator: torch.Generator) -> Batch:
        """Every digit once, each with a scene of its partner; pixels 0 to 1 are made by `floats`."""
        drawing = torch.randint(self.scenes.shape[1], (len(self),), generator=generator)
        data = {"mnist": self.digits, "textured": self.scenes[self.partners(generator), drawing]}
        return Batch(data, {name: torch.ones(len(self), dtype=torch.bool) for name in data}, labels=self.labels)


def floats(batch: Batch) -> Batch:
    """The same with pixels 0 to 1 instead of 0 to 255."""
    return Batch({name: x / 255 for name, x in batch.data.items()}, batch.present, batch.session, batch.labels)


def read_digits(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 28, 28) and labels (n,) of the two idx files in `folder`.

    Raises InputError where they are missing or are something else.
    """
    arrays = {}
    for what, name in FILES.items():
        path = folder / name
        try:
            raw = gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise InputError("cannot read these digits", where=path, found=error) from error
        n_axes = raw[3] if len(raw) > 3 and raw[:3] == b"\x00\x00\x08" else 0
        shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", n_axes, 4))
        if not n_axes or len(raw) != 4 + 4 * n_axes + math.prod(shape):
            raise InputError("no whole idx file of bytes", where=path, found=f"{len(raw)} bytes")
        arrays[what] = np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes).reshape(shape)
    images, labels = arrays["images"], arrays["labels"]
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise InputError(
            "no digits of 28 x 28 with a label each", where=folder, found=f"{images.shape}, {labels.shape}"
        )
    return images, labels


def make_parts(images: np.ndarray, labels: np.ndarray, *, n_drawings: int, seed: int) -> dict[str, Part]:
    """Split by image, then draw `n_drawings` scenes of every training image and one of every other."""
    order = torch.randperm(len(images), generator=torch_generator(seed, "split"))
    ends = np.round(np.cumsum(list(PARTS.values())) * len(images)).astype(int)
    parts = {}
    for name, rows in zip(PARTS, np.split(order.numpy(), ends[:-1]), strict=True):
        digits = torch.as_tensor(images[rows])
        generator = torch_generator(seed, "scenes", name)
        drawn = [
            torch.cat([draw_scenes(some, generator) for some in digits.split(AT_ONCE)])
            for _ in range(n_drawings if name == "train" else 1)
        ]
        known = torch.as_tensor(labels[rows]).long()
        parts[name] = Part(digits, known, torch.stack(drawn, 1), torch.as_tensor(rows))
    return parts


def draw_scenes(digits: Tensor, generator: torch.Generator) -> Tensor:
    """A scene of each digit: uint8 (n, 28, 28) -> uint8 (n, 3, 32, 32)."""
    n = len(digits)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *shape), generator=generator)

    def clouds(cells: int) -> Tensor:
        coarse = torch.randn((n, 3, cells, cells), generator=generator)
        return functional.interpolate(coarse, size=SIDE, mode="bilinear", align_corners=True)

    turn, size = uniform(-MOST_TURN, MOST_TURN), 1 / uniform(0.8, 1.1)
    turned = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], -1).reshape(n, 2, 2)
    placed = torch.cat([turned * size.reshape(n, 1, 1), uniform(-0.15, 0.15, 2, 1)], -1)
    grid = functional.affine_grid(placed, [n, 1, SIDE, SIDE], align_corners=False)
    ink = functional.grid_sample(digits.unsqueeze(1) / 255, grid, align_corners=False)  # (n, 1, 32, 32)

    dark, light = uniform(0.0, 0.45, 3, 1, 1), uniform(0.55, 1.0, 3, 1, 1)
    inverted = uniform(0, 1, 1, 1, 1) < DARK_SHARE
    figure, ground = torch.where(inverted, dark, light), torch.where(inverted, light, dark)
    axis = torch.linspace(-1, 1, SIDE)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    slope, course = uniform(-0.15, 0.15, 2, 1, 1, 1), uniform(0, math.pi, 1, 1, 1)
    along = x * course.cos() + y * course.sin()  # (n, 1, 32, 32)
    stripes = torch.sin(uniform(3, 9, 1, 1, 1) * along + uniform(0, 2 * math.pi, 1, 1, 1))
    ground = ground + slope[:, 0] * x + slope[:, 1] * y + uniform(0, 0.1, 1, 1, 1) * stripes
    figure = figure + 0.1 * clouds(5)
    scene = ground * (1 - ink) + figure * ink + 0.02 * torch.randn((n, 3, SIDE, SIDE), generator=generator)
    return (255 * scene.clamp(0, 1)).round().to(torch.uint8)
