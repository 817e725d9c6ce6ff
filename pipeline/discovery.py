"""Implementations are found by file name: one file in a folder is one family, one step, one format."""

import importlib
from pathlib import Path
from types import ModuleType

from pipeline.errors import InputError


def names_in(package: ModuleType, *, beside: set[str] | frozenset[str] = frozenset()) -> list[str]:
    """Sorted names of the modules in `package`, without those in `beside` and without private ones."""
    folder = Path(package.__file__).parent
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_") and p.stem not in beside)


def load(package: ModuleType, name: str, *, what: str) -> ModuleType:
    """Import the module `name` of `package`.

    Raises InputError, with the names that exist, where there is none.
    """
    if name not in names_in(package):
        raise InputError(f"no such {what}", found=name, allowed=names_in(package))
    return importlib.import_module(f"{package.__name__}.{name}")
