"""Pairs of benchmarks/digits: the same every time, of one class, and no image in two parts."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
N_IMAGES, N_DRAWINGS = 1000, 2


@pytest.fixture(scope="module")
def data():
    spec = importlib.util.spec_from_file_location("digits_data", ROOT / "benchmarks/digits/data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def images():
    """Squares whose side tells the class, at places that tell the image."""
    generator = np.random.default_rng(0)
    labels = np.arange(N_IMAGES, dtype=np.uint8) % 10
    images = np.zeros((N_IMAGES, 28, 28), np.uint8)
    for image, label in zip(images, labels, strict=True):
        x, y = generator.integers(4, 12, 2)
        image[y : y + 4 + label, x : x + 4 + label] = 255
    images[:, 0, 0], images[:, 0, 1] = np.arange(N_IMAGES) // 256, np.arange(N_IMAGES) % 256  # its own number
    return images, labels


@pytest.fixture
def parts(data, images):
    return data.make_parts(*images, n_drawings=N_DRAWINGS, seed=0)


def test_parts_share_no_image_and_leave_none_out(parts, images):
    numbers = torch.cat([part.images for part in parts.values()])
    assert sorted(numbers.tolist()) == list(range(N_IMAGES))
    assert {name: len(part) for name, part in parts.items()} == {"train": 800, "validation": 100, "test": 100}
    for part in parts.values():
        held = part.digits[:, 0, 0].long() * 256 + part.digits[:, 0, 1]
        assert torch.equal(held, part.images)
        assert torch.equal(part.labels, torch.as_tensor(images[1][part.images.numpy()]).long())


def test_partners_are_other_images_of_the_class(parts):
    part = parts["train"]
    for seed in range(5):
        partners = part.partners(torch.Generator().manual_seed(seed))
        assert torch.equal(part.labels[partners], part.labels)
        assert (partners != torch.arange(len(part))).all()


def test_pairs_hold_the_digit_and_a_scene_of_its_partner(parts):
    part = parts["train"]
    batch = part.pairs(torch.Generator().manual_seed(0))
    assert torch.equal(batch.data["mnist"], part.digits)
    assert torch.equal(batch.labels, part.labels)
    for row in range(0, len(part), 40):
        same = (part.scenes == batch.data["textured"][row]).flatten(2).all(-1)  # (n, r)
        (found,) = same.any(1).nonzero()
        assert found != row
        assert part.labels[found] == part.labels[row]


def test_scenes_show_their_digit(data):
    """Whatever the colours, the variance inside the digit's place is not that of the ground."""
    digits = torch.zeros((200, 28, 28), dtype=torch.uint8)
    digits[:, 10:18, 10:18] = 255
    scenes = data.draw_scenes(digits, torch.Generator().manual_seed(0)).float()
    middle, corner = scenes[:, :, 15:17, 15:17].mean((1, 2, 3)), scenes[:, :, :4, :4].mean((1, 2, 3))
    dark = (middle < corner).float().mean()
    assert dark == pytest.approx(data.DARK_SHARE, abs=0.1)
    assert ((middle - corner).abs() > 20).float().mean() > 0.95


def test_the_same_seed_gives_the_same_data(data, images, parts):
    again, other = (data.make_parts(*images, n_drawings=N_DRAWINGS, seed=seed) for seed in (0, 1))
    for name, part in parts.items():
        first, second = (p.pairs(torch.Generator().manual_seed(3)) for p in (part, again[name]))
        assert all(torch.equal(first.data[key], second.data[key]) for key in first.data)
    assert not torch.equal(parts["test"].images, other["test"].images)


def test_files_that_are_no_digits_are_refused(data, images, tmp_path):
    header = b"\x00\x00\x08" + bytes([3]) + np.array([N_IMAGES, 28, 28], ">u4").tobytes()
    (tmp_path / data.FILES["images"]).write_bytes(gzip.compress(header + images[0].tobytes()))
    labels = b"\x00\x00\x08" + bytes([1]) + np.array([N_IMAGES], ">u4").tobytes() + images[1].tobytes()
    (tmp_path / data.FILES["labels"]).write_bytes(gzip.compress(labels))
    read = data.read_digits(tmp_path)
    assert all(np.array_equal(x, y) for x, y in zip(read, images, strict=True))
    (tmp_path / data.FILES["labels"]).write_bytes(gzip.compress(labels[:-5]))
    with pytest.raises(InputError, match="idx"):
        data.read_digits(tmp_path)
    (tmp_path / data.FILES["labels"]).unlink()
    with pytest.raises(InputError, match="labels"):
        data.read_digits(tmp_path)
