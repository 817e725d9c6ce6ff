"""Plants one fault after another into the model families and tells which of them no test notices.

    python tests/vae/run_mutations.py [NAME ...]

Each file mutations_NAME.py beside this one holds `MUTATIONS`, a list of (old, new, why): `old` occurs once in
pipeline/vae/NAME.py (or in `SOURCE`, a path from the root of the repository), and with `new` in its place the tests
must fail. The tests are those of test_NAME.py, or `TESTS`, arguments of pytest with file names in this folder. Nothing
on disk is changed: each fault lives in a forked process that imports the changed text. Exits with 1 where a fault goes
unnoticed, does not load or is not in the source, or where the tests fail without any.
"""

import importlib.machinery
import importlib.util
import io
import os
import runpy
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np  # noqa: F401  (imported once, before the forks)
import pytest
import scipy.stats  # noqa: F401
import torch
import xarray as xr  # noqa: F401

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_S = 120  # a fault that makes the tests hang is noticed, too
NOTICED, UNNOTICED = {pytest.ExitCode.TESTS_FAILED}, {pytest.ExitCode.OK}


class Planted(importlib.machinery.SourceFileLoader):
    """Imports a module from a text instead of its file."""

    def __init__(self, name: str, path: str, text: str):
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname):
        return compile(self.text, self.path, "exec", dont_inherit=True)

    def find_spec(self, fullname, path=None, target=None):
        """As an entry of sys.meta_path."""
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None


def outcome(source: Path, text: str | None, tests: list[str]) -> int:
    """Exit code of the tests in a process where `source` reads `text`; -signal where it was killed."""
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        if text is not None:
            module = ".".join(source.relative_to(ROOT).with_suffix("").parts)
            sys.meta_path.insert(0, Planted(module, str(source), text))
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", *tests])
        os._exit(int(code))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def run(path: Path) -> tuple[int, list[str]]:
    """Number of faults of one list, and what is wrong with them."""
    given = runpy.run_path(str(path))
    name = path.stem.removeprefix("mutations_")
    source = ROOT / given.get("SOURCE", f"pipeline/vae/{name}.py")
    tests = [str(HERE / a) if a.endswith(".py") else a for a in given.get("TESTS", [f"test_{name}.py"])]
    text = source.read_text()
    if outcome(source, None, tests) not in UNNOTICED:
        return len(given["MUTATIONS"]), [f"{name}: the tests fail without a fault"]
    wrong = []
    for old, new, why in given["MUTATIONS"]:
        if text.count(old) != 1:
            wrong.append(f"{name}: {why}: {text.count(old)} times in {source.name}: {old!r}")
            continue
        code = outcome(source, text.replace(old, new), tests)
        if code in UNNOTICED:
            wrong.append(f"{name}: {why}: no test notices")
        elif code not in NOTICED and code != -signal.SIGALRM:
            wrong.append(f"{name}: {why}: the tests do not run (exit code {code})")
    return len(given["MUTATIONS"]), wrong


def main(names: list[str]) -> int:
    """Run the lists of `names`, or all; returns the exit code."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    lists = [HERE / f"mutations_{name}.py" for name in names] or sorted(HERE.glob("mutations_*.py"))
    total, problems = 0, []
    for path in lists:
        started = time.perf_counter()
        n, wrong = run(path)
        total, problems = total + n, problems + wrong
        took = time.perf_counter() - started
        print(f"{path.stem.removeprefix('mutations_'):12} {n:3} faults, {len(wrong)} amiss  {took:5.1f} s", flush=True)
    print(*problems, f"{total} faults, {len(problems)} amiss", sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
