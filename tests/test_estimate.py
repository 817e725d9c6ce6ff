from dataclasses import replace

import pytest

from pipeline.estimate import Cost, SessionSize, cost_of

HOUR = SessionSize(
    n_samples=900_000_000,
    sound_s=3600,
    n_frames=3_600_000,
    n_bands=195,
    n_units=500,
    n_count_bins=360_000,
    n_clips=20_000,
    numbers_a_clip=6024,
)
RUN = {"n_models": 9, "n_epochs": 18, "n_samples": 32}


def cost(*sessions, **changed) -> Cost:
    return cost_of(list(sessions), **(RUN | changed))


def test_work_grows_with_what_it_is_done_on():
    once = cost(HOUR)
    twice = cost(HOUR, HOUR)
    for step in ("spectrogram", "calls", "bin", "clips", "tune"):
        assert twice.seconds[step] == pytest.approx(2 * once.seconds[step])
    assert twice.disk_bytes == pytest.approx(2 * once.disk_bytes)
    assert cost(HOUR, n_models=18).seconds["train"] == pytest.approx(2 * once.seconds["train"])
    longer = cost(HOUR, n_epochs=36).seconds["train"] / once.seconds["train"]
    assert 1.9 < longer < 2  # starting up takes a little
    assert once.total_s == pytest.approx(sum(once.seconds.values()))


def test_memory_is_that_of_the_largest_job():
    few_clips = replace(HOUR, n_clips=10)
    assert cost(few_clips).memory_bytes == cost(few_clips, few_clips).memory_bytes  # sessions are tuned one by one
    many_clips = replace(HOUR, n_clips=2_000_000)
    assert cost(many_clips, many_clips).memory_bytes > 1.9 * cost(many_clips).memory_bytes  # models see all of them


def test_a_session_that_lacks_one_side_costs_no_more_than_processes():
    nothing = SessionSize(0, 0.0, 0, 0, 0, 0, 0, 0)
    assert cost(nothing).disk_bytes == 0
    assert nothing.prepare_s.keys() == HOUR.prepare_s.keys()
    assert all(0 < spent_s <= 2 for spent_s in nothing.prepare_s.values())
