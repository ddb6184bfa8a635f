"""Artefacts against their schemas, for tests of the library and of the workflow."""

import csv
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

Json = dict[str, Any]

SCHEMAS = Path(__file__).resolve().parents[2] / "workflow" / "schemas"


@cache
def schemas() -> dict[str, Json]:
    """Every schema of the workflow by its file name."""
    return {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(SCHEMAS.glob("*.schema.yaml"))
    }


@cache
def artefacts() -> dict[str, str]:
    """Where the artefacts lie in a results folder, as patterns -> the names of their schemas."""
    return {
        re.sub("[A-Z]+", "*", schema["x-path"].removeprefix("results/")): name.partition(".")[0]
        for name, schema in schemas().items()
        if schema.get("x-path", "").startswith("results/")
    }


@cache
def registry() -> Registry[Any]:
    """Finds the schemas that the schemas refer to."""
    return Registry[Any]().with_resources(
        (name, Resource.from_contents(schema, default_specification=DRAFT202012))
        for name, schema in schemas().items()
    )


def resolved(part: Json, base: str) -> tuple[Json, str]:
    """A part of the schema file `base`, its `$ref` replaced by what it leads to.

    Returns:
        The part, whose own keywords win over the referenced ones; and the schema file that
        relative references in it start from.
    """
    if "$ref" not in part:
        return part, base
    found = registry().resolver(base_uri=base).lookup(part["$ref"])
    target, origin = resolved(found.contents, part["$ref"].partition("#")[0] or base)
    return target | {key: value for key, value in part.items() if key != "$ref"}, origin


def columns(name: str) -> list[str]:
    """The columns of a table, in order, by its row schema."""
    return list(schemas()[f"{name}.schema.yaml"]["properties"])


def validate(name: str, instance: object) -> None:
    """Check a record or a row.

    Raises:
        AssertionError: it does not fit the schema `name`; names the field.
    """
    error = best_match(_validator(name).iter_errors(instance))
    assert error is None, f"{error.json_path}: {error.message}"
    for field, problem in _unexplained(instance, "$"):
        raise AssertionError(f"{field}: {problem}")


def read_rows(path: Path, name: str) -> list[Json]:
    """Rows of a CSV table as objects, its cells read as the types that the schema gives.

    Raises:
        AssertionError: the columns are not the schema's, or a cell is not of its column's type.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == columns(name), f"columns are {header}, not {columns(name)}"
    types = _cell_types(name)
    rows = []
    for number, line in enumerate(lines):
        assert len(line) == len(header), f"row {number}: {len(line)} cells"
        rows.append(
            {
                column: _cell(text, types[column], f"row {number}: $.{column}")
                for column, text in zip(header, line, strict=True)
            }
        )
    return rows


def validate_results(folder: Path) -> int:
    """Check every artefact in a results folder, finished or not.

    Returns:
        How many JSON and CSV files were checked.

    Raises:
        AssertionError: a file does not fit its schema, or has none; names the file and the field.
    """
    files = {path: name for pattern, name in artefacts().items() for path in folder.glob(pattern)}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".csv") and not path.name.startswith("."):
            assert path in files, f"{path}: no schema describes it"
    for path, name in files.items():
        try:
            if path.suffix == ".csv":
                for number, row in enumerate(read_rows(path, name)):
                    try:
                        validate(name, row)
                    except AssertionError as error:
                        raise AssertionError(f"row {number}: {error}") from None
            else:
                validate(name, json.loads(path.read_bytes()))
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{path}: {error}") from None
    return len(files)


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schemas()[f"{name}.schema.yaml"], registry=registry())


@cache
def _cell_types(name: str) -> dict[str, list[str]]:
    base = f"{name}.schema.yaml"
    types = {}
    for column, part in schemas()[base]["properties"].items():
        kind = resolved(part, base)[0]["type"]
        types[column] = [kind] if isinstance(kind, str) else list(kind)
    return types


def _cell(text: str, types: list[str], where: str) -> object:
    if not text:
        return None
    try:
        if "integer" in types:
            return int(text)
        if "number" in types:
            return float(text)
        if "boolean" in types:
            return {"True": True, "False": False}[text]
    except (ValueError, KeyError):
        raise AssertionError(f"{where}: {text!r} is not of type {types[0]}") from None
    return text


def _unexplained(instance: object, where: str) -> Iterator[tuple[str, str]]:
    """Fields that are null without a reason, and reasons for fields that are there."""
    if isinstance(instance, list):
        for number, item in enumerate(instance):
            yield from _unexplained(item, f"{where}[{number}]")
    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        yield from _unexplained(value, f"{where}.{name}")
    if "absent" in instance:
        for name, value in instance.items():
            if value is None and name not in instance["absent"]:
                yield f"{where}.{name}", "is null, and `absent` has no reason"
            elif value is not None and name in instance["absent"]:
                yield f"{where}.{name}", "is there, and `absent` has a reason"
