"""The command line: `duet <step>` or `python -m pipeline <step>`."""

import argparse
import importlib
import json
import sys
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from types import ModuleType

from pipeline import __version__
from pipeline.config import Config, Section
from pipeline.config_file import load_config
from pipeline.errors import InputError
from pipeline.steps import steps


def main(arguments: list[str] | None = None) -> int:
    """Run one step; returns the exit status: 0 done, 2 a mistake in the input or with its files (told on stderr)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="duet", description="From recordings to maps of latents, bands and neurons.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="step", required=True, metavar="step")
    chosen = next((a for a in arguments if a in steps()), None)
    for name, step in steps().items():
        subparser = subparsers.add_parser(name, help=step.help, description=step.help)
        subparser.add_argument("--config", help="YAML or JSON file, or a JSON object; absent keys take their defaults")
        if name == chosen:
            _module(name).add_arguments(subparser)
            if step.settings:
                subparser.formatter_class = argparse.RawDescriptionHelpFormatter
                subparser.epilog = "settings in the configuration:\n" + "\n".join(_explained(Config, step.settings))
    args = parser.parse_args(arguments)
    warnings.formatwarning = _told
    try:
        _module(args.step).run(args, load_config(args.config))
    except InputError as error:
        print(f"duet {args.step}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:  # no file of the user's
            raise
        print(f"duet {args.step}: {error.strerror}: {error.filename}", file=sys.stderr)
        return 2
    return 0


def _module(step: str) -> ModuleType:
    return importlib.import_module(f"pipeline.steps.{step.replace('-', '_')}")


def _explained(section: type[Section], names: Iterable[str], within: str = "") -> Iterator[str]:
    """Lines that name each setting, its default and its description."""
    for name in names:
        field = section.model_fields[name]
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _explained(field.annotation, field.annotation.model_fields, f"{within}{name}.")
        else:
            yield f"  {within}{name}: {json.dumps(field.default)}"
            yield from textwrap.wrap(field.description, width=76, initial_indent="      ", subsequent_indent="      ")


def _told(message, category, filename, lineno, line=None, *, _usual=warnings.formatwarning) -> str:
    """A user is told what is odd about the data, not which line of the library says so."""
    if category is UserWarning:
        return f"warning: {message}\n"
    return _usual(message, category, filename, lineno, line)


if __name__ == "__main__":
    sys.exit(main())
