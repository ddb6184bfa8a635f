"""The bundled sample pages: complete, valid, varied, and each with its licence."""

import csv
import fnmatch
import hashlib
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mfuscope.pages.categories import CATEGORIES, read_categories
from mfuscope.pages.discovery import find_pages

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data" / "samples"
LICENSES = ROOT / "LICENSES"
TEXT_FILES = {"README.md", "NOTICE.md", "samples.csv"}
COLUMNS = [
    "file",
    "category",
    "title",
    "source",
    "source_version",
    "source_path",
    "page",
    "command",
    "licence",
    "copyright",
    "language",
    "width",
    "height",
    "sha256",
    "note",
]
MAX_BYTES = 2_000_000


def read_rows() -> list[dict[str, str]]:
    with (SAMPLES / "samples.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


ROWS = read_rows()
each_page = pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])


def licence_ids(expression: str) -> set[str]:
    """The licences in an SPDX expression."""
    return set(re.findall(r"[A-Za-z0-9][A-Za-z0-9.+-]*", expression)) - {"AND", "OR", "WITH"}


def applying_annotation(path: str) -> dict[str, Any]:
    """The annotation of REUSE.toml that counts for a file: the last one that matches."""
    annotations = tomllib.loads((ROOT / "REUSE.toml").read_text(encoding="utf-8"))["annotations"]

    def matches(annotation: dict[str, Any]) -> bool:
        globs = annotation["path"]
        globs = [globs] if isinstance(globs, str) else globs
        return any(fnmatch.fnmatchcase(path, glob) for glob in globs)

    found: dict[str, Any] = [part for part in annotations if matches(part)][-1]
    return found


def notice_sections() -> dict[str, str]:
    parts = (SAMPLES / "NOTICE.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return dict(part.split("\n", 1) for part in parts)


def page_sizes() -> list[tuple[int, int]]:
    sizes = []
    for row in ROWS:
        with Image.open(SAMPLES / row["file"]) as image:
            sizes.append(image.size)
    return sizes


def test_manifest_has_the_columns() -> None:
    with (SAMPLES / "samples.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == COLUMNS


def test_manifest_and_folder_agree() -> None:
    listed = [row["file"] for row in ROWS]
    assert len(listed) == len(set(listed))
    assert {path.name for path in SAMPLES.iterdir()} == set(listed) | TEXT_FILES


def test_workflow_sees_the_same_pages_and_categories() -> None:
    pages, _ = find_pages(SAMPLES)
    assert {page.relative for page in pages.values()} == {row["file"] for row in ROWS}
    assert read_categories(SAMPLES) == {row["file"]: row["category"] for row in ROWS}


@each_page
def test_page_has_no_empty_field(row: dict[str, str]) -> None:
    assert [column for column in COLUMNS if not row[column].strip()] == []
    assert int(row["page"]) >= 1


@each_page
def test_page_is_the_recorded_file(row: dict[str, str]) -> None:
    assert hashlib.sha256((SAMPLES / row["file"]).read_bytes()).hexdigest() == row["sha256"]


@each_page
def test_page_decodes_to_the_recorded_size(row: dict[str, str]) -> None:
    with Image.open(SAMPLES / row["file"]) as image:
        image.load()
        assert image.size == (int(row["width"]), int(row["height"]))


def test_every_category_has_at_least_three_pages() -> None:
    counts = Counter(row["category"] for row in ROWS)
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 3


def test_pages_vary_in_shape_and_size() -> None:
    sizes = page_sizes()
    assert any(width > height for width, height in sizes), "no landscape page"
    assert any(max(size) / min(size) > 4 for size in sizes), "no page with aspect ratio above 4"
    assert any(max(size) <= 640 for size in sizes), "no page within 640 x 640"
    assert any(max(size) >= 4000 for size in sizes), "no page with a side of 4000 pixels"


def test_pages_vary_in_language_mode_and_format() -> None:
    assert len({row["language"] for row in ROWS}) >= 5
    modes, formats = set(), set()
    for row in ROWS:
        with Image.open(SAMPLES / row["file"]) as image:
            modes.add(image.mode)
            formats.add(image.format)
    assert "1" in modes, "no 1-bit page"
    assert {"PNG", "JPEG"} <= formats


def test_set_is_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < MAX_BYTES


@each_page
def test_licence_text_is_there(row: dict[str, str]) -> None:
    for licence in licence_ids(row["licence"]):
        text = (LICENSES / f"{licence}.txt").read_text(encoding="utf-8")
        assert len(text) > 1000, f"{licence}.txt is too short to be the full text"


def test_no_licence_text_is_left_over() -> None:
    used = {"MIT"}.union(*(licence_ids(row["licence"]) for row in ROWS))
    assert {path.name for path in LICENSES.iterdir()} == {f"{licence}.txt" for licence in used}


@each_page
def test_reuse_names_the_page(row: dict[str, str]) -> None:
    path = f"data/samples/{row['file']}"
    annotation = applying_annotation(path)
    assert annotation["path"] == path
    assert annotation["precedence"] == "override"
    assert annotation["SPDX-License-Identifier"] == row["licence"]
    holders = annotation["SPDX-FileCopyrightText"]
    assert (holders if isinstance(holders, str) else "; ".join(holders)) == row["copyright"]


def test_reuse_puts_the_own_files_under_mit() -> None:
    for path in ("pyproject.toml", "tests/pages/test_samples.py", "data/samples/README.md"):
        annotation = applying_annotation(path)
        assert annotation["SPDX-License-Identifier"] == "MIT"
        assert annotation["SPDX-FileCopyrightText"] == "2026 the mfuscope authors"


def test_notice_has_one_section_per_page() -> None:
    assert list(notice_sections()) == [row["file"] for row in ROWS]


@each_page
def test_notice_agrees_with_the_manifest(row: dict[str, str]) -> None:
    lines = notice_sections()[row["file"]].splitlines()
    assert f"- Title: {row['title']}" in lines
    assert f"- Copyright: {row['copyright']}" in lines
    assert f"- Licence: {row['licence']}" in lines
    if any(licence.startswith(("GPL", "GFDL")) for licence in licence_ids(row["licence"])):
        assert any(line.startswith("- Source: ") for line in lines), "no place of the source named"


@each_page
def test_readme_lists_the_page(row: dict[str, str]) -> None:
    table = (SAMPLES / "README.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in table if line.startswith(f"| `{row['file']}` |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == row["category"]
    assert cells[2] == f"{row['width']} x {row['height']}"
    assert cells[-1] == row["licence"]
