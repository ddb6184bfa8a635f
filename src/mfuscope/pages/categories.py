"""The category of a page: text-heavy, of mixed layout, rich in images, or the user's own word."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from mfuscope.pages.discovery import PageFile

CATEGORIES = ("text_heavy", "mixed_layout", "image_rich")

# A spreadsheet runs a cell that begins with one of these as a formula (OWASP, "CSV Injection").
_FORMULA = "[=+\\-@\t\r\n]"
_TO_NEUTRALISE = re.compile(f"'*{_FORMULA}")
_NEUTRALISED = re.compile(f"'+{_FORMULA}")


def read_categories(folder: Path) -> dict[str, str]:
    """Categories by file name from a folder's ``samples.csv`` (columns file, category).

    A file of that name without those columns, or an unreadable one, is ignored: it may belong to
    something else.
    """
    manifest = folder / "samples.csv"
    if not manifest.is_file():
        return {}
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which would spoil the first column.
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"file", "category"} <= set(rows.fieldnames or ()):
                return {}
            return {row["file"]: row["category"] or "" for row in rows}
    except (OSError, ValueError, csv.Error):
        return {}


def category_of(page: PageFile, categories: Mapping[str, str]) -> str:
    """The category of a page: from ``samples.csv``, else a sub-folder's name, else empty."""
    if page.relative in categories:
        return categories[page.relative]
    folders = page.relative.split("/")[:-1]
    return next((name for name in folders if name in CATEGORIES), "")


def neutralised(text: str) -> str:
    """A text for a cell of a CSV file, with an apostrophe before what a spreadsheet would run.

    An apostrophe that stands before such a character already gets another: `original` restores
    every text.
    """
    return f"'{text}" if _TO_NEUTRALISE.match(text) else text


def original(text: str) -> str:
    """The text that `neutralised` was given."""
    return text[1:] if _NEUTRALISED.match(text) else text
