"""Sound files: everything that libsndfile reads (WAV with its 64-bit and extensible forms, FLAC, AIFF and more)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio.formats import AudioSource
from pipeline.errors import InputError

SUFFIXES = (".wav", ".wave", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".au", ".caf", ".ogg", ".mp3")
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "ALAW": 16, "ULAW": 16, "VORBIS": 16, "MPEG_LAYER_III": 16}
BITS_OF_THE_REST = 24  # PCM_24; of PCM_32 and floats, no converter fills more
RECOPY = "copy the file again; if this is all there is, save it anew (sox in.wav out.wav) to accept the shorter sound"


@dataclass(frozen=True)
class SoundFile(AudioSource):
    """A file on disk, decoded to float32 (integers divided by their full scale)."""

    def blocks(self, *, channel: int, block_samples: int) -> Iterator[np.ndarray]:
        remaining = self.n_samples
        buffer = np.empty((block_samples, self.n_channels), np.float32)
        try:
            with soundfile.SoundFile(self.path) as file:
                while remaining > 0:
                    block = file.read(out=buffer[: min(block_samples, remaining)], always_2d=True)
                    if not len(block):
                        break
                    remaining -= len(block)
                    yield block[:, channel].copy()
        except soundfile.LibsndfileError as error:
            raise InputError(
                "the audio file is damaged or truncated", where=self.path, found=error, mend=RECOPY
            ) from error
        if remaining:
            raise InputError(
                "the audio file is truncated",
                where=self.path,
                found=f"{self.n_samples - remaining} samples, its header says {self.n_samples}",
                mend=RECOPY,
            )


def accepts(path: Path, series: str | None) -> bool:
    """Whether this is a sound file by its suffix."""
    return series is None and path.suffix.lower() in SUFFIXES


def open_source(path: Path, *, series: None = None) -> SoundFile:
    """Read the header of a sound file.

    Raises InputError where the file is no sound, truncated or without samples.
    """
    try:
        header = soundfile.info(path, verbose=True)
    except soundfile.LibsndfileError as error:
        raise InputError(
            "this is not a sound file, whatever its name says", where=path, found=error, allowed=SUFFIXES
        ) from error
    if header.frames == 0:
        raise InputError("the audio file holds no samples", where=path, found="0 samples", mend="leave it out")
    # libsndfile shortens a truncated file silently; only its log tells.
    shortened = re.search(r"^\s*(\w+) : (\d+) \(should be (\d+)\)", header.extra_info, re.MULTILINE)
    if shortened and int(shortened[3]) < int(shortened[2]):
        found = f"{shortened[3]} bytes, its header says {shortened[2]}"
        raise InputError("the audio file is truncated", where=path, found=found, mend=RECOPY)
    bits = BITS.get(header.subtype, BITS_OF_THE_REST)
    integer = header.subtype.startswith("PCM")
    return SoundFile(
        path=path,
        rate_hz=float(header.samplerate),
        n_samples=header.frames,
        n_channels=header.channels,
        start_s=0.0,
        quantum=2.0 ** (1 - bits),
        full_scale=1 - 2.0 ** (1 - bits) if integer else 1.0,
        unit="full scale",
    )
