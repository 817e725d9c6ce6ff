"""Reading a configuration: what a user wrote becomes a `Config`, or a list of all that is wrong with it."""

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from pipeline.config import Config
from pipeline.errors import InputError, InputErrors


def load_config(source: str | Path | dict | None = None) -> Config:
    """Read a configuration.

    `source` is a path of a YAML or JSON file, a JSON object as a string, a dict, or None for the defaults;
    absent keys take their defaults.

    Raises InputError that names every unknown key and every value out of bounds.
    """
    if source is None:
        return Config()
    where: object = "configuration"
    if isinstance(source, dict):
        values = source
    elif str(source).lstrip().startswith("{"):
        values = json.loads(str(source))
    else:
        where, values = source, read_keys(source)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_problem(detail, where) for detail in error.errors()]
        raise problems[0] if len(problems) == 1 else InputErrors(problems) from None


def read_keys(path: str | Path) -> dict:
    """The keys that a YAML or JSON file holds, unchecked.

    Raises InputError where the file cannot be read, is no mapping of keys, or has a key twice in one section, of which
    YAML readers silently forget the first.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = yaml.load(file, Loader=_Loader) or {}
    except OSError as error:
        raise InputError("cannot read the configuration", where=path, found=error.strerror) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError("the configuration is not valid YAML", where=path, found=error) from error
    if not isinstance(values, dict):
        raise InputError("the configuration must be a mapping of keys", where=path, found=type(values).__name__)
    return values


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in lines:
                raise InputError(
                    f"the key {key.value!r} stands twice in one section",
                    where=f"{key.start_mark.name}, lines {lines[key.value]} and {key.start_mark.line + 1}",
                    mend="join the two",
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def subtree(config: Config, keys: tuple[str, ...]) -> str:
    """The named sections as one line of JSON: what a step depends on, and nothing else."""
    dumped = config.model_dump(mode="json", include=set(keys))
    return json.dumps({key: dumped[key] for key in keys}, sort_keys=True)


def _problem(detail: dict, where: object) -> InputError:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        section: Any = Config
        for part in detail["loc"][:-1]:
            section = _inside(section, part)
        return InputError(
            f"unknown key {key!r}", where=where, found=detail["loc"][-1], allowed=list(section.model_fields)
        )
    mend = _described(detail["loc"])
    return InputError(f"{key or 'configuration'}: {detail['msg']}", where=where, found=detail["input"], mend=mend)


def _described(location: tuple) -> str | None:
    section: Any = Config
    field = None
    for part in location:
        field = getattr(section, "model_fields", {}).get(part, field)
        section = _inside(section, part)
    if field is None or not field.description:
        return None
    return field.description + ("" if field.is_required() else f"; default {field.default!r}")


def _inside(section: Any, part: str) -> Any:
    """The type of a section's field, or of what lies under the keys of a mapping; None of anything else."""
    if part in getattr(section, "model_fields", {}):
        return section.model_fields[part].annotation
    inner = get_args(section)
    return inner[1] if get_origin(section) is dict else None
