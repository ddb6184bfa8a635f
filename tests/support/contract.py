"""What a service would answer, against contracts/openapi.yaml."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from validate import SCHEMAS, Json

ROOT = SCHEMAS.parents[1]
_URI = "urn:mfuscope:openapi"


@cache
def document() -> Json:
    """The contract as it is committed."""
    text = (ROOT / "contracts" / "openapi.yaml").read_text(encoding="utf-8")
    contract: Json = yaml.safe_load(text)
    return contract


def operations() -> Iterator[tuple[str, str, Json]]:
    """Path, method and Operation Object of every operation."""
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def operation(operation_id: str) -> Json:
    """The operation of an id."""
    found = [one for _, _, one in operations() if one["operationId"] == operation_id]
    assert len(found) == 1, f"{len(found)} operations are called {operation_id!r}"
    return found[0]


def resolved(part: Json) -> Json:
    """A part of the contract, or what its `$ref` leads to."""
    while "$ref" in part:
        keys = part["$ref"].removeprefix("#/").split("/")
        part = document()
        for key in keys:
            part = part[key]
    return part


def validate_response(operation_id: str, status: int, instance: object) -> None:
    """Check the JSON body of a response.

    Raises:
        AssertionError: there is no such response, or the body does not fit; names the field.
    """
    responses = operation(operation_id)["responses"]
    response = responses.get(str(status)) or (responses.get("default") if status >= 400 else None)
    assert response, f"{operation_id} never answers {status}"
    validate_content(resolved(response)["content"], instance, f"{operation_id} {status}")


def validate_request(operation_id: str, instance: object) -> None:
    """Check the JSON body of a request.

    Raises:
        AssertionError: the operation takes no body, or it does not fit; names the field.
    """
    body = operation(operation_id).get("requestBody")
    assert body, f"{operation_id} takes no body"
    validate_content(body["content"], instance, operation_id)


def validate_content(content: Json, instance: object, where: str) -> None:
    """Check a JSON body against the `content` of a request or response."""
    media = [value for name, value in content.items() if name.endswith("json")]
    assert len(media) == 1, f"{where} is not JSON but {list(content)}"
    error = best_match(_validator(media[0]["schema"]["$ref"]).iter_errors(instance))
    assert error is None, f"{where}: {error.json_path}: {error.message}"


@cache
def _validator(reference: str) -> Draft202012Validator:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry[Any]().with_resource(_URI, resource)
    return Draft202012Validator({"$ref": _URI + reference}, registry=registry)
