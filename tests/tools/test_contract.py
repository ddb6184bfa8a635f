"""contracts/openapi.yaml: valid, generated from what is committed, and true to the schemas."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import builders
import msgspec
import pytest
import yaml
from contract import (
    ROOT,
    document,
    operation,
    operations,
    resolved,
    validate_content,
    validate_request,
    validate_response,
)
from generate.openapi import BASE, FILE, NOT_OF_A_PROFILE, openapi
from generate.schemas import FOLDER, read_schemas
from openapi_spec_validator import OpenAPIV31SpecValidator
from validate import Json, artefacts, schemas


def as_json(record: Any) -> Json:
    made: Json = msgspec.json.decode(msgspec.json.encode(record))
    return made


def pascal(*names: str) -> str:
    return "".join(name.title().replace("_", "") for name in names)


def nodes(part: Any) -> Iterator[Json]:
    """Every object in a part of the document."""
    if isinstance(part, list):
        for item in part:
            yield from nodes(item)
    elif isinstance(part, dict):
        yield part
        for value in part.values():
            yield from nodes(value)


# ---------------------------------------------------------------- the document


def test_is_up_to_date() -> None:
    made = openapi(ROOT / BASE, read_schemas(ROOT / FOLDER))
    assert (ROOT / FILE).read_text(encoding="utf-8") == made, f"run `make contracts`, commit {FILE}"


def test_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_stands_alone() -> None:
    references = [node["$ref"] for node in nodes(document()) if isinstance(node.get("$ref"), str)]
    assert len(references) > 200
    for reference in references:
        assert reference.startswith("#/components/")
        assert resolved({"$ref": reference}), reference


def test_says_that_there_is_no_server() -> None:
    assert "holds no server" in document()["info"]["description"]


def test_components_are_the_workflow_s_schemas() -> None:
    """Everything but references is the same."""

    def without_references(part: Any) -> Any:
        if isinstance(part, list):
            return [without_references(item) for item in part]
        if not isinstance(part, dict):
            return part
        return {key: without_references(part[key]) for key in part if key != "$ref"}

    components = document()["components"]["schemas"]
    for file, schema in schemas().items():
        name = file.partition(".")[0]
        own_name = [name] if "x-path" in schema else []
        content = {key: value for key, value in schema.items() if key[0] != "$"}
        if own_name:
            assert without_references(components[pascal(name)]) == without_references(content)
        for key, definition in schema.get("$defs", {}).items():
            component = components[pascal(*own_name, key)]
            assert without_references(component) == without_references(definition)


def test_every_operation_is_described_and_answers_errors_as_problems() -> None:
    ids = [one["operationId"] for _, _, one in operations()]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in document()["tags"]}
    for path, _, one in operations():
        assert set(one["tags"]) <= tags
        assert one["summary"]
        assert one["description"].endswith("."), path
        assert {"401", "default"} <= set(one["responses"])
        assert ("{" in path) == ("404" in one["responses"])
        for status, response in one["responses"].items():
            if not status.startswith("2"):
                assert list(resolved(response)["content"]) == ["application/problem+json"]
    assert document()["security"] == [{"bearer": []}]


def test_every_artefact_of_a_profile_has_a_path() -> None:
    found = {
        re.sub("{.*?}", "*", path.partition("/artefacts/")[2]): one["responses"]["200"]["content"]
        for path, _, one in operations()
        if "/artefacts/" in path
    }
    media = {".json": "application/json", ".csv": "text/csv", ".md": "text/markdown"}
    media |= {".html": "text/html", ".gz": "application/gzip"}
    for place, content in found.items():
        assert list(content) == [media[Path(place).suffix]]
    described = {place for place, name in artefacts().items() if name not in NOT_OF_A_PROFILE}
    documents = {"report.html", "report.md", "stakeholder.md", "operators.md", "stakeholder.html"}
    assert described | documents | {"*/traces/*/*.json.gz"} <= set(found)
    for place in described:
        (content,) = found[place].values()
        component = content.get("x-row-schema") or content["schema"]["$ref"]
        assert component == f"#/components/schemas/{pascal(artefacts()[place])}"


def test_a_new_schema_appears_by_itself(tmp_path: Path) -> None:
    added: Json = {
        "title": "Note",
        "x-path": "results/VARIANT/notes/IMAGE.json",
        "description": "What somebody noted.",
        "type": "object",
        "properties": {"device": {"$ref": "common.schema.yaml#/$defs/device"}},
    }
    made = yaml.safe_load(openapi(ROOT / BASE, read_schemas(ROOT / FOLDER) | {"note": added}))
    assert made["components"]["schemas"]["Note"]["properties"] == {
        "device": {"$ref": "#/components/schemas/Device"}
    }
    one = made["paths"]["/profiles/{profile_id}/artefacts/{variant}/notes/{image}.json"]["get"]
    assert one["operationId"] == "downloadNote"
    OpenAPIV31SpecValidator(made).validate()


def test_two_components_of_one_name_are_refused() -> None:
    twice = read_schemas(ROOT / FOLDER)
    twice["profile"] = twice["run"]
    with pytest.raises(ValueError, match="two components are called 'Profile'"):
        openapi(ROOT / BASE, twice)


# ---------------------------------------------------------------- its examples


def contents() -> Iterator[tuple[str, Json]]:
    """The content of every request and response that has examples."""
    for _, _, one in operations():
        if "requestBody" in one:
            yield f"{one['operationId']} request", one["requestBody"]["content"]
        for status, response in one["responses"].items():
            yield f"{one['operationId']} {status}", resolved(response).get("content", {})


EXAMPLES = [
    pytest.param(content, example, id=f"{where} {name}")
    for where, content in contents()
    for media in content.values()
    for name, example in media.get("examples", {}).items()
]


@pytest.mark.parametrize(("content", "example"), EXAMPLES)
def test_example_fits(content: Json, example: Json) -> None:
    found = resolved(example)
    assert found["summary"]
    validate_content(content, found["value"], found["summary"])


def test_main_requests_and_responses_have_examples() -> None:
    ids = {str(example.id).rpartition(" ")[0] for example in EXAMPLES}
    assert ids >= {
        *("submitProfile request", "submitProfile 202", "submitProfile 422", "submitProfile 400"),
        *("getProfile 200", "cancelProfile 202", "cancelProfile 409", "getReport 200"),
        *("getReport 404", "listRuns 200", "listArtefacts 200"),
    }


# ---------------------------------------------------------------- requests and responses


def test_settings_of_the_workflow_can_be_submitted() -> None:
    text = (ROOT / "config" / "config.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    with pytest.raises(AssertionError, match="worker"):
        validate_request("submitProfile", {"settings": {"worker": settings.pop("worker")}})
    with pytest.raises(AssertionError, match="flops"):
        validate_request("submitProfile", {"settings": {"flops": settings.pop("flops")}})
    validate_request("submitProfile", {"settings": settings})


@pytest.mark.parametrize(
    "request_body", [{}, {"settings": {"reapeats": 3}}, {"settings": {"repeats": 0}}]
)
def test_wrong_settings_do_not_fit(request_body: Json) -> None:
    with pytest.raises(AssertionError):
        validate_request("submitProfile", request_body)


@pytest.mark.parametrize("name", ["run", "calibration", "ceiling", "hardware", "activity"])
def test_records_fit_their_downloads(name: str) -> None:
    record = as_json(getattr(builders, name)())
    download = f"download{name.capitalize()}"
    validate_response(download, 200, record)
    with pytest.raises(AssertionError, match="note"):
        validate_response(download, 200, record | {"note": "unknown"})


def test_runs_fit_their_list() -> None:
    items = [as_json(builders.run(repeat=repeat)) for repeat in range(2)]
    validate_response("listRuns", 200, {"items": items, "next_cursor": None})
    with pytest.raises(AssertionError, match=r"items\[1\]"):
        validate_response("listRuns", 200, {"items": [items[0], {}], "next_cursor": None})


def report() -> Json:
    """A summary of one variant."""
    statistic = {
        **{"n": 12, "mean": 0.5, "std": 0.1, "cv": 0.2},
        **{"ci95_low": 0.4, "ci95_high": 0.6, "std_repeats": None},
        **dict.fromkeys(("total", "total_ci95_low", "total_ci95_high")),
    }
    names = (
        "page_ms",
        "prefill_ms",
        "decode_tokens_per_s",
        "mfu_model",
        "mfu_prefill",
        "mfu_decode",
    )
    changes = {"cache": "static", "batch_size": 8, "ignore_eos": False}
    ratio = {"ratio": 0.25, "ci95_low": 0.2, "ci95_high": 0.3, "same_tokens": None}
    gain = {
        **{"variant": "quick", "changes": changes, "gain_ms": 80.0, "of_ms": 90.0},
        **{"ci95_low": None, "ci95_high": None, "of_bound": None, "verdict": None},
    }
    return {
        "mfuscope": {"version": "0.1.0", "commit": None},
        "title": "deepseek-ocr on a GPU",
        "device": as_json(builders.gpu()),
        "measured": {
            **{"first": builders.MEASURED_AT, "last": builders.MEASURED_AT},
            **{"pages": 12, "repeats": 3, "runs": 36, "missing_runs": 0, "skipped_pages": 0},
        },
        "notices": ["Dummy weights."],
        "verdict": "The host limits it.",
        "do_first": {
            **{"title": "A graph", "gain": "at most −80 ms a page", "gain_ms": 80.0},
            **{"ci95_low": None, "ci95_high": None, "confidence": "bound"},
        },
        "variants": [
            {
                "name": "baseline",
                "answer": {
                    **dict.fromkeys(("new_tokens_least", "new_tokens_most"), 64),
                    **{"new_tokens_mean": 64.0, "tpot_ms": None, "half_decode_tokens": None},
                },
                "model": as_json(builders.model()),
                "headline": dict.fromkeys(names, statistic),
                "limit": {"stage": "decode", "kind": "host", "sentence": "It waits."},
                "cost_centres": [{"key": "decode", "stage": "decode", "ms": 100.0, "share": 1}],
                "recommendations": [
                    {
                        **{"rule": "launch_bound", "title": "A graph", "text": "Capture it."},
                        **{"evidence": ["busy for 14 %"], "gain_ms": None},
                        **{"cure": {"compile": "decode"}, "measured": gain},
                    }
                ],
            }
        ],
        "tried": {
            "sentences": ["It is faster."],
            "fastest": {"variant": "quick", "changes": changes, "metric": "page_ms"} | ratio,
            "throughput": None,
        },
        "warnings": [{"check": "repeats", "text": "They differ."}],
    }


@pytest.mark.parametrize("operation_id", ["getReport", "downloadReport"])
def test_report_fits(operation_id: str) -> None:
    validate_response(operation_id, 200, report())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("title",), None),
        (("note",), "unknown"),
        (("measured", "first"), "2026-01-02 03:04:05"),
        (("measured", "runs"), 0),
        (("device", "kind"), "gpu"),
        (("variants",), []),
        (("do_first", "confidence"), "high"),
        (("variants", 0, "name"), "../baseline"),
        (("variants", 0, "model", "weights"), "random"),
        (("variants", 0, "headline", "mfu_model"), 0.5),
        (("variants", 0, "limit", "kind"), "luck"),
        (("variants", 0, "cost_centres", 0, "share"), 1.5),
        (("variants", 0, "recommendations", 0, "evidence"), []),
        (("variants", 0, "recommendations", 0, "measured", "gain_ms"), None),
        (("tried", "fastest", "ratio"), 0),
        (("warnings", 0), "They differ."),
    ],
)
def test_broken_report_does_not_fit(path: tuple[str | int, ...], value: object) -> None:
    body = report()
    inner: Any = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(AssertionError, match=str(path[-1] if path[-1] != 0 else path[0])):
        validate_response("getReport", 200, body)


def test_errors_are_problems() -> None:
    problem = {"type": "about:blank", "title": "No", "status": 503, "detail": "Not now."}
    validate_response("getReport", 503, problem)
    with pytest.raises(AssertionError, match="never answers 204"):
        validate_response("getReport", 204, {})
    with pytest.raises(AssertionError, match="detail"):
        validate_response("getReport", 404, {"type": "about:blank", "title": "No", "status": 404})


def test_key_and_location_are_headers() -> None:
    one = operation("submitProfile")
    (key,) = [resolved(parameter) for parameter in one["parameters"]]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
    assert "Location" in one["responses"]["202"]["headers"]
