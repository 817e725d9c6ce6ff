"""The options of a family: the keyword arguments of its constructor, whose annotations say what each may be."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from pipeline.errors import InputError
from pipeline.vae.base import Modality, MultimodalVAE

NO_OPTIONS = {"latent_dim", "beta", "warmup_fraction", "joint_encoder", "surrogate_encoder"}  # set by other means
STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # true is no number, "2" is text
KINDS = {"integer": "a whole number", "number": "a finite number", "string": "text"}
BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def options_of(cls: type[MultimodalVAE]) -> dict[str, TypeAdapter]:
    """What reads each option of a family, those of its base classes included."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        parameters = inspect.signature(base.__init__).parameters.values()
        found = {p.name: p.annotation for p in parameters if p.kind == p.KEYWORD_ONLY} | found
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return {name: TypeAdapter(kind, config=STRICT) for name, kind in found.items() if name not in NO_OPTIONS}


def option_problems(
    cls: type[MultimodalVAE], options: dict[str, Any], *, modalities: Sequence[str]
) -> list[InputError]:
    """All that is wrong with the options of a family, for a model of at most these modalities."""
    where = f"models.options.{cls.__module__.rpartition('.')[2]}"
    known = options_of(cls)
    problems = []
    for name, value in options.items():
        if name not in known:
            problems.append(InputError(f"{where}: unknown option", found=name, allowed=sorted(known) or "none"))
            continue
        schema = _without_null(known[name].json_schema())
        try:
            known[name].validate_python(value)
        except ValidationError as error:
            problems += [_wrong(f"{where}.{name}", schema, detail) for detail in error.errors()]
        else:
            for key in (value or {}) if "additionalProperties" in schema else ():  # mappings go by modality
                if key not in modalities:
                    problems.append(InputError(f"{where}.{name}: unknown modality", found=key, allowed=modalities))
    if not problems:
        try:
            _build(cls, options, modalities[: cls.most_modalities])
        except InputError as problem:  # options that do not go together
            problems.append(problem)
    return problems


def _build(cls: type[MultimodalVAE], options: dict[str, Any], names: Sequence[str]) -> MultimodalVAE:
    needs = {"joint_encoder": cls.needs_joint_encoder, "surrogate_encoder": cls.needs_surrogate_encoder}
    joint = {name: nn.Identity() for name, needed in needs.items() if needed}
    encoder = nn.utils.skip_init(nn.Linear, 1, 2)  # no weights are drawn: training starts from its own generator
    modalities = [Modality(name, encoder, nn.Identity(), "gaussian", 1.0) for name in names]
    return cls(modalities, latent_dim=1, **joint, **options)


def _wrong(option: str, schema: dict[str, Any], detail: dict[str, Any]) -> InputError:
    for part in detail["loc"]:
        option += f".{part}"
        schema = schema.get("additionalProperties") or schema.get("items") or schema
    found = detail["input"]
    if "enum" in schema:
        return InputError(f"{option}: no such choice", found=found, allowed=schema["enum"])
    mend = None
    if schema["type"] in ("integer", "number") and isinstance(found, str) and re.match(r"[-+.]?\d", found):
        mend = "write it without quotes, and an exponent with a point and a sign (1.0e-3): this is text in YAML"
    return InputError(f"{option}: wrong value", found=repr(found), allowed=_in_words(schema), mend=mend)


def _in_words(schema: dict[str, Any]) -> str:
    if "additionalProperties" in schema:
        return f"{{modality: {_in_words(schema['additionalProperties'])}}}"
    if "items" in schema:
        return f"a list of {_in_words(schema['items'])}"
    bounds = [f"{word} {schema[key]:g}" for key, word in BOUNDS.items() if key in schema]
    return ", ".join([KINDS[schema["type"]], *bounds])


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    return schema["anyOf"][0] if "anyOf" in schema else schema
