"""Settings and their JSON Schema: types, defaults, and errors as user errors."""

import copy
import difflib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

import jsonschema
import yaml

from mfuscope.config.values import quoted, shorten
from mfuscope.core.errors import Findings, UserError

_BOUNDS = {
    "minimum": "of at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "up to {}",
    "minLength": "that is not empty",
    "maxLength": "of up to {} characters",
    "minItems": "that is not empty",
    "maxItems": "of up to {} entries",
    "maxProperties": "of up to {} entries",
}

# A pattern must match the whole value; Python's `$` would also match before a final line break.
_VALIDATOR = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    {"pattern": lambda _, pattern, value, __: _mismatch(pattern, value)},
)


def typed(value: Any, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """A value whose strings are converted to the types that its part of the schema asks for."""
    if isinstance(value, Mapping):
        return {
            key: typed(inner, _inner(part, key, schema), schema) for key, inner in value.items()
        }
    if not isinstance(value, str) or "string" in _types(part):
        return value
    # Python reads numbers as people write them. In YAML 1.1, 010 is 8, 1:30 is 90, 1e3 is text.
    with suppress(ValueError):
        return int(value)
    with suppress(ValueError):
        if math.isfinite(number := float(value)):
            return number
    try:
        read = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: a date like 2001-99-99
        return value
    return value if type(read) in (int, float) else read


def whole(value: Any, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """A checked value with whole floats converted to integers where the schema asks for integers.

    JSON Schema accepts 3.0 as an integer, but as a rule's parameter it would differ from 3.
    """
    if isinstance(value, Mapping):
        return {
            key: whole(inner, _inner(part, key, schema), schema) for key, inner in value.items()
        }
    return int(value) if isinstance(value, float) and _types(part) == ["integer"] else value


def _inner(part: Mapping[str, Any], key: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a key within an object; empty for an unknown key."""
    others = part.get("additionalProperties")
    found = part.get("properties", {}).get(key, others if isinstance(others, Mapping) else {})
    if "$ref" in found:
        found = schema["$defs"][found["$ref"].rpartition("/")[2]]
    return cast(Mapping[str, Any], found)


def _types(part: Mapping[str, Any]) -> list[str]:
    types = part.get("type", "string")
    return [types] if isinstance(types, str) else list(types)


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Every property's default; of an object without a default, its properties' defaults."""
    return {
        key: copy.deepcopy(part["default"]) if "default" in part else defaults(part)
        for key, part in schema["properties"].items()
    }


def check(
    settings: Mapping[str, Any], schema: Mapping[str, Any], layer: str, findings: Findings
) -> None:
    """Add a finding for every violation of the schema in one layer of settings.

    Args:
        settings: values that passed `values.check_plain`.
        layer: words that name where the settings were given; empty for a file.
    """
    errors = _VALIDATOR(schema).iter_errors(settings)
    for error in sorted(errors, key=lambda one: list(map(str, one.path))):
        for explained in _explain(error, layer):
            findings.add(explained)


def _mismatch(pattern: str, value: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not re.fullmatch(pattern, value):
        yield jsonschema.ValidationError(f"does not match {pattern}")


def _explain(error: jsonschema.ValidationError, layer: str) -> Iterator[UserError]:
    key = ".".join(str(part) for part in error.absolute_path)
    part = cast(Mapping[str, Any], error.schema)
    if error.validator != "additionalProperties":
        value = shorten(error.instance)
        yield UserError(f"setting {quoted(key)} is {value}{layer}", f"use {_wanted(part)}")
        return
    known = list(part["properties"])
    for name in cast(dict[str, Any], error.instance):
        if name not in known:
            full = f"{key}.{name}" if key else name
            near = difflib.get_close_matches(name.lower(), known, n=1)
            remedy = f"write {near[0]!r}" if near else f"use one of {', '.join(known)}"
            yield UserError(f"setting {quoted(full)} does not exist{layer}", remedy)


def _wanted(part: Mapping[str, Any]) -> str:
    if "x-wanted" in part:
        return str(part["x-wanted"])
    if "enum" in part:
        return "one of " + ", ".join(str(choice) for choice in part["enum"])
    if "pattern" in part:
        return f"a string like {part['pattern']}"
    names = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
        "object": "a mapping of keys to values",
    }
    wanted = " or ".join(names[name] for name in _types(part) if name != "null")
    bounds = [words.format(part[bound]) for bound, words in _BOUNDS.items() if bound in part]
    return " ".join([wanted, *bounds])
