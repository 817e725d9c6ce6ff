"""counts.nc and units.parquet of a session: spikes counted, or traces averaged, in the bins of its clock.

What was not recorded is missing, not zero.
"""

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.clock import Clock
from pipeline.errors import InputError
from pipeline.neural.counting import count_spikes
from pipeline.neural.grid import grid_over
from pipeline.neural.recording import Traces, Units
from pipeline.neural.sampling import sample_traces
from pipeline.neural.unit_table import Observed, unit_table


def bin_session(
    units: Units | Traces | None,
    *,
    clock: Clock,
    file_start_s: np.ndarray,
    file_stop_s: np.ndarray,
    bin_width_s: float,
    min_rate_hz: float,
    session: str,
    subject: str,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Counts (or values) of the included units, and a table of all units.

    `file_start_s`, `file_stop_s`: Shape (n_files,), audio seconds that the sound files cover; empty without audio.
    The grid spans the audio, or, without audio, the time in which the units were recorded. A bin of a unit is valid
    where it lies wholly in the audio (if there is any) and in the unit's observed intervals, and touches no invalid
    time. Where the file gives no intervals, units count as observed from the first to the last spike of all units.

    Returns counts.nc and units.parquet as described in the data dictionary; spikes in bins that are not valid are not
    counted but listed by reason, so that n_spikes + n_dropped is the number of spike times in the file. The arrays lie
    in memory unit by unit, since spikes come so.

    Raises InputError where sound and spikes do not overlap, no unit is left, or times are those of no recording.
    """
    audio_s = np.c_[clock.to_session(file_start_s), clock.to_session(file_stop_s)]
    observed = _observe(units, audio_s, bin_width_s=bin_width_s, min_rate_hz=min_rate_hz, session=session)
    table = unit_table(observed, subject=subject, session=session)
    if units is not None and not table["included"].any():
        raise _nothing_included(table, observed, audio_s, session)
    grid = observed.grid
    dataset = xr.Dataset(
        {
            "counts": (("bin", "unit"), observed.values, {"units": observed.unit}),
            "valid": (("bin", "unit"), observed.valid),
            "covered": ("bin", grid.inside(audio_s)),
            "clock_audio_s": ("knot", clock.audio_s, {"units": "s"}),
            "clock_session_s": ("knot", clock.session_s, {"units": "s"}),
        },
        coords={
            "bin": ("bin", grid.start_s, {"units": "s"}),
            "unit": ("unit", table.loc[table["included"], "unit_id"].to_numpy(str)),
        },
        attrs={
            "kind": observed.kind,
            "session": session,
            "subject": subject,
            "bin_width_s": bin_width_s,
            "clock_drift_ppm": clock.drift_ppm,
            "clock_residual_ms": clock.residual_s * 1e3,
            "clock_source": clock.source,
        },
    )
    return dataset, table


def _observe(units, audio_s: np.ndarray, *, bin_width_s: float, min_rate_hz: float, session: str) -> Observed:
    where = f"session {session!r}"
    common = {"audio_s": audio_s, "bin_width_s": bin_width_s, "where": where}
    if isinstance(units, Traces):
        return sample_traces(units, **common)
    if units is not None:
        return count_spikes(units, min_rate_hz=min_rate_hz, **common)
    if not len(audio_s):
        raise InputError("neither sound nor spikes", where=where, mend="delete this row, or name other files")
    start_s, stop_s = audio_s.min(), audio_s.max()
    grid = grid_over(start_s, stop_s, bin_width_s=bin_width_s, n_units=0, closed=False, where=where)
    return Observed.nothing(grid)


def _nothing_included(table: pd.DataFrame, observed: Observed, audio_s: np.ndarray, session: str) -> InputError:
    start_s, stop_s = observed.recorded_s
    if len(audio_s) and (start_s > audio_s.max() or stop_s < audio_s.min()):
        return InputError(
            "sound and spikes do not overlap in time",
            where=f"session {session!r}",
            found=f"on the NWB clock, sound at {audio_s.min():.6g} to {audio_s.max():.6g} s, "
            f"units at {start_s:.6g} to {stop_s:.6g} s",
            mend="give the offset of the clocks in the sheet's column sync (NWB time = audio time + offset)",
        )
    reasons = table["exclusion_reason"].str.replace(r"^[\d.e+-]+ Hz, | \(.*\)$", "", regex=True).value_counts()
    return InputError(
        "no unit is left",
        where=f"session {session!r}",
        found="; ".join(f"{n} units: {reason}" for reason, n in reasons.items()),
        mend="look at neural.unit_filter and neural.min_rate_hz, and at the units' spike times and obs_intervals",
    )
