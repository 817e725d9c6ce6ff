"""A recording: one or several files in order, opened by their headers and read as samples of one channel."""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audio.formats import AudioReader, AudioSource, open_sources
from pipeline.errors import InputError, InputErrors

if TYPE_CHECKING:
    from pipeline.sessions import Session

LONGEST_S = 7 * 86_400.0  # from the first file's start to the last file's stop; beyond are dates, not times


@dataclass(frozen=True)
class Recording:
    """Sound on one grid of samples, with gaps where the next file starts later than the one before it stops.

    File i fills the samples from `first_samples[i]` on; sample 0 is at `start_s` on the audio clock (0 for sound
    files without start times; what the NWB file says for a series inside it). `channel` is an index, or "best" until
    `pipeline.audio.channels.choose_channel` has looked. The last file that was read stays open: use the
    recording as a context, or `close` it.
    """

    sources: tuple[AudioSource, ...]
    channel: int | str
    start_s: float
    first_samples: tuple[int, ...]
    _open: dict[int, AudioReader] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def rate_hz(self) -> float:
        return self.sources[0].rate_hz

    @property
    def n_samples(self) -> int:
        """Samples of the grid, with those of the gaps."""
        return self.first_samples[-1] + self.sources[-1].n_samples

    @property
    def n_channels(self) -> int:
        """Channels that every file has."""
        return min(source.n_channels for source in self.sources)

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.rate_hz

    @property
    def file_start_s(self) -> np.ndarray:
        """Start of each file, s, shape (n_files,)."""
        return self.start_s + np.array(self.first_samples) / self.rate_hz

    @property
    def file_stop_s(self) -> np.ndarray:
        """End of each file, s, shape (n_files,)."""
        stops = np.array(self.first_samples) + [source.n_samples for source in self.sources]
        return self.start_s + stops / self.rate_hz

    @cached_property
    def stretches(self) -> list[tuple[int, int]]:
        """Samples [start, stop) of each stretch of sound without a gap."""
        spans: list[tuple[int, int]] = []
        for first, source in zip(self.first_samples, self.sources, strict=True):
            start = spans.pop()[0] if spans and spans[-1][1] == first else first
            spans.append((start, first + source.n_samples))
        return spans

    @cached_property
    def raw_format(self) -> tuple[str, float]:
        """Type of what `read_raw` gives, and the value of 1 in it: as in the files, or float32 where they differ."""
        kinds = {(source.dtype, source.scale) for source in self.sources}
        return kinds.pop() if len(kinds) == 1 else ("float32", 1.0)

    def read_raw(self, start_sample: int, out: np.ndarray) -> None:
        """Fill `out`, shape (n,), of the type in `raw_format`, from a sample of the grid on; 0 where there is no sound.

        A sample's value is the scale in `raw_format` times what is read. Not-a-number samples are passed on.
        """
        if isinstance(self.channel, str):
            raise ValueError("choose the channel first: pipeline.audio.channels.choose_channel")
        stop_sample, filled = start_sample + len(out), start_sample
        for i in range(max(bisect.bisect(self.first_samples, start_sample) - 1, 0), len(self.sources)):
            source, first = self.sources[i], self.first_samples[i]
            if first >= stop_sample:
                break
            begin, end = max(first, start_sample), min(first + source.n_samples, stop_sample)
            if begin >= end:
                continue
            out[filled - start_sample : begin - start_sample] = 0
            part = out[begin - start_sample : end - start_sample]
            if (source.dtype, source.scale) == self.raw_format:
                self._reader(i).read(begin - first, part)
            else:
                stored = np.empty(len(part), source.dtype)
                self._reader(i).read(begin - first, stored)
                np.multiply(stored, np.float32(source.scale), out=part)
            filled = end
        out[filled - start_sample :] = 0

    def read(self, start_sample: int, n_samples: int) -> np.ndarray:
        """Samples of the chosen channel from a sample of the grid on, float32, shape (n_samples,).

        In gaps, before the start and after the end of the recording they are 0, as are not-a-number samples.
        """
        dtype, scale = self.raw_format
        raw = np.empty(n_samples, dtype)
        self.read_raw(start_sample, raw)
        samples = np.multiply(raw, np.float32(scale), dtype=np.float32)
        if raw.dtype.kind == "f":
            samples[~np.isfinite(samples)] = 0
        return samples

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """Yield float32 samples of the whole grid, shape (block_samples,); only the last block may be shorter.

        Blocks run across file boundaries; gaps are 0. Not-a-number samples are passed on.
        """
        dtype, scale = self.raw_format
        for start in range(0, self.n_samples, block_samples):
            raw = np.empty(min(block_samples, self.n_samples - start), dtype)
            self.read_raw(start, raw)
            yield np.multiply(raw, np.float32(scale), dtype=np.float32)

    def with_channel(self, channel: int) -> "Recording":
        """The same recording, read from another channel."""
        return replace(self, channel=channel)

    def close(self) -> None:
        """Close the file that was read last; reading opens it again."""
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _reader(self, i: int) -> AudioReader:
        if i not in self._open:
            self.close()
            self._open[i] = self.sources[i].open(channel=self.channel)
        return self._open[i]


def open_recording(
    paths: Sequence[str | Path], *, series: str | None, channel: int | str, start_s: Sequence[float] | None = None
) -> Recording:
    """Open files by their headers; no sound is analysed.

    `paths` are in recording order; `series` is the path of a series inside the one NWB file of `paths`, or None;
    `channel` is an index or "best"; `start_s`, shape (n_files,), holds the start of each file on the audio clock, s
    (None: each file starts where the one before it stops).

    Raises InputError (all problems at once) for files that are missing, empty, damaged or no audio, for a channel
    that a file does not have, for sampling rates that differ between files and for files that overlap.
    """
    problems: list[InputError] = []
    sources: list[AudioSource] = []
    for path in paths:
        try:
            opened = open_sources(path, series=series)
        except InputError as problem:
            problems.append(problem)
            continue
        sources += opened
        problems += [p for source in opened for p in _misfits(source, sources[0], channel)]
    if problems:
        raise problems[0] if len(problems) == 1 else InputErrors(problems)
    first_samples = _one_after_the_other(sources) if start_s is None else _at_their_times(sources, start_s)
    recording = Recording(
        sources=tuple(sources),
        channel=0 if channel == "best" and all(source.n_channels == 1 for source in sources) else channel,
        start_s=sources[0].start_s if start_s is None else float(start_s[0]),
        first_samples=first_samples,
    )
    if recording.duration_s > LONGEST_S:
        raise InputError(
            "the recording is impossibly long",
            where=sources[0].path if len(sources) == 1 else f"{sources[0].path} to {sources[-1].path}",
            found=f"{recording.duration_s:.6g} s ({recording.duration_s / 86_400:.1f} days)",
            allowed=f"at most {LONGEST_S:g} s from the start of the first file to the end of the last",
            mend="correct the start times (seconds on the audio clock) or the header; or cut it into several sessions",
        )
    return recording


def _misfits(source: AudioSource, first: AudioSource, channel: int | str) -> list[InputError]:
    """Problems of a file beside the first one of its session."""
    problems = []
    if channel != "best" and channel >= source.n_channels:
        allowed = "0" if source.n_channels == 1 else f"0 to {source.n_channels - 1}, or best"
        problems.append(
            InputError("no such channel", where=source.path, found=f"audio.channel {channel}", allowed=allowed)
        )
    if source.rate_hz != first.rate_hz:
        problems.append(
            InputError(
                "the files of a session differ in sampling rate",
                where=source.path,
                found=f"{source.rate_hz:g} Hz",
                allowed=f"{first.rate_hz:g} Hz, as in {first.path}",
                mend="put them in two sessions, or resample one",
            )
        )
    return problems


def _one_after_the_other(sources: Sequence[AudioSource]) -> tuple[int, ...]:
    """First sample of each file where each starts with the end of the one before."""
    for source in sources[:-1]:
        if not source.complete:
            raise InputError(
                "a file that is shorter than its header says would shift all files after it",
                where=source.path,
                mend="copy it again, or give start times: name a listing with the columns file, start_s in the sheet",
            )
    return (0, *np.cumsum([source.n_samples for source in sources[:-1]], dtype=int).tolist())


def _at_their_times(sources: Sequence[AudioSource], start_s: Sequence[float]) -> tuple[int, ...]:
    """First sample of each file from its start time; within a sample of the end before it, it follows that."""
    if len(start_s) != len(sources):
        raise ValueError(f"{len(start_s)} start times for {len(sources)} files")
    rate_hz, firsts, stop = sources[0].rate_hz, [], None
    for i, (source, time_s) in enumerate(zip(sources, start_s, strict=True)):
        place = (time_s - start_s[0]) * rate_hz
        if stop is not None and place < stop - 1:
            before = sources[i - 1]
            raise InputError(
                "two files overlap in time, or are in the wrong order",
                where=f"{before.path} and {source.path}",
                found=f"the first runs from {start_s[i - 1]:.9g} to {start_s[0] + stop / rate_hz:.9g} s, "
                f"the second starts at {time_s:.9g} s",
                mend="correct start_s (s on the audio clock), to the precision of a sample where files follow each "
                "other; or name them by a glob to join them without times",
            )
        first = stop if stop is not None and place <= stop + 1 else round(place)
        firsts.append(first)
        stop = first + source.n_samples
    return tuple(firsts)


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
    longest = max(stop - start for start, stop in recording.stretches)
    if longest < round(window_s * recording.rate_hz):
        raise InputError(
            "the recording is shorter than one window",
            where=where,
            found=f"{longest / recording.rate_hz:.6f} s",
            allowed=f"at least audio.window_s, {window_s:g} s",
        )


def open_session(session: "Session", *, channel: int | str) -> Recording | None:
    """The recording of one row of the sessions sheet, opened by headers; None where the session has no audio."""
    if session.audio_series:
        return open_recording([session.nwb], series=session.audio_series, channel=channel)
    if not session.audio:
        return None
    return open_recording(session.audio, series=None, channel=channel, start_s=session.audio_start_s)
