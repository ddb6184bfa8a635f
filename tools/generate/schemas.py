"""The JSON Schemas of the settings and of every artefact, with their references resolved.

The schema named `run` is run.schema.yaml. Its keyword `x-path` is the path of its artefact; words
in capitals, such as IMAGE, are placeholders. A schema without `x-path` holds shared parts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Schemas = Mapping[str, Json]

#: The folder of the schemas in the repository.
FOLDER = Path("workflow/schemas")
SUFFIX = ".schema.yaml"


def read_schemas(folder: Path) -> dict[str, Json]:
    """Every schema in a folder by its name.

    Raises:
        ValueError: a schema describes a record and has no `x-path`.
    """
    schemas = {
        path.name.removesuffix(SUFFIX): yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob(f"*{SUFFIX}"))
    }
    for name, schema in schemas.items():
        if "type" in schema and is_shared(schemas, name):
            raise ValueError(
                f"{name}{SUFFIX}: add `x-path`, the path of the files that it describes"
            )
    return schemas


def is_shared(schemas: Schemas, name: str) -> bool:
    """Whether a schema holds shared parts and describes no file."""
    return "x-path" not in schemas[name]


def artefacts(schemas: Schemas) -> dict[str, str]:
    """The path of each artefact and of the settings, by the name of their schema.

    The settings come first, then files of the whole workflow, then files of a variant.
    """
    places = {
        name: schema["x-path"] for name, schema in schemas.items() if not is_shared(schemas, name)
    }

    def depth(name: str) -> tuple[bool, int, str]:
        return places[name].startswith("results/"), places[name].count("/"), places[name]

    return {name: places[name] for name in sorted(places, key=depth)}


def split_reference(reference: str, home: str) -> tuple[str, list[str]]:
    """The schema and the keys in it that a `$ref` in the schema `home` refers to."""
    file, _, pointer = reference.partition("#")
    name = file.rpartition("/")[2].removesuffix(SUFFIX) or home
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    return name, keys


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a schema, and its place.

    Attributes:
        schemas: all schemas, to resolve references.
        home: name of the schema that holds the part.
        content: its keywords.
        trail: names of the enclosing definitions and properties and its own, from the outside in;
            `[]` stands for the items of a list, `*` for the values of a map.
    """

    schemas: Schemas
    home: str
    content: Json
    trail: tuple[str, ...] = ()

    @property
    def target(self) -> "Part | None":
        """The target of its `$ref`; None without one."""
        if "$ref" not in self.content:
            return None
        home, keys = split_reference(self.content["$ref"], self.home)
        content: Any = self.schemas[home]
        for key in keys:
            content = content[key]
        # Every other key is `$defs` or `properties`.
        return Part(self.schemas, home, content, tuple(keys[1::2]))

    @property
    def whole(self) -> "Part":
        """Itself merged with the target of its `$ref`; its own keywords win."""
        target = self.target
        if target is None:
            return self
        own = {key: value for key, value in self.content.items() if key != "$ref"}
        found = target.whole
        return replace(found, content=found.content | own)

    @property
    def types(self) -> list[str]:
        """Its JSON types, `null` among them where it may be null."""
        kind = self.whole.content["type"]
        return [kind] if isinstance(kind, str) else list(kind)

    @property
    def is_record(self) -> bool:
        """Whether it is an object with named fields."""
        return "properties" in self.whole.content

    def inside(self, name: str, content: Json) -> "Part":
        """A part of this part."""
        return replace(self, content=content, trail=(*self.trail, name))

    @property
    def fields(self) -> Iterator["Part"]:
        """The fields of a record; the last name of a trail is the field's."""
        for name, content in self.content["properties"].items():
            yield self.inside(name, content)

    @property
    def definitions(self) -> Iterator["Part"]:
        """The definitions of a schema under `$defs`."""
        for name, content in self.content.get("$defs", {}).items():
            yield replace(self, content=content, trail=(name,))

    @property
    def element(self) -> "Part | None":
        """The item of a list or the value of a map; None for anything else."""
        if "items" in self.content:
            return self.inside("[]", self.content["items"])
        if isinstance(self.content.get("additionalProperties"), dict):
            return self.inside("*", self.content["additionalProperties"])
        return None
