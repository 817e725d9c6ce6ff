"""The steps of a run: one file a subcommand of `duet` and a rule of the workflow.

A step's file holds a docstring (its help), `SETTINGS` (the sections of the configuration that it uses),
`add_arguments(parser)` and `run(args, config)`. It is read without being imported, so that neither
`duet --help` nor the parsing of the Snakefile loads torch.
"""

import ast
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.discovery import names_in

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Step:
    name: str
    help: str
    settings: tuple[str, ...]

    @property
    def code(self) -> str:
        """Hash of every library file behind the step."""
        return _code_hash(_file(self.name))


@cache
def steps() -> dict[str, Step]:
    """All steps by name: that of the file, with hyphens."""
    import pipeline.steps as package

    names = [module.replace("_", "-") for module in names_in(package)]
    return {name: _describe(name) for name in names}


def _file(name: str) -> Path:
    return ROOT / "steps" / f"{name.replace('-', '_')}.py"


def _describe(name: str) -> Step:
    tree = ast.parse(_file(name).read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return Step(
        name=name,
        help=ast.get_docstring(tree).splitlines()[0],
        settings=tuple(ast.literal_eval(constants["SETTINGS"])),
    )


@cache
def _code_hash(path: Path) -> str:
    """Hash of `path` and of all files of this package that it imports, directly or through others."""
    digest = hashlib.sha256()
    for file in sorted(_closure(path)):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _closure(path: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting.extend(_imports(file))
    return found


@cache
def _imports(file: Path) -> frozenset[Path]:
    """Files of this package that `file` imports; a package that is imported counts with all its files."""
    if file.suffix != ".py":
        return frozenset()
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    files: set[Path] = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "pipeline" or len(parts) == 1:
            continue
        target = ROOT.joinpath(*parts[1:])
        if target.with_suffix(".py").is_file():
            files.add(target.with_suffix(".py"))
        elif target.is_dir() and name != "pipeline.steps":
            files.update(f for f in target.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return frozenset(files)
