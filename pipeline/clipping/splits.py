"""Roles of clips: contiguous blocks of a session for training, validation and test, with guards between them."""

import numpy as np

from pipeline.errors import InputError
from pipeline.seeds import numpy_generator

ROLES = ("train", "validation", "test")
GUARD = "guard"
GUARD_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)  # of the wanted guard, tried in turn where a session is short
TRAIN_SHARE = 0.5  # of its nominal share, that training must keep


def block_roles(
    n_blocks: int, *, validation_fraction: float, test_fraction: float, rng: np.random.Generator
) -> list[str]:
    """A role for each block, in the order of time; validation and test blocks lie spread evenly.

    Each role has at least one block. The draw moves the pattern along the session, so that no role always has its end.
    """
    n_test, n_validation = (max(1, round(share * n_blocks)) for share in (test_fraction, validation_fraction))
    while n_test + n_validation > n_blocks - 1:
        n_test, n_validation = (n_test - 1, n_validation) if n_test > n_validation else (n_test, n_validation - 1)
    held = sorted(
        [((i + 0.5) / n_test, "test") for i in range(n_test)]
        + [((i + 0.5) / n_validation, "validation") for i in range(n_validation)]
    )
    turn = int(rng.integers(len(held)))
    spacing = n_blocks / len(held)
    shift = rng.random() * spacing
    roles = ["train"] * n_blocks
    for i, (_, role) in enumerate(held[turn:] + held[:turn]):
        roles[int(i * spacing + shift)] = role
    return roles


def blocks_of_bouts(bout: np.ndarray, *, n_blocks: int) -> np.ndarray:
    """Block of each clip where whole bouts are dealt: equal numbers of consecutive bouts to each block.

    `bout`: Shape (n_clips,), indices of bouts in the order of time. Fewer bouts than blocks: a block each.
    """
    _, rank = np.unique(bout, return_inverse=True)
    n_bouts = int(rank.max()) + 1
    return rank * min(n_blocks, n_bouts) // n_bouts


def blocks_of_time(start_s: np.ndarray, *, n_blocks: int) -> np.ndarray:
    """Block of each clip where the time between the first and the last clip is cut evenly. Shape (n_clips,)."""
    first, last = start_s.min(), start_s.max()
    share = (start_s - first) / max(last - first, np.finfo(float).tiny)
    return np.minimum((share * n_blocks).astype(int), n_blocks - 1)


def assign_splits(
    block: np.ndarray,
    start_s: np.ndarray,
    stop_s: np.ndarray,
    *,
    validation_fraction: float,
    test_fraction: float,
    guard_s: float,
    seed: int,
    session: str,
) -> np.ndarray:
    """The split of each clip: train, validation, test or guard. Shape (n_clips,), str.

    `block` numbers contiguous blocks from 0; `start_s`, `stop_s` is all that a clip uses (sound and counts).
    Test keeps all its clips; validation gives up those within `guard_s` of a test clip, training those within
    `guard_s` of either. Overlapping clips never get different roles.

    Raises InputError where a role is left without clips.
    """
    present = np.unique(block)
    extent = f"{len(block)} clips in {len(present)} blocks, {stop_s.max() - start_s.min():.4g} s"
    if len(present) < 3:
        raise InputError(
            "too few blocks for training, validation and test",
            where=f"session {session!r}, clips.split",
            found=extent,
            mend="a longer recording, clips.mode: continuous, or a shorter calls.bout_gap_s",
        )
    roles = np.array(
        block_roles(
            len(present),
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            rng=numpy_generator(seed, "split", session),
        )
    )
    split = roles[np.searchsorted(present, block)].astype("U10")
    for role, stronger in (("validation", ("test",)), ("train", ("test", "validation"))):
        yielding = np.flatnonzero(split == role)
        kept = np.isin(split, stronger)
        near = gap_to_nearest(start_s[yielding], stop_s[yielding], start_s[kept], stop_s[kept]) < guard_s
        split[yielding[near]] = GUARD
    empty = [role for role in ROLES if not (split == role).any()]
    if empty:
        raise InputError(
            f"no clips left for {' and '.join(empty)}",
            where=f"session {session!r}, clips.split",
            found=f"{extent}, guard_s {guard_s:g}",
            mend="a shorter guard_s, another n_blocks (fewer blocks are longer ones), or a longer recording",
        )
    return split


def affordable_splits(
    block: np.ndarray, start_s: np.ndarray, stop_s: np.ndarray, *, guard_s: float, **how
) -> tuple[np.ndarray, float]:
    """`assign_splits` with the longest guard that the session can afford, `guard_s` at most; the splits and that guard.

    In a short session guards of the wanted length would swallow the training clips: they are shortened until half of
    the training share is left, or as far as they may be.

    Raises InputError where no guard leaves clips for every role.
    """
    found = None
    for share in GUARD_SHARES:
        try:
            found = assign_splits(block, start_s, stop_s, guard_s=share * guard_s, **how), share * guard_s
        except InputError:
            if share == GUARD_SHARES[-1] and found is None:
                raise
            continue
        nominal = 1 - how["validation_fraction"] - how["test_fraction"]
        if (found[0] == "train").mean() >= TRAIN_SHARE * nominal:
            break
    return found


def gap_to_nearest(
    start_s: np.ndarray, stop_s: np.ndarray, other_start_s: np.ndarray, other_stop_s: np.ndarray
) -> np.ndarray:
    """Silence between each clip and the nearest of others, s; -inf where they overlap, inf where there are none."""
    if not len(other_start_s):
        return np.full(len(start_s), np.inf)
    order = np.argsort(other_start_s)
    first_s, last_s = other_start_s[order], np.maximum.accumulate(other_stop_s[order])
    n_before = np.searchsorted(first_s, stop_s, "left")  # others that start before this clip stops
    before = np.where(n_before > 0, start_s - last_s[np.maximum(n_before - 1, 0)], np.inf)
    after = np.where(n_before < len(first_s), first_s[np.minimum(n_before, len(first_s) - 1)] - stop_s, np.inf)
    gap = np.minimum(before, after)
    return np.where(gap < 0, -np.inf, gap)
