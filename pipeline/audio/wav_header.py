"""The header of a WAV file, where it lies about the length of the sound.

Recorders that are stopped by force leave 0 or 0xFFFFFFFF as the size of the samples, and cut copies promise more than
there is; for samples of a fixed size the truth follows from the size of the file.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MOST_TAIL_BYTES = 4096  # after samples of a known size: notes of some program, in no chunk
IN_64_BITS = 0xFFFFFFFF  # RF64: the size stands in the chunk ds64


@dataclass(frozen=True)
class WavHeader:
    """What a WAV or RF64 file says, and how many bytes of samples there are; `stated_bytes` None: no data chunk."""

    path: Path
    n_channels: int
    rate_hz: int
    frame_bytes: int | None  # None: compressed, so that the length cannot be told from the size of the file
    data_offset: int
    stated_bytes: int | None
    present_bytes: int

    @property
    def n_samples(self) -> int:
        """Whole samples that the file holds."""
        return self.present_bytes // self.frame_bytes if self.frame_bytes else 0

    @property
    def lies(self) -> bool:
        """Whether the header states another length than the file has."""
        return self.stated_bytes != self.present_bytes


def read_wav_header(path: Path) -> WavHeader | None:
    """Walk through the chunks of a WAV file; None where it is none or breaks off before its format is known."""
    size = path.stat().st_size
    with path.open("rb") as file:
        kind = file.read(12)
        if kind[:4] not in (b"RIFF", b"RF64") or kind[8:] != b"WAVE":
            return None
        layout, long_bytes = None, None
        while len(head := file.read(8)) == 8:
            name, n_bytes = head[:4], struct.unpack("<I", head[4:])[0]
            start = file.tell()
            if name == b"data":
                return layout and _header(file, path, layout, start, n_bytes, long_bytes, size)
            if name == b"ds64":
                long_bytes = int.from_bytes(file.read(16)[8:], "little")
            elif name == b"fmt " and n_bytes >= 16:
                layout = file.read(min(n_bytes, 40))
                if len(layout) < 16:
                    return None
            file.seek(start + n_bytes + n_bytes % 2)
        return layout and WavHeader(path, *_layout(layout), data_offset=size, stated_bytes=None, present_bytes=0)


def _header(file, path: Path, layout: bytes, start: int, n_bytes: int, long_bytes: int | None, size: int) -> WavHeader:
    stated = long_bytes if n_bytes == IN_64_BITS and long_bytes is not None else n_bytes
    present = size - start
    tail = present - stated
    if tail >= 0 and ((stated > 0 and tail <= MOST_TAIL_BYTES) or _only_chunks(file, start + stated, size)):
        present = stated
    return WavHeader(path, *_layout(layout), data_offset=start, stated_bytes=stated, present_bytes=present)


def _layout(layout: bytes) -> tuple[int, int, int | None]:
    """Number of channels, sampling rate, bytes of one sample of all channels."""
    tag, n_channels, rate_hz, _, _, bits = struct.unpack("<HHIIHH", layout[:16])
    if tag == EXTENSIBLE and len(layout) >= 26:
        tag = struct.unpack("<H", layout[24:26])[0]
    return n_channels, rate_hz, n_channels * ((bits + 7) // 8) if tag in (PCM, FLOAT) else None


def _only_chunks(file, start: int, size: int) -> bool:
    """Whether nothing but chunks of other data (or padding) lies between `start` and the end of the file."""
    file.seek(start)
    if size - start < 8:
        return True
    if not any(file.read(min(size - start, 65536))):
        return size - start <= 65536
    for padding in (start % 2, 0):
        place = start + padding
        while place <= size - 8:
            file.seek(place)
            head = file.read(8)
            if not all(32 <= byte < 127 for byte in head[:4]):
                break
            n_bytes = struct.unpack("<I", head[4:])[0]
            place += 8 + n_bytes + n_bytes % 2
        if size - 8 < place <= size + 1:
            return True
    return False


class MendedWav(io.RawIOBase):
    """A WAV file whose header says what libsndfile reads as "until the end of the file"."""

    def __init__(self, header: WavHeader):
        self._file = header.path.open("rb")
        head = bytearray(self._file.read(header.data_offset))
        head[:8] = b"RIFF" + struct.pack("<I", 8)
        if head[12:16] == b"ds64":
            head[12:16] = b"JUNK"
        head[-4:] = struct.pack("<I", 0)
        self._head = bytes(head)
        self._file.seek(0)

    def readinto(self, buffer) -> int:
        place = self._file.tell()
        n = self._file.readinto(buffer)
        if place < len(self._head):
            known = self._head[place : place + n]
            memoryview(buffer).cast("B")[: len(known)] = known
        return n

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
