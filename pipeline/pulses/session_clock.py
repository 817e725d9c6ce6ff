"""The clock of a session, from what its `sync` cell names: nothing, an offset, a table of pulses, pulse channels."""

import csv
from pathlib import Path
from warnings import warn

import numpy as np

from pipeline.audio.recording import open_session
from pipeline.clock import Clock, fit_clock, shifted_clock
from pipeline.errors import InputError
from pipeline.neural.nwb import open_nwb
from pipeline.pulses.matching import match_pulses
from pipeline.pulses.nwb import find_pulses, pulses_in_nwb
from pipeline.pulses.sound import pulse_recording, pulses_in_sound
from pipeline.sessions import Session
from pipeline.sync import SYNC_FORMS, pulse_channels, sync_kind

COLUMNS = ("audio_s", "nwb_s")
MATCHED_WITHIN = 0.9  # of the largest residual, so that the final fit of what was matched cannot exceed it
MOST_SHOULD_MATCH = 0.6  # of the pulses that both devices could see; fewer are worth a look


def read_clock(session: Session, *, max_residual_s: float) -> Clock:
    """The clock that the `sync` cell of a session describes (forms: `pipeline.sync.SYNC_FORMS`).

    Pulses, from a CSV or from two channels, are fitted by `fit_clock`. Reading a channel takes as long as reading the
    sound twice; `check_pulse_channels` only looks whether it is there.

    Raises InputError for unreadable pulses, pulses that cannot be matched, and a residual above `max_residual_s`.
    """
    kind = sync_kind(session.sync)
    if kind == "none":
        return shifted_clock(0.0, source="equal clocks")
    if kind == "number":
        return shifted_clock(float(session.sync), source=f"offset {float(session.sync):g} s")
    if kind == "channel":
        return _clock_of_channels(session, max_residual_s)
    path = Path(session.sync)
    audio_s, nwb_s = _clean(*_read_pulses(path), where=path, max_residual_s=max_residual_s)
    return fit_clock(audio_s, nwb_s, max_residual_s=max_residual_s, where=path)


def check_pulse_channels(session: Session) -> None:
    """Raise InputError where the sound has no such channel or the NWB file nothing with times at the named path."""
    named = pulse_channels(session.sync)
    with open_session(session, channel=0) as recording:
        pulse_recording(recording, channel=named.channel)
    with open_nwb(session.nwb) as nwb:
        find_pulses(nwb, named.nwb_path)


def _clock_of_channels(session: Session, max_residual_s: float) -> Clock:
    named = pulse_channels(session.sync)
    nwb = pulses_in_nwb(session.nwb, named.nwb_path, selection=named.selection)  # first, since it is mostly quicker
    with open_session(session, channel=0) as recording:
        audio = pulses_in_sound(pulse_recording(recording, channel=named.channel), bit=named.bit, edge=named.edge)
    matched = match_pulses(audio, nwb, tolerance_s=MATCHED_WITHIN * max_residual_s, offset_s=named.offset_s)
    where = f"{audio.where}; {nwb.where}"
    clock = fit_clock(matched.audio_s, matched.nwb_s, max_residual_s=max_residual_s, where=where)
    if matched.share < MOST_SHOULD_MATCH:
        warn(
            f"{where}: only {len(matched.audio_s)} pulses match, {matched.share:.0%} of those that both devices could "
            "see; look whether it is the right channel",
            stacklevel=3,
        )
    alone = f"without partner {matched.n_audio_only} of the sound's and {matched.n_nwb_only} of the NWB's"
    return Clock(clock.audio_s, clock.session_s, residual_s=clock.residual_s, source=f"{clock.source}; {alone}")


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
