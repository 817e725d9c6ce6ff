"""Pulses on a channel of a session's sound, or in its least significant bit."""

from collections.abc import Iterable
from functools import partial

import numpy as np

from pipeline.audio.formats import AudioSource
from pipeline.audio.recording import Recording
from pipeline.errors import InputError
from pipeline.pulses import Pulses
from pipeline.pulses.detection import BLOCK_SAMPLES, pulse_onsets, spaced

LARGEST_RESIDUE = 0.05  # of a step of the converter: further from whole numbers, the samples are none


def pulses_in_sound(recording: Recording, *, bit: bool, edge: str) -> Pulses:
    """Onsets of the pulses on the channel of `recording`, on the audio clock.

    `bit`: in the least significant bit of the samples. `edge`: "rising", "falling" or "" (onset of pulses).
    Raises InputError where there are none, or where the samples are no integers of up to 24 bit that have such a bit.
    """
    where = f"{recording.sources[0].path}, channel {recording.channel}{', lowest bit' if bit else ''}"
    stretches = [partial(_samples, source, recording.channel, bit) for source in recording.sources]
    found, level = pulse_onsets(stretches, rate_hz=recording.rate_hz, edge=edge, where=where)
    starts_s = np.asarray(recording.file_start_s, float)
    onset_s = [start_s + places / recording.rate_hz for start_s, places in zip(starts_s, found, strict=True)]
    spans_s = np.c_[starts_s, recording.file_stop_s]
    return Pulses(spaced(np.concatenate(onset_s)), spans_s, where, level)


def _samples(source: AudioSource, channel: int, bit: bool) -> Iterable[np.ndarray]:
    for block in source.blocks(channel=channel, block_samples=BLOCK_SAMPLES):
        yield _lowest_bit(block, source) if bit else block


def _lowest_bit(block: np.ndarray, source: AudioSource) -> np.ndarray:
    """Samples of up to 24 bit lie exactly in float32: as multiples of the step they are the integers in the file."""
    steps = block.astype(np.float64) / source.quantum
    whole = np.rint(steps)
    if not np.all(np.abs(steps - whole) <= LARGEST_RESIDUE):
        raise InputError(
            "sync: samples that have no least significant bit",
            where=source.path,
            found="samples that are no integers of up to 24 bit",
            allowed="integers of 8, 16 or 24 bit",
            mend="name a channel of pulses, wav:CHANNEL@nwb:/PATH, or a CSV",
        )
    return (whole.astype(np.int64) & 1).astype(np.float32)
