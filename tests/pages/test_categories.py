"""Categories of pages: where they come from, and how a CSV file holds them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.pages.categories import category_of, neutralised, original, read_categories
from mfuscope.pages.discovery import find_pages


def test_categories_come_from_the_manifest_or_the_folder(tmp_path: Path) -> None:
    for name in ("a.png", "text_heavy/b.png", "c.png", "other/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "samples.csv").write_text("file,category\na.png,image_rich\n")
    categories = read_categories(tmp_path)
    pages, _ = find_pages(tmp_path)
    assert {page.relative: category_of(page, categories) for page in pages.values()} == {
        "a.png": "image_rich",
        "c.png": "",
        "other/d.png": "",
        "text_heavy/b.png": "text_heavy",
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,size\na.png,3\n",
        b"file,size\na.png,3\n",
        b"file,category\n\xff\xfe.png,mixed_layout\n",
        b"file,category\n" + b"x" * 200_000 + b",mixed_layout\n",  # beyond csv's field limit
    ],
)
def test_a_manifest_of_another_kind_is_ignored(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_bytes(content)
    assert read_categories(tmp_path) == {}


def test_manifests_from_spreadsheets_are_read(tmp_path: Path) -> None:
    text = "\ufefffile,category\na.png,mixed_layout\nb.png\n"
    (tmp_path / "samples.csv").write_text(text, encoding="utf-8")
    assert read_categories(tmp_path) == {"a.png": "mixed_layout", "b.png": ""}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_formulas_are_neutralised(text: str) -> None:
    assert neutralised(text) == f"'{text}"
    assert original(f"'{text}") == text


@pytest.mark.parametrize("text", ["", "text_heavy", "a=b", "'quoted'", " =1"])
def test_other_categories_stay_as_they_are(text: str) -> None:
    assert neutralised(text) == original(text) == text


@given(st.text() | st.text(alphabet="'=+-@\t\r\n a", max_size=5))
def test_every_category_is_restored(text: str) -> None:
    safe = neutralised(text)
    assert original(safe) == text
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
