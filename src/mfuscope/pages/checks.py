"""Which pages can be measured: each is looked at, and each bad one told, before all else.

Headers are read by every call. Pixels are decoded where something will be measured, as a truncated
file shows itself only then; a page that an earlier inputs.csv knows by its content is not decoded
again.
"""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mfuscope.core.errors import UserError
from mfuscope.core.records import SkippedPage
from mfuscope.pages.images import ImageFile, Unusable, check_decodes, image_size
from mfuscope.pages.quiet import quiet_libraries
from mfuscope.storage.artefacts import read_json, write_json


def header_sizes(
    images: Mapping[str, ImageFile],
) -> tuple[dict[str, tuple[int, int]], dict[str, UserError]]:
    """Width and height in pixels by page, and what is wrong with the pages that tell none."""
    sizes, bad = {}, {}
    with quiet_libraries():
        for key, image in images.items():
            try:
                sizes[key] = image_size(image.path)
            except UserError as error:
                bad[key] = error
    return sizes, bad


def undecodable(
    images: Mapping[str, ImageFile], known: Mapping[str, str], digest: Callable[[str], str]
) -> dict[str, UserError]:
    """Decode every page that is not known by its content; what is wrong with the bad ones.

    Args:
        known: SHA-256 by path of pages that were decoded before (`known_pages`).
        digest: SHA-256 of a page as it is (`planning.Plan.digest`).
    """
    bad = {}
    for key, image in images.items():
        try:
            if known.get(str(image.path)) != digest(key):
                with quiet_libraries():
                    check_decodes(image.path)
        except UserError as error:
            bad[key] = error
    return bad


def bad_page(image: ImageFile, error: UserError) -> Unusable:
    """A page with what is wrong with it."""
    return Unusable(image.id, image.path, error)


def skipped_page(bad: Unusable) -> SkippedPage:
    """What results say of a page that is left out; they can hold any path so."""
    path = os.fsencode(bad.path).decode("utf-8", "backslashreplace")
    return SkippedPage(image=bad.id, path=path, reason=bad.error.problem)


def known_pages(table: Path) -> dict[str, str]:
    """SHA-256 by path of the pages that an earlier inputs.csv tells of.

    Empty without one, and where it is damaged: mending comes later, and decoding a page once more
    does no harm.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {row.get("path", ""): row.get("sha256", "") for row in csv.DictReader(file)}
    except (OSError, ValueError, csv.Error):
        return {}


def note_skipped(path: Path, skipped: Sequence[SkippedPage]) -> None:
    """Leave a note of the pages that a call leaves out, for its jobs on other machines."""
    if skipped or path.exists():
        write_json(path, skipped)


def noted_skipped(path: Path) -> list[SkippedPage]:
    """The pages that the call which this job belongs to leaves out."""
    return read_json(path, list[SkippedPage]) if path.exists() else []
