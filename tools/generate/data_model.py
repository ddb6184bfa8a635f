"""docs/data-model.md: the JSON Schemas as a page to read."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from generate.fields import description, heading, presence, summary, type_words, unit
from generate.markdown import code, escape, link, table
from generate.schemas import FOLDER, SUFFIX, Part, Schemas, artefacts, is_shared

FILE = Path("docs/data-model.md")

_INTRODUCTION = """\
<!-- Made by `make contracts` from workflow/schemas; edit those. -->
# Data model

This page lists every setting and every field of every artefact: type and limits, unit, whether the
field is required, and its meaning. It is generated from the JSON Schemas in
[workflow/schemas](../workflow/schemas); the tests validate the files of real runs with the same
schemas. [measurement.md](measurement.md) explains how the numbers are measured.
[contracts/openapi.yaml](../contracts/openapi.yaml) describes the same records for a service.

Words in capitals in a path are placeholders: VARIANT, IMAGE (the id of a page), REPEAT (counted
from 0) and RESOLUTION. An object has no fields beyond the listed ones. An empty cell of a CSV table
is null.
"""

_COLUMNS = ("field", "type", "unit", "presence", "description")


class Section(NamedTuple):
    """A heading, and the Markdown below it."""

    level: int
    heading: str
    body: str


def data_model(schemas: Schemas) -> str:
    """The whole page."""
    places = artefacts(schemas)
    shared = [
        Part(schemas, name, schema) for name, schema in schemas.items() if is_shared(schemas, name)
    ]
    sections = [
        section
        for name in places
        for section in _artefact_sections(Part(schemas, name, schemas[name]))
    ]
    for part in shared:
        sections += _shared_sections(part)
    text = [_INTRODUCTION, _contents(schemas, places, shared)]
    text += [f"{'#' * level} {title}\n\n{body}\n" for level, title, body in sections]
    return "\n".join(text)


def _contents(schemas: Schemas, places: dict[str, str], shared: list[Part]) -> str:
    rows = []
    for name, place in places.items():
        schema = schemas[name]
        title = schema["title"]
        rows.append([link(title, title), code(place), summary(schema["description"])])
    lines = ["## Contents\n", table(("section", "path", "content"), rows)]
    for part in shared:
        names = [link(definition.trail[-1], heading(definition)) for definition in part.definitions]
        lines.append(f"\n{link(part.content['title'], part.content['title'])}: {' · '.join(names)}")
    return "\n".join(lines) + "\n"


def _artefact_sections(part: Part) -> Iterator[Section]:
    schema = part.content
    source = f"[{part.home}{SUFFIX}](../{FOLDER}/{part.home}{SUFFIX})"
    yield Section(2, schema["title"], f"{code(schema['x-path'])} · {source}\n\n{_record(part)}")
    yield from _nested(part)
    for definition in part.definitions:
        if definition.is_record:  # other definitions are described where they are used
            yield Section(3, heading(definition), _record(definition))
            yield from _nested(definition)


def _shared_sections(part: Part) -> Iterator[Section]:
    yield Section(2, part.content["title"], escape(part.content["description"]))
    for definition in part.definitions:
        if definition.is_record:
            body = _record(definition)
        else:
            may_be_null = ", or null" if "null" in definition.types else ""
            body = f"{type_words(definition)}{may_be_null}\n\n{description(definition)}"
        yield Section(3, heading(definition), body)
        yield from _nested(definition)


def _nested(part: Part) -> Iterator[Section]:
    """Sections of the objects inside a part; objects that it refers to have their own."""
    if part.target is not None:
        return
    inner = list(part.fields) if part.is_record else []
    inner += [part.element] if part.element is not None else []
    for child in inner:
        if child.target is None and child.is_record:
            yield Section(3, heading(child), _record(child))
        yield from _nested(child)


def _record(part: Part) -> str:
    """The description of a record and the table of its fields."""
    content = part.content
    text = escape(content.get("description", ""))
    if "null" in part.types:
        text += " May be null as a whole."
    required = content.get("required", [])
    rows = [
        [
            code(field.trail[-1]),
            type_words(field),
            unit(field),
            presence(field, field.trail[-1] in required),
            description(field),
        ]
        for field in part.fields
    ]
    return f"{text.strip()}\n\n{table(_COLUMNS, rows)}".lstrip()
