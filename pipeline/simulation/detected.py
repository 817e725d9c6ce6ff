"""Calls as the detector would measure them, without sound.

The constants are those of `duet calls` on simulated song: it finds calls 6 to 7 dB above the noise, and its edges and
levels are off by about as much as here. Pitch is off by 3 to 30 Hz and taken as it is.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.audio.features import number_bouts
from pipeline.simulation.vocal_organ import CONTOUR_STEP_S, Call

BOUT_GAP_S, MERGE_GAP_S = 1.0, 0.015

_MIDDLE_DB, _FAINTEST_DB = 43.4, 6.5  # a call of middling pressure, and the faintest that is found, over the noise
_EDGE_SD_S, _LEVEL_SD_DB = 0.0005, 1.0


def detected_calls(calls: Sequence[Call], *, noise_db: float, generator: np.random.Generator) -> pd.DataFrame:
    """The columns of calls.parquet that say when and where calls are, from `calls` sorted by start.

    Faint calls are missed; calls that overlap, or nearly touch, are one, which has the pitch of the loudest.
    """
    over_noise_db = np.array([call.level_db.mean() for call in calls]) + _MIDDLE_DB - noise_db
    found = [call for call, level_db in zip(calls, over_noise_db, strict=True) if level_db > _FAINTEST_DB]
    start_s, stop_s = (np.array([getattr(call, edge) for call in found]) for edge in ("start_s", "stop_s"))
    merged = number_bouts(start_s, stop_s, MERGE_GAP_S).astype(int)
    n_points = [len(call.mode) for call in found]
    points = pd.DataFrame(
        {
            "call": np.repeat(merged, n_points),
            "contour_s": np.concatenate([np.empty(0), *(call.time_s for call in found)]),
            "contour_hz": np.concatenate([np.empty(0), *(call.pitch_hz for call in found)]),
            "contour_db": np.concatenate([np.empty(0), *(call.level_db for call in found)]) + _MIDDLE_DB - noise_db,
        }
    )
    points["step"] = np.rint(points["contour_s"] / CONTOUR_STEP_S).astype(int)
    points = points.sort_values("contour_db", ascending=False).drop_duplicates(["call", "step"])
    by_call = points.sort_values(["call", "step"]).groupby("call")
    spans = pd.DataFrame({"call": merged, "start_s": start_s, "stop_s": stop_s}).groupby("call")
    contours = {
        name: [one.to_numpy() for _, one in by_call[name]] for name in ("contour_s", "contour_hz", "contour_db")
    }
    n_calls = len(spans)
    start_s = spans["start_s"].min().to_numpy() + _EDGE_SD_S * generator.standard_normal(n_calls)
    stop_s = spans["stop_s"].max().to_numpy() + _EDGE_SD_S * generator.standard_normal(n_calls)
    error_db = _LEVEL_SD_DB * generator.standard_normal(n_calls)
    contours["contour_db"] = [one + error for one, error in zip(contours["contour_db"], error_db, strict=True)]
    return pd.DataFrame(
        {
            "call": np.arange(n_calls),
            "bout": number_bouts(start_s, stop_s, BOUT_GAP_S).astype(int),
            "start_s": start_s,
            "stop_s": stop_s,
            "duration_s": stop_s - start_s,
            "mean_hz": by_call["contour_hz"].mean().to_numpy(),
            "low_hz": by_call["contour_hz"].min().to_numpy(),
            "high_hz": by_call["contour_hz"].max().to_numpy(),
            "level_db": [one.mean() for one in contours["contour_db"]],
            **contours,
        }
    )
