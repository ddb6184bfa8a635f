"""docs/data-model.md: generated from what is committed, complete, and Markdown that holds."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from generate.data_model import FILE, data_model
from generate.fields import unit
from generate.markdown import anchor, escape
from generate.schemas import Part, read_schemas
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from validate import SCHEMAS, Json

ROOT = SCHEMAS.parents[1]
MARKDOWN = MarkdownIt("commonmark").enable("table")


@pytest.fixture(scope="module")
def page() -> str:
    return data_model(read_schemas(SCHEMAS))


def test_is_up_to_date(page: str) -> None:
    assert (ROOT / FILE).read_text(encoding="utf-8") == page, f"run `make contracts`, commit {FILE}"


def records(part: Any) -> Iterator[Json]:
    """Every object with named fields in a schema."""
    if isinstance(part, list):
        for item in part:
            yield from records(item)
    elif isinstance(part, dict):
        if isinstance(part.get("properties"), dict) and "type" in part:
            yield part
        for value in part.values():
            yield from records(value)


def tables(tokens: list[Token]) -> list[list[list[str]]]:
    """Rows of the tables of a page, each a list of cells."""
    found: list[list[list[str]]] = []
    for token, inline in pairwise(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            found[-1][-1].append(inline.content if inline.type == "inline" else "")
    return found


def test_every_field_has_its_row_once(page: str) -> None:
    made = [rows for rows in tables(MARKDOWN.parse(page)) if rows[0][0] == "field"]
    written = sorted([row[0].strip("`") for row in rows[1:]] for rows in made)
    described = [record for schema in read_schemas(SCHEMAS).values() for record in records(schema)]
    assert written == sorted(list(record["properties"]) for record in described)


def test_rows_have_as_many_cells_as_their_header(page: str) -> None:
    for rows in tables(MARKDOWN.parse(page)):
        assert {len(row) for row in rows} == {len(rows[0])}
    # A renderer leaves surplus cells out; so count the bars that are not escaped, too.
    for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_links_lead_somewhere(page: str) -> None:
    tokens = MARKDOWN.parse(page)
    anchors = [
        anchor(inline.content) for token, inline in pairwise(tokens) if token.type == "heading_open"
    ]
    assert len(set(anchors)) == len(anchors), "GitHub numbers headings of one name"
    targets = {
        str(child.attrGet("href"))
        for token in tokens
        for child in token.children or []
        if child.type == "link_open"
    }
    assert len(targets) > 50
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (ROOT / "docs" / target).exists(), target


def test_limits_are_shown(page: str) -> None:
    for shown in (
        "| `repeats` | integer, 1 to 10000 |  | optional, default `3` |",
        "number, 0 to 1 | fraction |",
        "list (exactly 3) of integer, ≥ 1",
        "list (not empty, at most 100) of string",
        "string, not empty, at most 4096 characters",
        "map (at most 100 keys)",
        "one of `bf16`, `fp16`, `fp32`",
        "one of `faster`, `slower`, `higher`, `lower`, `no difference shown` | ",
        r"like `^(auto\|cpu\|cuda(:[0-9]{1,3})?)$`",
        "map (always with `prefill`) from string",
        "(setting [`profiler.decode_steps`](#mfuscope-settings-profiler))",
    ):
        assert shown in page


def test_a_new_schema_appears_by_itself(tmp_path: Path) -> None:
    schemas = read_schemas(SCHEMAS)
    added: Json = {
        "title": "Note",
        "x-path": "results/VARIANT/notes/IMAGE.json",
        "description": "What somebody noted. And when.",
        "type": "object",
        "properties": {"device": {"$ref": "common.schema.yaml#/$defs/device"}},
    }
    path = tmp_path / "note.schema.yaml"
    path.write_text(yaml.safe_dump(added), encoding="utf-8")
    page = data_model(schemas | read_schemas(tmp_path))
    assert "| [Note](#note) | `results/VARIANT/notes/IMAGE.json` | What somebody noted |" in page
    assert "| `device` | object ([device](#device)) | optional |" in page
    del added["x-path"]
    path.write_text(yaml.safe_dump(added), encoding="utf-8")
    with pytest.raises(ValueError, match=r"note\.schema\.yaml: add `x-path`"):
        read_schemas(tmp_path)


def test_a_keyword_without_words_is_refused() -> None:
    schemas = read_schemas(SCHEMAS)
    schemas["run"]["properties"]["protocol"]["multipleOf"] = 2
    with pytest.raises(ValueError, match=r"run\.protocol: .* no words for \['multipleOf'\]"):
        data_model(schemas)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("prefill_ms", "number", "ms"),
        ("decode_tokens_per_s", "number", "tokens/s"),
        ("decode_gflops_per_token_directional", "number", "GFLOP/token"),
        ("peak_tflops", "number", "TFLOP/s"),
        ("mfu_model_of_ceiling", "number", "fraction"),
        ("decode_flop_per_byte", "number", "FLOP/byte"),
        ("energy_j", "number", "J"),
        ("temperature_c", "integer", "°C"),
        ("prompt_tokens", "integer", "tokens"),
        ("decode_steps", "integer", ""),
        ("flops", "object", ""),
        ("stages", "string", ""),
    ],
)
def test_units_follow_from_names(name: str, kind: str, expected: str) -> None:
    assert unit(Part({}, "run", {"type": kind}, (name,))) == expected


PLAIN = st.text(st.sampled_from("ab1 _*<>[]()|~$&#\\!.:-/{}"), max_size=20)


@given(PLAIN, PLAIN)
def test_escaped_text_is_shown_as_it_is(text: str, code: str) -> None:
    code = code.replace("\\", "").strip() or "code"
    source = f"| a |\n| --- |\n| {escape(f'{text} `{code}` end')} |\n"
    cells = [token for token in MARKDOWN.parse(source) if token.type == "inline"]
    assert len(cells) == 2
    children = cells[1].children or []
    assert {child.type for child in children} <= {"text", "text_special", "code_inline"}
    shown = "".join(child.content for child in children)
    assert shown == f"{text} {code} end".strip()
