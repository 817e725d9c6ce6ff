"""Spikes into bins of one grid: bin k = [k dt, (k + 1) dt) in session seconds. Invalid is missing, not zero."""

import numpy as np
import pandas as pd
import xarray as xr

from pipeline.clock import Clock
from pipeline.errors import InputError
from pipeline.intervals import joined
from pipeline.neural.recording import Units

# Of a bin: a spike time that lies on an edge but for the rounding of a double belongs to the bin that starts there
# (30 kHz sample times divided by 0.01 s land on the wrong side of half of the edges).
EDGE_TOLERANCE = 1e-6
MAX_COUNT = np.iinfo(np.int16).max  # clips keep counts as int16
MAX_BINS = 2**25  # 93 hours in bins of 10 ms
DROP_REASONS = ("nonfinite", "no_audio", "unobserved", "invalid_times")
UNIT_COLUMNS = {
    "unit_id": "str",
    "session": "str",
    "nwb_id": "str",
    "region": "str",
    "n_spikes": "int64",
    "rate_hz": "float64",
    "observed_s": "float64",
    "n_dropped": "int64",
    **{f"n_dropped_{reason}": "int64" for reason in DROP_REASONS},
    "included": "bool",
    "exclusion_reason": "str",
}


def bin_index(t_s: np.ndarray, *, bin_width_s: float) -> np.ndarray:
    """Number of the bin in which each time lies. int64, shape of `t_s`; finite times only."""
    return np.floor(np.asarray(t_s, float) / bin_width_s + EDGE_TOLERANCE).astype(np.int64)


def bins_inside(intervals_s: np.ndarray, *, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Whether each bin of the grid lies wholly in the union of intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
    start_s, stop_s = joined(intervals_s[:, 0], intervals_s[:, 1], tolerance_s=EDGE_TOLERANCE * bin_width_s)
    start = np.ceil(_on_grid(start_s, first_bin, n_bins, bin_width_s) - EDGE_TOLERANCE)
    stop = np.floor(_on_grid(stop_s, first_bin, n_bins, bin_width_s) + EDGE_TOLERANCE)
    return _runs(start, np.maximum(stop, start), n_bins)


def bins_touched(intervals_s: np.ndarray, *, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Whether each bin of the grid has any part in the intervals, Shape (n_intervals, 2). Shape (n_bins,)."""
    start = np.floor(_on_grid(intervals_s[:, 0], first_bin, n_bins, bin_width_s) + EDGE_TOLERANCE)
    stop = np.ceil(_on_grid(intervals_s[:, 1], first_bin, n_bins, bin_width_s) - EDGE_TOLERANCE)
    return _runs(start, np.maximum(stop, start), n_bins)


def bin_session(
    units: Units | None,
    *,
    clock: Clock,
    file_start_s: np.ndarray,
    file_stop_s: np.ndarray,
    bin_width_s: float,
    min_rate_hz: float,
    session: str,
    subject: str,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Counts of the included units, and a table of all units.

    `file_start_s`, `file_stop_s`: Shape (n_files,), audio seconds that the sound files cover; empty without audio.
    The grid spans the audio, or, without audio, the time in which the units were recorded. A bin of a unit is valid
    where it lies wholly in the audio (if there is any) and in the unit's observed intervals, and touches no invalid
    time. Where the file gives no intervals, units count as observed from the first to the last spike of all units.

    Returns counts.nc and units.parquet as described in the data dictionary; spikes in bins that are not valid are not
    counted but listed by reason, so that n_spikes + n_dropped is the number of spike times in the file.

    Raises InputError where sound and spikes do not overlap, or no unit reaches `min_rate_hz`.
    """
    audio_s = np.c_[clock.to_session(file_start_s), clock.to_session(file_stop_s)]
    first_bin, n_bins = _grid(units, audio_s, bin_width_s=bin_width_s, session=session)
    grid = {"first_bin": first_bin, "n_bins": n_bins, "bin_width_s": bin_width_s}
    covered = bins_inside(audio_s, **grid)
    table = pd.DataFrame(columns=list(UNIT_COLUMNS)).astype(UNIT_COLUMNS)
    counts = np.zeros((n_bins, 0), np.uint16)
    valid = np.zeros((n_bins, 0), bool)
    if units is not None:
        heard = covered if len(audio_s) else None
        counts, valid, table = _count(units, heard=heard, min_rate_hz=min_rate_hz, session=session, **grid)
        if not table["included"].any():
            raise _nothing_included(table, units, audio_s, session)
        chosen = np.flatnonzero(table["included"])
        counts, valid = counts[:, chosen], valid[:, chosen]
    table.insert(2, "subject", subject)
    dataset = xr.Dataset(
        {
            "counts": (("bin", "unit"), counts, {"units": "1"}),
            "valid": (("bin", "unit"), valid),
            "covered": ("bin", covered),
            "clock_audio_s": ("knot", clock.audio_s, {"units": "s"}),
            "clock_session_s": ("knot", clock.session_s, {"units": "s"}),
        },
        coords={
            "bin": ("bin", np.arange(first_bin, first_bin + n_bins) * bin_width_s, {"units": "s"}),
            "unit": ("unit", table.loc[table["included"], "unit_id"].to_numpy(str)),
        },
        attrs={
            "session": session,
            "subject": subject,
            "bin_width_s": bin_width_s,
            "kind": "spikes",
            "clock_drift_ppm": clock.drift_ppm,
            "clock_residual_ms": clock.residual_s * 1e3,
            "clock_source": clock.source,
        },
    )
    return dataset, table


def _grid(units: Units | None, audio_s: np.ndarray, *, bin_width_s: float, session: str) -> tuple[int, int]:
    """First bin and number of bins."""
    if len(audio_s):
        start_s, stop_s = audio_s.min(), audio_s.max()
    elif units is not None and np.isfinite(units.recorded_s).all():
        start_s, stop_s = units.recorded_s
    else:
        raise InputError(
            "neither sound nor spikes", where=f"session {session!r}", mend="delete this row, or name other files"
        )
    n_bins = stop_s / bin_width_s - start_s / bin_width_s + 1
    if n_bins > MAX_BINS:
        raise InputError(
            "the recording is too long for its bins",
            where=f"session {session!r}",
            found=f"{start_s:.6g} to {stop_s:.6g} s, {n_bins:.3g} bins",
            allowed=f"up to {MAX_BINS:.3g} bins",
            mend="are spike times and obs_intervals in seconds? else a larger neural.bin_width_s",
        )
    first = int(bin_index(start_s, bin_width_s=bin_width_s))
    if len(audio_s):
        return first, max(int(np.ceil(stop_s / bin_width_s - EDGE_TOLERANCE)) - first, 1)
    return first, int(bin_index(stop_s, bin_width_s=bin_width_s)) - first + 1  # with the bin of the last spike


def _count(
    units: Units,
    *,
    heard: np.ndarray | None,
    min_rate_hz: float,
    session: str,
    first_bin: int,
    n_bins: int,
    bin_width_s: float,
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Counts and validity, each Shape (n_bins, n_units), and the table of all units."""
    grid = {"first_bin": first_bin, "n_bins": n_bins, "bin_width_s": bin_width_s}
    bad = bins_touched(units.invalid_times_s, **grid)
    ran = (
        bins_touched(np.array([units.recorded_s]), **grid)
        if np.isfinite(units.recorded_s).all()
        else np.zeros(n_bins, bool)
    )
    outside = "unobserved" if heard is None else "no_audio"
    heard = np.ones(n_bins, bool) if heard is None else heard
    counts = np.zeros((n_bins, len(units)), np.uint16)
    valid = np.zeros((n_bins, len(units)), bool)
    known: dict[bytes, np.ndarray] = {}  # units of one probe mostly share their intervals
    rows = []
    for unit, (times_s, intervals_s) in enumerate(zip(units.spike_times_s, units.observed_s, strict=True)):
        observed = ran
        if intervals_s is not None:
            key = intervals_s.tobytes()
            if key not in known:
                known[key] = bins_inside(intervals_s, **grid)
            observed = known[key]
        near_s = np.clip(times_s, (first_bin - 1) * bin_width_s, (first_bin + n_bins) * bin_width_s)
        place = bin_index(near_s, bin_width_s=bin_width_s) - first_bin
        inside = (place >= 0) & (place < n_bins)
        n_in_bin = np.bincount(place[inside], minlength=n_bins)
        valid[:, unit] = heard & observed & ~bad
        dropped = dict.fromkeys(DROP_REASONS, 0)
        dropped["nonfinite"] = int(units.n_nonfinite[unit])
        dropped["no_audio"] = int(n_in_bin[~heard].sum())
        dropped["unobserved"] = int(n_in_bin[heard & ~observed].sum())
        dropped["invalid_times"] = int(n_in_bin[heard & observed & bad].sum())
        dropped[outside] += int((~inside).sum())
        n_in_bin[~valid[:, unit]] = 0
        if n_in_bin.max(initial=0) > MAX_COUNT:
            raise InputError(
                "too many spikes in a bin",
                where=f"session {session!r}, unit {units.nwb_id[unit]}",
                found=n_in_bin.max(),
                allowed=f"up to {MAX_COUNT}",
                mend="a smaller neural.bin_width_s",
            )
        counts[:, unit] = n_in_bin
        observed_s = valid[:, unit].sum() * bin_width_s
        rate_hz = n_in_bin.sum() / observed_s if observed_s else np.nan
        reason = _exclusion(len(times_s), observed_s, rate_hz, min_rate_hz)
        rows.append(
            {
                "unit_id": f"{session}|{units.table}|{unit}",
                "session": session,
                "nwb_id": units.nwb_id[unit],
                "region": units.region[unit],
                "n_spikes": n_in_bin.sum(),
                "rate_hz": rate_hz,
                "observed_s": observed_s,
                "n_dropped": sum(dropped.values()),
                **{f"n_dropped_{name}": n for name, n in dropped.items()},
                "included": not reason,
                "exclusion_reason": reason,
            }
        )
    return counts, valid, pd.DataFrame(rows, columns=list(UNIT_COLUMNS)).astype(UNIT_COLUMNS)


def _exclusion(n_spikes: int, observed_s: float, rate_hz: float, min_rate_hz: float) -> str:
    if not n_spikes:
        return "no spikes"
    if not observed_s:
        return "not observed in the time that is analysed"
    if rate_hz < min_rate_hz or not rate_hz:
        return f"{rate_hz:.3g} Hz, below neural.min_rate_hz {min_rate_hz:g}"
    return ""


def _nothing_included(table: pd.DataFrame, units: Units, audio_s: np.ndarray, session: str) -> InputError:
    start_s, stop_s = units.recorded_s
    if len(audio_s) and not table["observed_s"].any():
        return InputError(
            "sound and spikes do not overlap in time",
            where=f"session {session!r}",
            found=f"on the NWB clock, sound at {audio_s.min():.6g} to {audio_s.max():.6g} s, "
            f"units at {start_s:.6g} to {stop_s:.6g} s",
            mend="give the offset of the clocks in the sheet's column sync (NWB time = audio time + offset)",
        )
    reasons = table["exclusion_reason"].str.replace(r"^[\d.e+-]+ Hz, ", "", regex=True).value_counts()
    return InputError(
        "no unit is left",
        where=f"session {session!r}",
        found="; ".join(f"{n} units: {reason}" for reason, n in reasons.items()),
        mend="lower neural.min_rate_hz, or look at the units' spike times and obs_intervals",
    )


def _on_grid(t_s: np.ndarray, first_bin: int, n_bins: int, bin_width_s: float) -> np.ndarray:
    """Times in bins since the grid's start, held a bin inside reach of its ends (intervals may be infinite)."""
    return np.clip(t_s / bin_width_s - first_bin, -1.0, n_bins + 1.0)


def _runs(start: np.ndarray, stop: np.ndarray, n_bins: int) -> np.ndarray:
    """Union of runs of bins [start, stop). Shape (n_bins,), bool."""
    steps = np.zeros(n_bins + 1, int)
    np.add.at(steps, np.clip(start, 0, n_bins).astype(int), 1)
    np.add.at(steps, np.clip(stop, 0, n_bins).astype(int), -1)
    return np.cumsum(steps[:-1]) > 0
