"""Pulses on a channel of a session's sound, or in its least significant bit."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from pipeline.audio.recording import Recording
from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.detection import BLOCK_SAMPLES, pulse_onsets, spaced

LARGEST_RESIDUE = 0.05  # of a step of the converter: further from whole numbers, the samples are none


def pulse_recording(recording: Recording, *, channel: int) -> Recording:
    """The same recording, read from the channel of the pulses. Raises InputError where it has no such channel."""
    if channel >= recording.n_channels:
        raise InputError(
            "sync: the sound has no such channel",
            where=recording.sources[0].path,
            found=f"wav:{channel}",
            allowed="wav:0" if recording.n_channels == 1 else f"wav:0 to wav:{recording.n_channels - 1}",
            mend="channels count from 0",
        )
    return recording.with_channel(channel)


def pulses_in_sound(recording: Recording, *, bit: bool, edge: str) -> Pulses:
    """Onsets of the pulses on the channel of `recording`, on the audio clock.

    `bit`: in the least significant bit of the samples. `edge`: "rising", "falling" or "" (onset of pulses).
    Raises InputError where there are none, or where the samples are no integers of up to 24 bit that have such a bit.
    """
    where = f"{recording.sources[0].path}, channel {recording.channel}{', lowest bit' if bit else ''}"
    stretches = [partial(_samples, recording, start, stop, bit) for start, stop in recording.stretches]
    with recording:
        found, level = pulse_onsets(stretches, rate_hz=recording.rate_hz, edge=edge, where=where)
    places = np.concatenate([place + start for place, (start, _) in zip(found, recording.stretches, strict=True)])
    spans_s = recording.start_s + np.array(recording.stretches) / recording.rate_hz
    return Pulses(spaced(recording.start_s + places / recording.rate_hz), spans_s, where, level)


def _samples(recording: Recording, start: int, stop: int, bit: bool) -> Iterable[np.ndarray]:
    dtype, scale = recording.raw_format
    for first in range(start, stop, BLOCK_SAMPLES):
        raw = np.empty(min(BLOCK_SAMPLES, stop - first), dtype)
        recording.read_raw(first, raw)
        yield _lowest_bit(raw, scale, recording) if bit else np.multiply(raw, np.float32(scale), dtype=np.float32)


def _lowest_bit(raw: np.ndarray, scale: float, recording: Recording) -> np.ndarray:
    """Samples of up to 24 bit lie exactly in float32: in steps of the converter they are the integers in the file."""
    steps = raw * (scale / recording.sources[0].quantum)
    whole = np.rint(steps)
    if not np.all(np.abs(steps - whole) <= LARGEST_RESIDUE):
        raise InputError(
            "sync: the samples have no least significant bit",
            where=recording.sources[0].path,
            found="samples that are no integers of up to 24 bit",
            allowed="integers of 8, 16 or 24 bit",
            mend="name a channel of pulses, wav:CHANNEL@nwb:/PATH, or a CSV",
        )
    return (whole.astype(np.int64) & 1).astype(np.float32)
