from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.comparable import MOST_COMPARED, compared_sessions
from pipeline.sessions import Session

ONE = Session("", "m", (Path("a.wav"),), None, Path("a.nwb"), "", None, "")


def sheet(n: int) -> list[Session]:
    return [replace(ONE, name=str(i)) for i in range(n)]


@pytest.mark.parametrize("n", [2, 5, 20, 21, 100, 101])
def test_sets_are_of_one_size_bounded_and_mutual(n):
    sessions = sheet(n)
    sets = {name: {name, *compared_sessions(sessions, name)} for name in map(str, range(n))}
    sizes = [len(members) for members in sets.values()]
    assert max(sizes) <= MOST_COMPARED and max(sizes) - min(sizes) <= 1
    assert all(sets[other] == members for members in sets.values() for other in members)


def test_the_next_session_comes_first_and_conditions_stay_apart():
    sessions = [replace(one, condition="alone" if i in (1, 3) else "") for i, one in enumerate(sheet(6))]
    assert compared_sessions(sessions, "2") == ["4", "5", "0"]
    assert compared_sessions(sessions, "3") == ["1"]


def test_without_comparable_sessions_the_next_with_sound_is_a_control():
    first, second, third = sheet(3)
    silent, deaf = replace(second, audio=()), replace(third, nwb=None)
    assert compared_sessions([first, silent, deaf], "0") == ["2"]
    assert compared_sessions([first, silent, deaf], "2") == ["0"]
    assert compared_sessions([first, silent], "0") == []
