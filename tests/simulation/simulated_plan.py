"""Plans with the configuration's defaults, and the pitch of a song by plain means."""

import numpy as np

from pipeline.config import Simulation
from pipeline.simulation.plan import Plan

OF_SESSIONS = {"out_dir", "n_sessions", "sessions_per_animal"}
SONG = {"habituation": 2.5, "jump_share": 0.25, "level_jitter_db": 4.0}


def plan(**changes) -> Plan:
    return Plan(**Simulation(**changes).model_dump(exclude=OF_SESSIONS))


def pitch_at(calls, times_s) -> np.ndarray:
    """Pitch in Hz at each of `times_s` (sorted), 0 in silence."""
    pitch_hz = np.zeros(len(times_s))
    for call in calls:
        inside = slice(*np.searchsorted(times_s, [call.start_s, call.stop_s]))
        pitch_hz[inside] = np.interp(times_s[inside], call.time_s, call.pitch_hz)
    return pitch_hz
