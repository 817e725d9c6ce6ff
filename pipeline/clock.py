"""Two clocks: audio seconds and session (NWB) seconds, and the map between them.

Event times are mapped; the sound is never resampled.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from warnings import warn

import numpy as np

from pipeline.errors import InputError
from pipeline.pulses.drift import EVERY_PULSE, LINE, fit_drift, pieces_to_try

if TYPE_CHECKING:
    import xarray as xr

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


def fit_clock(audio_s: np.ndarray, nwb_s: np.ndarray, *, max_residual_s: float, where: object) -> Clock:
    """Fit shared pulses (distinct, increasing): an affine map, or a smooth one in pieces where it drifts.

    Straight from pulse to pulse where that predicts left-out pulses best; then the residual is how far each pulse lies
    from the line between its neighbours.

    Raises InputError where the residual exceeds `max_residual_s` or the rates differ by more than 1 %.
    """
    if len(audio_s) == 1:
        warn(f"{where}: one pulse fixes the offset, but not the drift of the clocks", stacklevel=2)
        return shifted_clock(float(nwb_s[0] - audio_s[0]), source="one pulse: offset only")
    apart_s = nwb_s - audio_s
    line = fit_drift(audio_s, apart_s, n_pieces=LINE)
    slope = np.ptp(line.audio_s + line.apart_s) / np.ptp(line.audio_s)
    if abs(slope - 1) > MAX_RATE_DIFFERENCE:
        raise InputError(
            "sync: the two clocks run at different rates",
            where=where,
            found=f"{slope:.6g} s of nwb_s to 1 s of audio_s",
            allowed=f"within {MAX_RATE_DIFFERENCE:.0%} of 1",
            mend="both columns in seconds? the sampling rate of the sound file right?",
        )
    for n_pieces in pieces_to_try(audio_s, apart_s):
        drift = fit_drift(audio_s, apart_s, n_pieces=n_pieces)
        through = n_pieces == EVERY_PULSE
        residual_s = _off_neighbours(audio_s, apart_s) if through else np.abs(apart_s - drift.at(audio_s))
        if residual_s.max() <= max_residual_s:
            form = {LINE: "affine", EVERY_PULSE: "piecewise linear"}.get(n_pieces, f"piecewise, {n_pieces} pieces")
            typical_ms = np.median(residual_s) * 1e3
            return Clock(
                drift.audio_s,
                drift.audio_s + drift.apart_s,
                residual_s=float(residual_s.max()),
                source=f"{form}, {len(audio_s)} pulses, typically {typical_ms:.2g} ms off",
            )
    residual_s = _off_neighbours(audio_s, apart_s) if len(audio_s) > 2 else residual_s
    if residual_s.max() <= max_residual_s:  # each near its neighbours, but all together on no smooth drift
        residual_s = np.abs(apart_s - drift.at(audio_s))
    worst = int(residual_s.argmax())
    raise InputError(
        "sync: the pulses do not fit one clock",
        where=where,
        found=f"residual {residual_s[worst] * 1e3:.3g} ms at audio_s {audio_s[worst]:.6g}, nwb_s {nwb_s[worst]:.6g}",
        allowed=f"at most {max_residual_s * 1e3:g} ms (neural.max_residual_s)",
        mend="delete pulses that are wrong, check their order, or raise neural.max_residual_s knowingly",
    )


def _off_neighbours(audio_s: np.ndarray, apart_s: np.ndarray) -> np.ndarray:
    """How far each pulse but the first and last is from the line between its neighbours. Shape (n_pulses,)."""
    weight = (audio_s[1:-1] - audio_s[:-2]) / (audio_s[2:] - audio_s[:-2])
    off_s = np.zeros(len(audio_s))
    off_s[1:-1] = np.abs(apart_s[1:-1] - (apart_s[:-2] * (1 - weight) + apart_s[2:] * weight))
    return off_s


def _interpolate(t: np.ndarray, x: np.ndarray, y: np.ndarray, slope: float) -> np.ndarray:
    inside = np.interp(t, x, y)
    return inside + np.minimum(t - x[0], 0) * slope + np.maximum(t - x[-1], 0) * slope
