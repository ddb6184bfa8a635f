"""The report in headless Chromium, as its readers see it.

``python tests/support/browser.py results/report.html FOLDER`` saves screenshots to look at.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Locator, Page, ViewportSize, sync_playwright

#: What `python -m playwright install` would bring is never downloaded: the system's one is used.
NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium found. Remedy: apt-get install chromium (Debian's package)"
# Without the sandbox it runs as root too; only pages made here are opened. The others keep it from
# asking the network for anything of its own. Playwright adds a new, empty user data folder.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CHECKS = Path(__file__).with_name("browser.js").read_text(encoding="utf-8")
#: What `problems` looks for.
CHECKS = ("sections", "width", "tables", "drawings", "sizes", "overlaps", "contrast")
#: A4, the narrower of the usual papers, less the margins of `@page` (12 mm), in CSS px.
PAPER = ViewportSize(width=int(186 / 25.4 * 96), height=int(273 / 25.4 * 96))
#: A search field may wait a moment before it filters.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class View:
    """How a reader looks at the page."""

    width: int
    scheme: Literal["light", "dark"]

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


VIEWS = (View(1280, "light"), View(1280, "dark"), View(390, "light"), View(390, "dark"))


@dataclass
class Opened:
    """An open page, and what it did that a report must not do."""

    page: Page
    wrongs: list[str] = field(default_factory=list)


def chromium() -> str | None:
    """Where the system's Chromium is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def require_chromium() -> None:
    """Skip the test where there is none; in CI its absence must not pass for a success."""
    if chromium() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser, which ends with the block.

    Raises:
        FileNotFoundError: there is none on this machine.
    """
    path = chromium()
    if path is None:
        raise FileNotFoundError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, html_path: Path, view: View) -> Iterator[Opened]:
    """The file in a window of its own, everything that can be folded out shown."""
    context = browser.new_context(
        viewport={"width": view.width, "height": 900}, color_scheme=view.scheme
    )
    try:
        made = Opened(context.new_page())
        _watch(made, html_path.resolve().as_uri())
        made.page.goto(html_path.resolve().as_uri())
        made.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
        yield made
    finally:
        context.close()


def _watch(made: Opened, address: str) -> None:
    def dialog(shown: Dialog) -> None:
        made.wrongs.append(f"dialog: {shown.message}")
        shown.dismiss()

    page, wrong = made.page, made.wrongs.append
    page.on("dialog", dialog)
    page.on("pageerror", lambda error: wrong(f"page error: {error}"))
    page.on(
        "console",
        lambda m: wrong(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else None,
    )
    page.on(
        "request", lambda r: wrong(f"request: {r.url}") if r.url.split("#")[0] != address else None
    )


def problems(page: Page, check: str) -> list[str]:
    """What one of `CHECKS` finds wrong."""
    found: list[str] = page.evaluate(_CHECKS, check)
    return found


def axe_problems(page: Page, *, contrast: bool = True) -> list[str]:
    """What axe-core finds serious or critical, with the first place of each.

    Args:
        contrast: its slowest rule by far; `problems` has a check of its own.
    """
    rules = {"color-contrast": {"enabled": contrast}}
    options = {"resultTypes": ["violations"], "rules": rules}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']}: {one['help']}, {len(one['nodes'])} times: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@contextmanager
def printed(page: Page) -> Iterator[None]:
    """The page as it is laid out on paper."""
    size = page.viewport_size
    assert size is not None
    dark: bool = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    # Chromium prints in the light scheme, whatever is on the screen.
    page.emulate_media(media="print", color_scheme="light")
    page.set_viewport_size(PAPER)
    try:
        yield
    finally:
        page.emulate_media(media="null", color_scheme="dark" if dark else "light")
        page.set_viewport_size(size)


def print_problems(page: Page) -> list[str]:
    """What is wrong on paper, which cannot be scrolled; its print may be small."""
    with printed(page):
        return [wrong for c in CHECKS if c != "sizes" for wrong in problems(page, c)]


# Rows of the table after a search field: whether each is shown, and its text. A cell that spans
# several rows belongs to each of them.
_ROWS = """(field) => {
  const follows = (e) => field.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING;
  const table = [...document.querySelectorAll("table")].find(follows);
  let spanning = [];
  return [...table?.querySelectorAll("tbody tr") ?? []].map((row) => {
    spanning = spanning.map(([text, left]) => [text, left - 1]).filter(([, left]) => left);
    const text = [...spanning.map(([text]) => text), row.innerText].join(" ").toLowerCase();
    for (const cell of row.cells) spanning.push([cell.innerText, cell.rowSpan]);
    return [row.checkVisibility(), text];
  });
}"""
_Rows = list[tuple[bool, str]]


def search_problems(page: Page) -> list[str]:
    """Where a search field does not leave the rows with its word, or does not bring back the rest.

    A page without search fields has no such problem.
    """
    # Not those of a form: they filter by some columns alone.
    fields = page.locator("input[type=search]:not(form *)").all()
    return [wrong for each in fields if each.is_visible() for wrong in _search_problems(each)]


def _search_problems(searched: Locator) -> list[str]:
    before: _Rows = searched.evaluate(_ROWS)
    if not before:
        return ["there is no table with rows after a search field"]
    word = _telling_word([text for shown, text in before if shown])

    def typed(rows: _Rows) -> list[str]:
        pairs = zip(before, rows, strict=True)
        return [
            f"{word!r}: the row {text!r} is {'shown' if now else 'hidden'}"
            for (was, text), (now, _) in pairs
            if (now and word not in text) or (was and not now and word in text)
        ]

    def cleared(rows: _Rows) -> list[str]:
        same = [now for now, _ in rows] == [was for was, _ in before]
        return [] if same else [f"not all rows come back after {word!r} is cleared"]

    searched.press_sequentially(word)
    found = _settled(searched, typed)
    searched.fill("")
    return found + _settled(searched, cleared)


def _telling_word(texts: list[str]) -> str:
    """A word that some of the texts hold and others do not; else one that none holds."""
    words = [word for text in texts for word in text.split() if len(word) > 2]
    return next((w for w in words if not all(w in text for text in texts)), "nowhere to be found")


def _settled(searched: Locator, check: Callable[[_Rows], list[str]]) -> list[str]:
    end = time.monotonic() + PATIENCE_S
    while (found := check(searched.evaluate(_ROWS))) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def save_screenshots(html_path: Path, folder: Path, browser: Browser | None = None) -> list[Path]:
    """Pictures of the whole page in every view.

    Args:
        browser: without it one is launched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    with ExitStack() as stack:
        browser = browser or stack.enter_context(launched())
        for view in VIEWS:
            with opened(browser, html_path, view) as made:
                path = folder / f"{html_path.stem}-{view}.png"
                made.page.screenshot(path=path, full_page=True)
                saved.append(path)
    return saved


def main() -> None:
    """Save screenshots and name them."""
    parser = argparse.ArgumentParser(description="Screenshots of a report, wide, narrow and dark.")
    parser.add_argument("html", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for path in save_screenshots(arguments.html, arguments.folder):
        print(path)


if __name__ == "__main__":
    main()
