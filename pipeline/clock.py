"""Two clocks: audio seconds and session (NWB) seconds, and the map between them.

Event times are mapped; the sound is never resampled.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.sync import SYNC_FORMS, sync_kind

if TYPE_CHECKING:
    import xarray as xr

COLUMNS = ("audio_s", "nwb_s")
# Crystals differ by tens of ppm; beyond this the sampling rate or the unit of a column is wrong.
MAX_RATE_DIFFERENCE = 0.01


@dataclass(frozen=True, eq=False)
class Clock:
    """Piecewise-linear map between audio and session seconds through knots (two knots: an affine map).

    `audio_s`, `session_s`: Shape (n_knots,), both increasing. Outside the knots the mean slope of all knots goes on,
    since the slope of a last short segment is mostly noise.
    """

    audio_s: np.ndarray
    session_s: np.ndarray
    residual_s: float = 0.0
    source: str = "equal clocks"

    @property
    def slope(self) -> float:
        """Session seconds a second of audio."""
        return float((self.session_s[-1] - self.session_s[0]) / (self.audio_s[-1] - self.audio_s[0]))

    @property
    def drift_ppm(self) -> float:
        """How much faster the session clock runs than the audio clock, parts per million."""
        return (self.slope - 1) * 1e6

    def to_session(self, t_audio_s) -> np.ndarray:
        """Session seconds of times on the audio clock (any shape)."""
        return _interpolate(np.asarray(t_audio_s, float), self.audio_s, self.session_s, self.slope)

    def to_audio(self, t_session_s) -> np.ndarray:
        """Audio seconds of times on the session clock (any shape)."""
        return _interpolate(np.asarray(t_session_s, float), self.session_s, self.audio_s, 1 / self.slope)

    @classmethod
    def from_dataset(cls, counts: "xr.Dataset") -> "Clock":
        """The clock that is stored with the counts."""
        return cls(
            counts["clock_audio_s"].values.astype(float),
            counts["clock_session_s"].values.astype(float),
            residual_s=float(counts.attrs["clock_residual_ms"]) / 1e3,
            source=str(counts.attrs["clock_source"]),
        )


def shifted_clock(offset_s: float, *, source: str) -> Clock:
    """The clock of two devices that differ by a constant: session = audio + offset_s."""
    knots_s = np.array([0.0, 2.0**20])  # far apart, so that rounding of a large offset is no drift
    return Clock(knots_s, knots_s + offset_s, source=source)


def read_clock(sync: str, *, max_residual_s: float) -> Clock:
    """The clock that a `sync` cell of the sheet describes: empty, a number (offset_s), or a CSV (audio_s, nwb_s).

    A CSV is fitted by a straight line; where a residual of that exceeds `max_residual_s`, by straight pieces between
    the pulses, whose residual is how far each pulse lies from the line between its neighbours.

    Raises InputError for other forms, unreadable pulses, and a residual above `max_residual_s`.
    """
    kind = sync_kind(sync)
    if kind == "none":
        return shifted_clock(0.0, source="equal clocks")
    if kind == "number":
        return shifted_clock(float(sync), source=f"offset {float(sync):g} s")
    if kind == "channel":
        raise InputError(
            "sync: pulse channels cannot be read",
            found=sync,
            allowed=SYNC_FORMS,
            mend="detect the pulses on both devices and list their times in a CSV with the columns audio_s, nwb_s",
        )
    audio_s, nwb_s = _clean(*_read_pulses(Path(sync)), where=sync, max_residual_s=max_residual_s)
    return fit_clock(audio_s, nwb_s, max_residual_s=max_residual_s, where=sync)


def fit_clock(audio_s: np.ndarray, nwb_s: np.ndarray, *, max_residual_s: float, where: object) -> Clock:
    """Fit shared pulses (distinct, increasing): an affine map, or straight pieces where it drifts.

    Raises InputError where the residual exceeds `max_residual_s` or the rates differ by more than 1 %.
    """
    if len(audio_s) == 1:
        warn(f"{where}: one pulse fixes the offset, but not the drift of the clocks", stacklevel=2)
        return shifted_clock(float(nwb_s[0] - audio_s[0]), source="one pulse: offset only")
    centre = audio_s.mean()
    slope, level = np.polyfit(audio_s - centre, nwb_s, 1)
    if abs(slope - 1) > MAX_RATE_DIFFERENCE:
        raise InputError(
            "sync: the two clocks run at different rates",
            where=where,
            found=f"{slope:.6g} s of nwb_s to 1 s of audio_s",
            allowed=f"within {MAX_RATE_DIFFERENCE:.0%} of 1",
            mend="both columns in seconds? the sampling rate of the sound file right?",
        )
    residuals = np.abs(nwb_s - (slope * (audio_s - centre) + level))
    if residuals.max() <= max_residual_s:
        ends = audio_s[[0, -1]]
        source = f"affine, {len(audio_s)} pulses"
        return Clock(ends, slope * (ends - centre) + level, residual_s=float(residuals.max()), source=source)
    if len(audio_s) >= 3:
        weight = (audio_s[1:-1] - audio_s[:-2]) / (audio_s[2:] - audio_s[:-2])
        residuals = np.abs(nwb_s[1:-1] - (nwb_s[:-2] * (1 - weight) + nwb_s[2:] * weight))
        worst = int(residuals.argmax()) + 1
    else:
        worst = int(residuals.argmax())
    if residuals.max() > max_residual_s:
        raise InputError(
            "sync: the pulses do not fit one clock",
            where=where,
            found=f"residual {residuals.max() * 1e3:.3g} ms at audio_s {audio_s[worst]:.6g}, nwb_s {nwb_s[worst]:.6g}",
            allowed=f"at most {max_residual_s * 1e3:g} ms (neural.max_residual_s)",
            mend="delete pulses that are wrong, check their order, or raise neural.max_residual_s knowingly",
        )
    return Clock(audio_s, nwb_s, residual_s=float(residuals.max()), source=f"piecewise linear, {len(audio_s)} pulses")


def _interpolate(t: np.ndarray, x: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    inside = np.interp(t, x, y)
    return inside + np.minimum(t - x[0], 0) * slope + np.maximum(t - x[-1], 0) * slope


def _read_pulses(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The two columns as they stand, with NaN for empty cells."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("sync: cannot read this file", where=path, found=error, allowed=SYNC_FORMS) from error
    delimiter = next((d for d in "\t;" if lines and d in lines[0]), ",")
    rows = list(csv.reader(lines, delimiter=delimiter))
    header = [name.strip() for name in rows[0]] if rows else []
    if not set(COLUMNS) <= set(header):
        raise InputError("sync: columns are missing", where=path, found=header, allowed=COLUMNS)
    places = [header.index(name) for name in COLUMNS]
    values = np.full((len(rows) - 1, 2), np.nan)
    for i, row in enumerate(rows[1:]):
        for j, place in enumerate(places):
            cell = row[place].strip() if place < len(row) else ""
            try:
                values[i, j] = float(cell) if cell else np.nan
            except ValueError as error:
                raise InputError(
                    f"sync: {COLUMNS[j]} is no number",
                    where=f"{path}, line {i + 2}",
                    found=cell,
                    mend="seconds, as 12.5",
                ) from error
    return values[:, 0], values[:, 1]


def _clean(
    audio_s: np.ndarray, nwb_s: np.ndarray, *, where: object, max_residual_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pulses that both devices saw, once each, in the order of time."""
    paired = np.isfinite(audio_s) & np.isfinite(nwb_s)
    if not paired.all():
        warn(f"{where}: {(~paired).sum()} pulses without both times are left out", stacklevel=3)
    if not paired.any():
        raise InputError("sync: no pulse with both times", where=where, found=f"{len(paired)} rows")
    pulses = np.unique(np.c_[audio_s, nwb_s][paired], axis=0)  # sorted by audio_s, then nwb_s; exact repeats go
    audio_steps, nwb_steps = np.diff(pulses, axis=0).T
    wrong = np.flatnonzero((audio_steps == 0) & (nwb_steps > max_residual_s) | (audio_steps > 0) & (nwb_steps <= 0))
    if len(wrong):
        (a, b), (c, d) = pulses[wrong[0] : wrong[0] + 2]
        raise InputError(
            "sync: nwb_s does not increase with audio_s",
            where=where,
            found=f"audio_s {a:.6g}, {c:.6g} go with nwb_s {b:.6g}, {d:.6g}",
            mend="each row is one pulse on both clocks; list times of one recording only",
        )
    kept = np.r_[True, audio_steps > 0]
    return pulses[kept, 0], pulses[kept, 1]
