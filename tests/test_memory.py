"""Memory that is kept is not asked for again."""

import platform
import subprocess
import sys

import pytest

GLIBC = tuple(map(int, platform.libc_ver()[1].split("."))) if platform.libc_ver()[0] == "glibc" else (0, 0)
FAULTS = """
import resource
import torch
{first}
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


def faults(first: str) -> int:
    """Pages that the system hands out for the last of twelve arrays, each freed before the next, of 64 MiB."""
    run = subprocess.run([sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(GLIBC < (2, 35), reason="the C library cannot be told to keep memory")
def test_freed_memory_is_used_again():
    assert faults("from pipeline.memory import keep_freed_memory; keep_freed_memory()") < 100
    assert faults("") > 5000  # or there would be nothing to gain
