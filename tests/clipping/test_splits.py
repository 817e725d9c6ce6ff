import numpy as np
import pytest

from pipeline.clipping.splits import (
    affordable_splits,
    assign_splits,
    block_roles,
    blocks_of_bouts,
    blocks_of_time,
    gap_to_nearest,
)
from pipeline.errors import InputError

RANK = {"train": 0, "validation": 1, "test": 2}


def split(block, start_s, *, duration_s=0.2, guard_s=10.0, validation=0.2, test=0.2, seed=0, session="s1"):
    return assign_splits(
        block,
        start_s,
        start_s + duration_s,
        validation_fraction=validation,
        test_fraction=test,
        guard_s=guard_s,
        seed=seed,
        session=session,
    )


@pytest.mark.parametrize("n_blocks", [3, 4, 5, 10, 17, 40])
@pytest.mark.parametrize(("validation", "test"), [(0.2, 0.2), (0.1, 0.3), (0.49, 0.49), (0.01, 0.01)])
def test_roles_have_their_share_and_lie_spread(n_blocks, validation, test):
    for seed in range(20):
        roles = block_roles(
            n_blocks, validation_fraction=validation, test_fraction=test, rng=np.random.default_rng(seed)
        )
        assert len(roles) == n_blocks and set(roles) == set(RANK)
        held = [i for i, role in enumerate(roles) if role != "train"]
        assert abs(len(held) - (validation + test) * n_blocks) <= 2
        steps = np.diff(held)
        assert len(steps) == 0 or steps.max() - steps.min() <= 1  # as even as whole blocks allow


def test_roles_move_with_the_seed():
    patterns = {
        tuple(block_roles(10, validation_fraction=0.2, test_fraction=0.2, rng=np.random.default_rng(seed)))
        for seed in range(30)
    }
    assert len(patterns) > 4
    assert {role for pattern in patterns for role in pattern[:1]} == set(RANK)  # the start is not always training


def test_no_clips_of_different_roles_are_near_each_other(rng):
    for seed in range(10):
        bout_s = np.cumsum(rng.exponential(12, 80))
        n = rng.integers(1, 30, 80)
        bout = np.repeat(np.arange(80), n)
        start = np.repeat(bout_s, n) + 0.05 * (np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n))
        roles = split(blocks_of_bouts(bout, n_blocks=10), start, seed=seed)
        kept = np.flatnonzero(roles != "guard")
        gap = np.abs(start[kept, None] - start[kept]) - 0.2
        differ = roles[kept, None] != roles[kept]
        assert gap[differ].min() >= 10 - 1e-9
        # and nothing is given up without need: each guard clip is near one of a stronger role, or was test's neighbour
        test = start[roles == "test"]
        validation = start[roles == "validation"]
        for s in start[roles == "guard"]:
            assert min(np.abs(np.r_[test, validation] - s)) - 0.2 < 10
        blocks = blocks_of_bouts(bout, n_blocks=10)
        for block in range(10):  # test keeps all its clips
            mine = set(roles[blocks == block])
            assert "test" not in mine or mine == {"test"}


def test_the_same_seed_gives_the_same_split_and_sessions_differ():
    start = np.arange(0, 600, 0.5)
    block = blocks_of_time(start, n_blocks=10)
    np.testing.assert_array_equal(split(block, start, seed=3), split(block, start, seed=3))
    others = [tuple(split(block, start, seed=3, session=f"s{i}")) for i in range(8)]
    assert len(set(others)) > 1


def test_overlapping_clips_share_a_role_even_without_a_guard():
    start = np.arange(0, 30, 0.05)
    roles = split(blocks_of_time(start, n_blocks=6), start, guard_s=0.0)
    near = np.abs(start[:, None] - start) < 0.2 - 1e-9
    pairs = near & (roles[:, None] != roles) & (roles != "guard") & (roles[:, None] != "guard")
    assert not pairs.any()
    assert 0 < (roles == "guard").mean() < 0.1


def test_blocks_never_cut_a_bout():
    bout = np.repeat(np.arange(23), np.arange(1, 24))
    block = blocks_of_bouts(bout, n_blocks=10)
    assert all(len(set(block[bout == b])) == 1 for b in range(23))
    assert list(np.unique(block)) == list(range(10)) and (np.diff(block) >= 0).all()
    assert list(blocks_of_bouts(np.array([5, 5, 8, 9]), n_blocks=10)) == [0, 0, 1, 2]


def test_blocks_of_time_are_even():
    block = blocks_of_time(np.arange(100.0) + 7, n_blocks=4)
    assert [int((block == b).sum()) for b in range(4)] == pytest.approx([25] * 4, abs=1)
    assert list(blocks_of_time(np.array([3.0]), n_blocks=4)) == [0]


def test_short_recordings_are_refused_with_a_mend():
    start = np.arange(0, 20, 0.5)
    with pytest.raises(InputError, match=r"no clips left for train(.|\n)*shorter guard_s"):
        split(blocks_of_time(start, n_blocks=10), start)
    with pytest.raises(InputError, match="too few blocks"):
        split(np.array([0, 0, 1]), np.array([0.0, 1.0, 100.0]))


def test_gap_against_a_loop(rng):
    start, stop = (lambda s: (s, s + rng.uniform(0, 3, 50)))(rng.uniform(0, 100, 50))
    other, other_stop = (lambda s: (s, s + rng.uniform(0, 3, 30)))(rng.uniform(0, 100, 30))
    expected = []
    for a, b in zip(start, stop, strict=True):
        gap = np.maximum(other - b, a - other_stop).min()
        expected.append(gap if gap >= 0 else -np.inf)
    np.testing.assert_allclose(gap_to_nearest(start, stop, other, other_stop), expected)
    assert np.isinf(gap_to_nearest(start, stop, other[:0], other[:0])).all()


def test_guards_are_as_long_as_the_session_affords():
    how = {"validation_fraction": 0.2, "test_fraction": 0.2, "seed": 0, "session": "s1"}
    for length_s, expected_s in ((600.0, 10.0), (20.0, None)):
        start = np.arange(0, length_s, 0.05)
        roles, guard_s = affordable_splits(blocks_of_time(start, n_blocks=10), start, start + 0.2, guard_s=10.0, **how)
        assert (roles == "train").mean() >= 0.3
        assert guard_s == expected_s or (expected_s is None and 0 < guard_s < 10)
    with pytest.raises(InputError, match="too few blocks"):
        affordable_splits(np.zeros(5, int), np.arange(5.0), np.arange(5.0) + 0.2, guard_s=10.0, **how)
