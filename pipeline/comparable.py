"""Which sessions' songs are compared: chosen from the sheet alone, before anything is known of the sound.

Only the standard library is imported here, since every job of the workflow asks.
"""

import math
from collections.abc import Sequence

from pipeline.sessions import Session

MOST_COMPARED = 20


def compared_sessions(sessions: Sequence[Session], name: str) -> list[str]:
    """Names of the sessions whose songs the units of session `name` are compared with, those that follow it first.

    Sessions of one condition with both sides are compared in sets of at most MOST_COMPARED along the sheet, so that
    work grows with the number of sessions and not with its square. Where there are none, the next session with sound.
    """
    place = [session.name for session in sessions].index(name)
    following = [*sessions[place + 1 :], *sessions[:place]]
    alike = [s.name for s in sessions if s.has_audio and s.nwb and s.condition == sessions[place].condition]
    if name in alike:
        n_sets = math.ceil(len(alike) / MOST_COMPARED)
        set_of = {other: index * n_sets // len(alike) for index, other in enumerate(alike)}
        found = [session.name for session in following if set_of.get(session.name) == set_of[name]]
        if found:
            return found
    return [session.name for session in following if session.has_audio][:1]
