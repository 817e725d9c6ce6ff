"""One row a session: how much sound, how many calls and units, and how well the clocks agree."""

import numpy as np
import pandas as pd

from pipeline.report.results import Results

SESSION_COLUMNS = {
    "session": "name in the sessions sheet",
    "subject": "the animal",
    "condition": "condition in the sessions sheet",
    "sound_min": "length of the sound that was analysed, minutes",
    "n_calls": "calls that were detected or annotated",
    "calls_per_min": "calls a minute of sound",
    "n_bouts": "bouts: runs of calls without long silence",
    "n_units": "units in the file",
    "n_included": "units that were analysed",
    "clock": "how audio time was brought to session time",
    "drift_ppm": "drift of the audio clock against the session's, parts per million (36 ppm are 0.13 s an hour)",
    "residual_ms": "what the clock fit leaves unexplained, ms",
}


def session_table(results: Results) -> pd.DataFrame:
    """The sessions of a run, with the columns of SESSION_COLUMNS; what a session does not have is missing."""
    rows = []
    for session in results.sessions:
        spectrogram, counts = results.spectrogram(session.name), results.counts(session.name)
        calls, units = results.calls(session.name), results.units(session.name)
        minutes = float(spectrogram.attrs["duration_s"]) / 60 if spectrogram is not None else np.nan
        clock = counts.attrs if counts is not None and spectrogram is not None else {}
        rows.append({
            "session": session.name,
            "subject": session.subject,
            "condition": session.condition,
            "sound_min": minutes,
            "n_calls": len(calls),
            "calls_per_min": len(calls) / minutes if minutes > 0 else np.nan,
            "n_bouts": calls["bout"].nunique() if len(calls) else 0,
            "n_units": len(units),
            "n_included": int(units["included"].sum()) if len(units) else 0,
            "clock": clock.get("clock_source"),
            "drift_ppm": clock.get("clock_drift_ppm", np.nan),
            "residual_ms": clock.get("clock_residual_ms", np.nan),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(SESSION_COLUMNS))
