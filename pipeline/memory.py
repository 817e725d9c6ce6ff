"""Memory of the process that trains."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of mallopt(3)
KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next use, where it can (glibc from 2.35 on).

    Else every step of a training hands its activations back to the system and pays for new, zeroed pages: up to a
    third of its time.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "mallopt") and library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES):
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
