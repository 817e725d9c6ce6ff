"""A recording: one or several files in order, opened by their headers and read as blocks of one channel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audio.formats import AudioSource, open_source
from pipeline.errors import InputError, InputErrors

if TYPE_CHECKING:
    from pipeline.sessions import Session


@dataclass(frozen=True)
class Recording:
    """Sound without gaps: each file starts where the one before it stops.

    Times are seconds on the audio clock, which starts with the first sample at `start_s`
    (0 for sound files; what the NWB file says for a series inside it).
    """

    sources: tuple[AudioSource, ...]
    channel: int

    @property
    def rate_hz(self) -> float:
        return self.sources[0].rate_hz

    @property
    def n_samples(self) -> int:
        return sum(source.n_samples for source in self.sources)

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.rate_hz

    @property
    def start_s(self) -> float:
        return self.sources[0].start_s

    @property
    def file_stop_s(self) -> np.ndarray:
        """End of each file, s, shape (n_files,)."""
        return self.start_s + np.cumsum([source.n_samples for source in self.sources]) / self.rate_hz

    @property
    def file_start_s(self) -> np.ndarray:
        """Start of each file, s, shape (n_files,)."""
        return np.concatenate([[self.start_s], self.file_stop_s[:-1]])

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """Yield float32 samples, shape (block_samples,); only the last block may be shorter.

        Blocks run across file boundaries. Not-a-number samples are passed on.
        """
        block, filled = np.empty(block_samples, np.float32), 0
        for source in self.sources:
            for piece in source.blocks(channel=self.channel, block_samples=block_samples):
                while len(piece):
                    taken = piece[: block_samples - filled]
                    block[filled : filled + len(taken)] = taken
                    filled, piece = filled + len(taken), piece[len(taken) :]
                    if filled == block_samples:
                        yield block
                        block, filled = np.empty(block_samples, np.float32), 0
        if filled:
            yield block[:filled]


def open_recording(paths: Sequence[str | Path], *, series: str | None, channel: int) -> Recording:
    """Open files by their headers; no sample is read.

    `paths` are in recording order; `series` is the path of a series inside the one NWB file of `paths`, or None.
    Raises InputError (all problems at once) for files that are missing, empty, truncated or no audio,
    for a channel that a file does not have and for sampling rates that differ between files.
    """
    problems: list[InputError] = []
    sources: list[AudioSource] = []
    for path in paths:
        try:
            source = open_source(path, series=series)
        except InputError as problem:
            problems.append(problem)
            continue
        sources.append(source)
        if channel >= source.n_channels:
            allowed = "0" if source.n_channels == 1 else f"0 to {source.n_channels - 1}"
            problems.append(
                InputError("no such channel", where=path, found=f"audio.channel {channel}", allowed=allowed)
            )
        if source.rate_hz != sources[0].rate_hz:
            problems.append(
                InputError(
                    "the files of a session differ in sampling rate",
                    where=path,
                    found=f"{source.rate_hz:g} Hz",
                    allowed=f"{sources[0].rate_hz:g} Hz, as in {sources[0].path}",
                    mend="put them in two sessions, or resample one",
                )
            )
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
    return Recording(sources=tuple(sources), channel=channel)


def check_range(recording: Recording, *, low_hz: float, high_hz: float, window_s: float) -> None:
    """Raise InputError where the recording cannot hold the range `low_hz` to `high_hz` or one window of `window_s`."""
    where = recording.sources[0].path
    limit_hz = recording.rate_hz / 2
    if high_hz > limit_hz:
        raise InputError(
            "the sampling rate is too low for the analysed range",
            where=f"{where}, key audio.high_hz",
            found=f"audio.high_hz {high_hz:g} Hz at a sampling rate of {recording.rate_hz:g} Hz",
            allowed=f"audio.high_hz up to {limit_hz:g} Hz (half the sampling rate)",
            mend=f"set audio.high_hz to {limit_hz:g} or lower"
            + (f", and audio.low_hz ({low_hz:g}) below it" if low_hz >= limit_hz else ""),
        )
    if recording.n_samples < round(window_s * recording.rate_hz):
        raise InputError(
            "the recording is shorter than one window",
            where=where,
            found=f"{recording.duration_s:.6f} s",
            allowed=f"at least audio.window_s, {window_s:g} s",
        )


def open_session(session: "Session", *, channel: int) -> Recording | None:
    """The recording of one row of the sessions sheet, opened by headers; None where the session has no audio."""
    if session.audio_series:
        return open_recording([session.nwb], series=session.audio_series, channel=channel)
    return open_recording(session.audio, series=None, channel=channel) if session.audio else None
