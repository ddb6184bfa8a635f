"""contracts/openapi.yaml: the hand-written base, the schemas, and one path per artefact."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from generate.bundle import COMPONENTS, bundled, component_name, components
from generate.schemas import Json, Schemas, artefacts

BASE = Path("contracts/openapi.base.yaml")
FILE = Path("contracts/openapi.yaml")

RESULTS = "results/"
MEDIA_TYPES = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".html": "text/html",
    ".md": "text/markdown",
    ".gz": "application/gzip",
}
#: Artefacts of `make flops`, which measures nothing; a profile does not make them.
NOT_OF_A_PROFILE = {"flops"}

_HEADER = """\
# Made by `make contracts` from openapi.base.yaml, examples/ and workflow/schemas; edit those.
"""


@dataclass(frozen=True, slots=True)
class Download:
    """An artefact to download.

    Attributes:
        name: the end of the operation's id.
        place: its path in the repository; words in capitals are placeholders.
        description: the artefact in words.
        media: the Media Type Object of its content.
    """

    name: str
    place: str
    description: str
    media: Json

    @property
    def path(self) -> str:
        """Its URL path, with a parameter for each word in capitals."""
        inner = self.place.removeprefix(RESULTS)
        inner = re.sub("[A-Z]+", lambda word: f"{{{word[0].lower()}}}", inner)
        return f"/profiles/{{profile_id}}/artefacts/{inner}"

    @property
    def item(self) -> Json:
        """Its Path Item Object."""
        names = re.findall("{(.*?)}", self.path)
        content = {MEDIA_TYPES[PurePosixPath(self.place).suffix]: self.media}
        responses = "#/components/responses/"
        return {
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
            "get": {
                "operationId": f"download{self.name}",
                "tags": ["artefacts"],
                "summary": f"Download {self.place.removeprefix(RESULTS)}",
                "description": self.description,
                "responses": {
                    "200": {"description": "The file.", "content": content},
                    "401": {"$ref": f"{responses}Unauthorized"},
                    "404": {"$ref": f"{responses}NotFound"},
                    "default": {"$ref": f"{responses}Error"},
                },
            },
        }


def openapi(base: Path, schemas: Schemas) -> str:
    """The whole document as YAML.

    Raises:
        ValueError: two components have the same name.
    """
    document: Json = bundled(
        yaml.safe_load(base.read_text(encoding="utf-8")), schemas, folder=base.parent
    )
    made = document["components"]["schemas"]
    for name, component in components(schemas):
        if name in made:
            raise ValueError(f"two components are called {name!r}")
        made[name] = component
    files = document.pop("x-files")
    for download in downloads(files, schemas):
        document["paths"][download.path] = download.item
    return _HEADER + yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def downloads(files: list[Json], schemas: Schemas) -> Iterator[Download]:
    """Every artefact of a profile: files without a schema, then files with one."""
    for file in files:
        media: Json = {} if file["x-path"].endswith(".gz") else {"schema": {"type": "string"}}
        yield Download(file["name"], file["x-path"], file["description"], media)
    for name, place in artefacts(schemas).items():
        if not place.startswith(RESULTS) or name in NOT_OF_A_PROFILE:
            continue
        component, description = component_name(schemas, name), schemas[name]["description"]
        media = {"schema": {"$ref": COMPONENTS + component}}
        if place.endswith(".csv"):
            description += f" The component {component} describes a row."
            media = {"schema": {"type": "string"}, "x-row-schema": COMPONENTS + component}
        yield Download(component, place, description, media)


class _Dumper(yaml.SafeDumper):
    """YAML for readers: no aliases, and block style for texts of several lines."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
