"""The timeline in headless Chromium: zoomed, moved and read by pointer and by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHECKS, Opened, View, launched, opened, problems, require_chromium
from playwright.sync_api import Browser, Page
from timeline_data import compared, html

TEMPLATES = Path(__file__).parents[2] / "src" / "mfuscope" / "report" / "templates"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the report alone, with its styles."""
    styles = "".join((TEMPLATES / name).read_text() for name in ("report.css", "timeline.css"))
    path = tmp_path_factory.mktemp("timeline") / "page.html"
    path.write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>A</title><style>{styles}'
        f'</style><body><nav><a href="#s">S</a></nav><section id="s">{html(compared())}</section>'
    )
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    require_chromium()
    with launched() as made:
        yield made


@pytest.fixture(scope="module")
def opened_once(browser: Browser, file: Path) -> Iterator[Opened]:
    with opened(browser, file, View(1280, "light")) as made:
        yield made


@pytest.fixture
def shown(opened_once: Opened) -> Opened:
    """The page, with the whole step in sight."""
    opened_once.page.get_by_role("button", name="Whole step").click()
    return opened_once


def window(page: Page) -> list[str]:
    """The times on the first line's axis."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("svg").first.locator(".axis text").all_text_contents()


def test_it_zooms_and_moves_by_buttons_and_keys(shown: Opened) -> None:
    page = shown.page
    whole = window(page)
    assert whole[0] == "0 ms"
    page.get_by_role("button", name="Zoom in").click()
    closer = window(page)
    assert closer[0] != whole[0]
    page.locator(".lines").press("ArrowRight")
    assert window(page)[0] > closer[0]
    page.locator(".lines").press("ArrowLeft")
    assert window(page) == closer
    page.get_by_role("button", name="Zoom out").click()
    assert window(page) == whole
    page.locator(".lines").press("+")
    page.locator(".lines").press("+")
    assert window(page) != whole
    page.get_by_role("button", name="Whole step").click()
    assert window(page) == whole
    assert shown.wrongs == []


def test_it_zooms_at_the_pointer_and_moves_with_it(shown: Opened) -> None:
    page = shown.page
    place = page.locator("svg").first.bounding_box()
    assert place is not None
    whole, scrolled = window(page), page.evaluate("scrollY")
    page.mouse.move(place["x"] + 600, place["y"] + 60)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -900)
    page.keyboard.up("Control")
    closer = window(page)
    assert closer[0] > whole[1]
    assert page.evaluate("scrollY") == scrolled
    page.mouse.down()
    page.mouse.move(place["x"] + 300, place["y"] + 60)
    page.mouse.up()
    moved = window(page)
    assert moved[0] > closer[0]
    page.mouse.move(place["x"] + 500, place["y"] + 60)  # the button is up
    assert window(page) == moved
    assert shown.wrongs == []


def test_the_event_under_the_pointer_is_named(shown: Opened) -> None:
    page = shown.page
    for _ in range(6):
        page.get_by_role("button", name="Zoom in").click()
    window(page)
    label = page.locator("svg .in").first
    name = label.text_content() or ""
    label.evaluate(
        """(text) => {
          const place = text.getBoundingClientRect(), svg = text.closest("svg");
          const at = { clientX: place.left + 1, clientY: place.top + 5, bubbles: true };
          svg.dispatchEvent(new PointerEvent("pointermove", at));
        }"""
    )
    said = page.locator("output").inner_text()
    assert name.rstrip("…") in said
    assert " µs, from " in said


def test_it_is_in_order_at_every_zoom(browser: Browser, file: Path) -> None:
    with opened(browser, file, View(390, "dark")) as made:
        for zooms in range(3):
            assert [wrong for check in CHECKS for wrong in problems(made.page, check)] == [], zooms
            for _ in range(2):
                made.page.get_by_role("button", name="Zoom in").click()
            window(made.page)
        assert made.wrongs == []


def test_without_scripts_the_whole_step_scrolls(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(file.as_uri())
    places = [svg.bounding_box() for svg in page.locator("svg").all()]
    assert [place and place["width"] > 900 for place in places] == [True, True]
    assert not page.get_by_role("button").all()
    assert not page.locator("output").is_visible()
    assert page.locator("svg title").count() > 10
    context.close()
