"""The JSON Schemas of the settings and of every artefact, and what references in them lead to.

A schema is known by its name: `run` is run.schema.yaml. Its keyword `x-path` says where its
artefact lies, in which words in capitals stand for what differs between files, such as IMAGE. A
schema without `x-path` holds parts that others share.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Schemas = Mapping[str, Json]

#: Where the schemas lie in the repository.
FOLDER = Path("workflow/schemas")
SUFFIX = ".schema.yaml"


def read_schemas(folder: Path) -> dict[str, Json]:
    """Every schema in a folder by its name.

    Raises:
        ValueError: one describes a record, and does not say where it lies.
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
    """Whether a schema holds parts that others share, and describes no file."""
    return "x-path" not in schemas[name]


def artefacts(schemas: Schemas) -> dict[str, str]:
    """Where each artefact and the settings lie, by the name of their schema.

    In an order to read them: the settings, files of the whole workflow, files of a variant.
    """
    places = {
        name: schema["x-path"] for name, schema in schemas.items() if not is_shared(schemas, name)
    }

    def depth(name: str) -> tuple[bool, int, str]:
        return places[name].startswith("results/"), places[name].count("/"), places[name]

    return {name: places[name] for name in sorted(places, key=depth)}


def split_reference(reference: str, home: str) -> tuple[str, list[str]]:
    """The schema and the keys in it that a `$ref` in the schema `home` leads to."""
    file, _, pointer = reference.partition("#")
    name = file.rpartition("/")[2].removesuffix(SUFFIX) or home
    keys = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    return name, keys


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a schema, and where it stands.

    Attributes:
        schemas: what references lead to.
        home: name of the schema that it stands in.
        content: its keywords.
        trail: names of the definition or property that it is, from the outside in; `[]` in it are
            the items of a list, `*` the values of a map.
    """

    schemas: Schemas
    home: str
    content: Json
    trail: tuple[str, ...] = ()

    @property
    def target(self) -> "Part | None":
        """What its `$ref` leads to, if it has one."""
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
        """Itself with what its `$ref` leads to; its own keywords win."""
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
        """The fields of a record; the name is the last of their trail."""
        for name, content in self.content["properties"].items():
            yield self.inside(name, content)

    @property
    def definitions(self) -> Iterator["Part"]:
        """What a schema defines under `$defs`."""
        for name, content in self.content.get("$defs", {}).items():
            yield replace(self, content=content, trail=(name,))

    @property
    def element(self) -> "Part | None":
        """What each item of a list or each value of a map is; None for anything else."""
        if "items" in self.content:
            return self.inside("[]", self.content["items"])
        if isinstance(self.content.get("additionalProperties"), dict):
            return self.inside("*", self.content["additionalProperties"])
        return None
