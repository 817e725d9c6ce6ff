"""Time and memory of a command, for all benchmarks."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class Use(NamedTuple):
    """What a command took; `peak_mb` with its imports."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(command: Sequence[str | Path]) -> Use:
    """What a command takes that runs on one thread.

    Raises CalledProcessError, with what the command said, where it fails.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        said = run.stdout.read()
        _, status, used = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command, output=said.decode(errors="replace"))
    # Linux counts in KiB, macOS in bytes.
    peak_mb = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return Use(time.perf_counter() - started, used.ru_utime + used.ru_stime, peak_mb)
