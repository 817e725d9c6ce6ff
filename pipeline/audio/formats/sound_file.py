"""Sound files: everything that libsndfile reads (WAV with its 64-bit and extensible forms, FLAC, AIFF and more)."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio.formats import HIGHEST_HZ, LOWEST_HZ, MOST_CHANNELS, AudioReader, AudioSource
from pipeline.audio.wav_header import MendedWav, WavHeader, read_wav_header
from pipeline.errors import InputError

SUFFIXES = (".wav", ".wave", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".au", ".caf", ".ogg", ".mp3")
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "ALAW": 16, "ULAW": 16, "VORBIS": 16, "MPEG_LAYER_III": 16}
BITS_OF_THE_REST = 24  # PCM_24; of PCM_32 and floats, no converter fills more
FIXED_SIZE = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
# Integers are read as such and scaled later: libsndfile takes several times as long to make floats of them.
STORED = {"PCM_S8": "int16", "PCM_U8": "int16", "PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}
SCALES = {"int16": 2.0**-15, "int32": 2.0**-31, "float32": 1.0}  # libsndfile moves integers to the upper bits
SCRATCH_VALUES = 1 << 20  # of all channels, read at once
RECOPY = "copy the file again; if this is all there is, save it anew (sox in.wav out.wav) to accept the shorter sound"


@dataclass(frozen=True)
class SoundFile(AudioSource):
    """A file on disk, whose samples libsndfile gives as the type `stored`."""

    stored: str
    mended: WavHeader | None

    def open(self, *, channel: int) -> "SoundFileReader":
        return SoundFileReader(self, channel)


class SoundFileReader(AudioReader):
    """Reads on where the last read ended without a seek, which is slow in compressed files."""

    def __init__(self, source: SoundFile, channel: int):
        self._source, self._channel, self._next = source, channel, 0
        rows, direct = max(SCRATCH_VALUES // source.n_channels, 1), source.stored == source.dtype
        self._scratch = None
        if source.n_channels > 1 or not direct:
            self._scratch = np.empty((rows, source.n_channels), source.stored)
        with _damage_told(source.path):
            self._file = _opened(source.path, source.mended)

    def read(self, start: int, out: np.ndarray) -> None:
        with _damage_told(self._source.path):
            if start != self._next:
                self._file.seek(start)
            n_read = self._read_column(out) if self._scratch is not None else len(self._file.read(out=out))
        if n_read < len(out):
            raise InputError(
                "the audio file is truncated",
                where=self._source.path,
                found=f"{start + n_read} samples, its header says {self._source.n_samples}",
                mend=RECOPY,
            )
        self._next = start + n_read

    def _read_column(self, out: np.ndarray) -> int:
        n_read = 0
        while n_read < len(out):
            rows = self._file.read(out=self._scratch[: len(out) - n_read], always_2d=True)
            if not len(rows):
                break
            out[n_read : n_read + len(rows)] = rows[:, self._channel]
            n_read += len(rows)
        return n_read

    def close(self) -> None:
        self._file.close()


def accepts(path: Path, series: str | None) -> bool:
    """Whether this is a sound file by its suffix."""
    return series is None and path.suffix.lower() in SUFFIXES


def open_sources(path: Path, *, series: None = None) -> tuple[SoundFile]:
    """Read the header of a sound file.

    Warns where the header states another length than the file has and the file tells which.
    Raises InputError where the file is no sound, truncated or without samples.
    """
    header = read_wav_header(path)
    _check_header(header, path)
    mended = header if header and header.lies and header.frame_bytes and header.stated_bytes is not None else None
    try:
        with _opened(path, mended) as file:
            log, frames, subtype = file.extra_info, file.frames, file.subtype
            rate_hz, n_channels = file.samplerate, file.channels
            stated = _stated_length(log, header, subtype, path)
            if frames > 0:
                _try_the_end(file, path)
    except soundfile.LibsndfileError as error:
        raise InputError(
            "this is not a sound file, whatever its name says", where=path, found=error, allowed=SUFFIXES
        ) from error
    if frames == 0:
        found = "0 samples" if header is None or header.stated_bytes is not None else "no chunk of samples"
        raise InputError("the audio file holds no samples", where=path, found=found, mend="leave it out")
    if stated is not None:
        warnings.warn(
            f"{path}: the header says {stated}, but the file holds {frames} samples ({frames / rate_hz:.6g} s), "
            "which are read",
            stacklevel=2,
        )
    bits = BITS.get(subtype, BITS_OF_THE_REST)
    stored = STORED.get(subtype, "float32")
    source = SoundFile(
        path=path,
        rate_hz=float(rate_hz),
        n_samples=frames,
        n_channels=n_channels,
        start_s=0.0,
        quantum=2.0 ** (1 - bits),
        full_scale=1 - 2.0 ** (1 - bits) if subtype.startswith("PCM") else 1.0,
        unit="full scale",
        dtype="int16" if stored == "int16" else "float32",
        scale=SCALES[stored],
        stored=stored,
        complete=stated is None,
        mended=mended,
    )
    return (source,)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # libsndfile's own are RuntimeErrors
        raise InputError("the audio file is damaged or truncated", where=path, found=error, mend=RECOPY) from error


def _opened(path: Path, mended: WavHeader | None) -> soundfile.SoundFile:
    return soundfile.SoundFile(path if mended is None else MendedWav(mended))


def _check_header(header: WavHeader | None, path: Path) -> None:
    """libsndfile refuses these in words that help nobody."""
    if header is None:
        return
    for what, found, least, most in (
        ("number of channels", header.n_channels, 1, MOST_CHANNELS),
        ("sampling rate", header.rate_hz, LOWEST_HZ, HIGHEST_HZ),
    ):
        if not least <= found <= most:
            raise InputError(
                f"an impossible {what}", where=path, found=found, allowed=f"{least:.0f} to {most:.0f}",
                mend="correct the header, or copy the file again",
            )  # fmt: skip


def _stated_length(log: str, header: WavHeader | None, subtype: str, path: Path) -> str | None:
    """Length that the header promises, where it does not tell the truth; None where it does.

    Raises InputError where the true length cannot be known.
    """
    if header is not None and header.frame_bytes:
        honest = header.stated_bytes is None or not header.lies
        return None if honest else f"{header.stated_bytes // header.frame_bytes} samples"
    # libsndfile shortens a truncated file silently; only its log tells.
    shortened = re.search(r"^\s*(\w+) : (\d+) \(should be (\d+)\)", log, re.MULTILINE)
    if not shortened or int(shortened[3]) >= int(shortened[2]):
        return None
    if subtype not in FIXED_SIZE:
        found = f"{shortened[3]} bytes, its header says {shortened[2]}"
        raise InputError("the audio file is truncated", where=path, found=found, mend=RECOPY)
    return f"{shortened[2]} bytes"


def _try_the_end(file: soundfile.SoundFile, path: Path) -> None:
    """Raise InputError where the last sample is not there: headers of compressed files may promise anything."""
    with _damage_told(path):
        file.seek(file.frames - 1)
        n_read = len(file.read(1, dtype="float32"))
    if not n_read:
        found = f"it ends before sample {file.frames}, which its header promises"
        raise InputError("the audio file is truncated", where=path, found=found, mend=RECOPY)
