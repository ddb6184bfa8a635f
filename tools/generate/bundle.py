"""The schemas as components of an OpenAPI document, and references to those components.

The schema `run` becomes the component `Run`. A definition in a schema of shared parts keeps its own
name (`Device`); a definition in an artefact's schema gets both names (`ReportVariant`).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from generate.schemas import SUFFIX, Json, Schemas, is_shared, split_reference

COMPONENTS = "#/components/schemas/"

# Keywords that only a file of its own has.
_OF_A_FILE = ("$schema", "$id", "$defs")


def components(schemas: Schemas) -> Iterator[tuple[str, Json]]:
    """Every schema and every definition in one, by the name of its component."""
    for name, schema in schemas.items():
        if not is_shared(schemas, name):
            content = {key: value for key, value in schema.items() if key not in _OF_A_FILE}
            yield component_name(schemas, name), bundled(content, schemas, home=name)
        for definition, content in schema.get("$defs", {}).items():
            component = component_name(schemas, name, definition)
            yield component, bundled(content, schemas, home=name)


def component_name(schemas: Schemas, schema: str, definition: str = "") -> str:
    """Name of the component that a schema becomes, or one of its definitions."""
    words = definition if is_shared(schemas, schema) else f"{schema}_{definition}"
    return "".join(word.capitalize() for word in re.split("[^A-Za-z0-9]+", words))


def bundled(node: Any, schemas: Schemas, *, home: str = "", folder: Path = Path()) -> Any:
    """A part of a document whose references to schemas point to components.

    Args:
        home: the schema that holds the part. It is empty for the hand-written document: references
            within that document stay, and references to its examples are replaced by their content.
        folder: the folder of the hand-written document.
    """
    if isinstance(node, list):
        return [bundled(item, schemas, home=home, folder=folder) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str):
        file = reference.partition("#")[0]
        if home or file.endswith(SUFFIX):
            node = node | {"$ref": _component_reference(schemas, reference, home)}
        elif file:
            return yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    return {key: bundled(value, schemas, home=home, folder=folder) for key, value in node.items()}


def _component_reference(schemas: Schemas, reference: str, home: str) -> str:
    schema, keys = split_reference(reference, home)
    definition = ""
    if keys[:1] == ["$defs"]:
        definition, keys = keys[1], keys[2:]
    escaped = (key.replace("~", "~0").replace("/", "~1") for key in keys)
    return COMPONENTS + "/".join([component_name(schemas, schema, definition), *escaped])
