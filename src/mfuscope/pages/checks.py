"""Which pages can be measured: every page is checked before anything is measured.

A new page is decoded, as only that shows truncation. A page that results/inputs.csv lists with the
same content was decoded before, and is only digested.
"""

import csv
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from mfuscope.core.errors import UserError
from mfuscope.core.records import SkippedPage
from mfuscope.pages.categories import original
from mfuscope.pages.decoding import PageFacts, decode_page, digest_page, unreadable
from mfuscope.pages.discovery import PageFile, UnusablePage
from mfuscope.pages.headers import TooManyPixelsError, check_pixels
from mfuscope.pages.quiet import quiet_libraries

_CLOCK_TOLERANCE_S = 60.0  # how far the clocks of a file server and this machine may differ
_MAX_THREADS = 8  # each holds one decoded page, up to 1.2 GB at 150 megapixels


def known_pages(table: Path) -> dict[str, PageFacts]:
    """The facts by path of the pages that an earlier inputs.csv lists.

    Empty without such a table, and where it is unreadable: the pages are decoded again then.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {
                original(row["path"]): PageFacts(
                    row["sha256"], int(row["width"]), int(row["height"]), int(row["frames"])
                )
                for row in csv.DictReader(file)
            }
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        return {}


def check_pages(
    pages: Mapping[str, PageFile], known: Mapping[str, PageFacts], max_megapixels: float
) -> tuple[dict[str, PageFacts], list[UnusablePage]]:
    """Check every page once, on several cores, and keep libraries from printing.

    Args:
        pages: by id.
        known: facts by path of pages that were decoded before (`known_pages`).
        max_megapixels: the most pixels that a page may have, in millions.

    Returns:
        The facts of the usable pages by id, and the unusable pages, both in the order of `pages`.
    """
    latest = time.time() + _CLOCK_TOLERANCE_S

    def check(page: PageFile) -> PageFacts | UnusablePage:
        try:
            _check_date(page.path, latest)
            return _facts(page.path, known.get(str(page.path)), max_megapixels)
        except UserError as error:
            return UnusablePage(page.id, page.path, error)

    threads = min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    with quiet_libraries(), ThreadPoolExecutor(threads) as pool:
        results = dict(zip(pages, pool.map(check, pages.values()), strict=True))
    facts = {key: one for key, one in results.items() if isinstance(one, PageFacts)}
    return facts, [one for one in results.values() if isinstance(one, UnusablePage)]


def skipped_page(page: UnusablePage) -> SkippedPage:
    """What results record of a page that is left out; bytes that are no UTF-8 are escaped."""
    path = os.fsencode(page.path).decode("utf-8", "backslashreplace")
    return SkippedPage(image=page.id, path=path, reason=page.error.problem)


def _facts(path: Path, known: PageFacts | None, max_megapixels: float) -> PageFacts:
    if known is None or digest_page(path) != known.sha256:
        return decode_page(path, max_megapixels).facts
    try:
        check_pixels(known.width, known.height, max_megapixels)  # the limit may have changed
    except TooManyPixelsError as error:
        raise unreadable(path, error) from error
    return known


def _check_date(path: Path, latest: float) -> None:
    """Check that a page is not newer than the results that will be made of it.

    Snakemake refuses results that are older than one of their inputs.

    Raises:
        UserError: the page was modified after `latest`, or its date cannot be read.
    """
    try:
        modified = path.stat().st_mtime
    except OSError as error:
        raise unreadable(path, error) from error
    if modified > latest:
        date = datetime.fromtimestamp(modified, UTC).isoformat(timespec="seconds")
        raise UserError(
            f"images: {str(path)!r} is dated in the future ({date})",
            "`touch` it, correct this machine's clock, or set `on_bad_image: skip`",
        )
