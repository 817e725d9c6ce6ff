"""Random generators: every draw comes from one of these, so that a seed alone fixes a result."""

from zlib import crc32

import numpy as np


def seed_sequence(seed: int, *names: object) -> np.random.SeedSequence:
    """A seed for one purpose: the same `seed` and `names` give the same draws, other names independent ones."""
    return np.random.SeedSequence([seed, *(crc32(str(name).encode()) for name in names)])


def numpy_generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for the purpose that `names` spell."""
    return np.random.default_rng(seed_sequence(seed, *names))


def torch_generator(seed: int, *names: object, device: str = "cpu"):
    """A torch generator on `device` for the purpose that `names` spell."""
    import torch  # heavy, and most callers only need numpy

    state = int(seed_sequence(seed, *names).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device=device).manual_seed(state)
