"""Tables as readers use them: sorted, filtered, narrowed, unfolded, copied."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import VIEWS, axe_problems, opened, problems, require_chromium
from playwright.sync_api import Browser, Locator, Page

from mfuscope.report.cells import Cell, Table, absent, amount, build, label
from mfuscope.report.render import environment

VARIANTS = ("baseline", "compiled, static")
#: By page: prefill of the two variants, in ms; the last of all is absent.
PAGES = {f"page-{n}.png": (100.0 - n, 1000.0 + 10 * n) for n in range(20)}
PAGES['=a "b", c.png'] = (7.0, 0.0)
_REPORT = """<!DOCTYPE html><html lang="en"><title>t</title><style>
:root { --surface: #fff; --raised: #eee; --ink: #000; --muted: #555; --line: #ccc; --link: #00c }
main { min-height: 200rem }
{% include "tables.css" %}</style><script>{% include "report.js" %}</script>
<main><h1>t</h1><nav><a href="#s">S</a></nav><section id="s">
<p class="search"><label>Search <input type="search" data-search="s"></label></p>
{% from "_macros.html.j2" import table %}
{{ table(one) }}{{ table(other) }}
<p data-variant="{{ variants[0] }}">of one</p>
<div data-variant="{{ variants[1] }}">of the other
<details><summary>more</summary>of it</details></div>
</section></main>"""


def _ms(value: float) -> Cell:
    if not value:
        return absent("not measured")
    text = f"{value / 1000:.2f}\N{NO-BREAK SPACE}s" if value > 1090 else f"{value:,.1f}"
    return Cell(text, "number", sub="±\N{NO-BREAK SPACE}1")


def _table() -> Table:
    rows = [
        [label(image), label(variant), amount(f"−{value:.0f}"), _ms(value), Cell("x")]
        for image, both in PAGES.items()
        for variant, value in zip(VARIANTS, both, strict=True)
    ]
    return build("Times", ("Page", "Variant", "Below 0", "Prefill", "Note"), rows)


def _other() -> Table:
    rows = [[label(variant), amount("1"), amount("2")] for variant in VARIANTS]
    return build("Of variants", ("Variant", "Page", "Steps"), rows)  # a page's time, not its name


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "report.html"
    made = environment()
    text = made.from_string("{% autoescape true %}" + _REPORT + "{% endautoescape %}")
    path.write_text(text.render(one=_table(), other=_other(), variants=VARIANTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    require_chromium()
    with browser.launched() as made:
        yield made


@pytest.fixture
def page(chromium: Browser, written: Path) -> Iterator[Page]:
    with opened(chromium, written, VIEWS[0]) as made:
        yield made.page
        assert made.wrongs == []


def _shown(page: Page, column: int, table: int = 0) -> list[str]:
    """The texts of a column in the rows that are shown; of a merged cell in each row it spans."""
    found: list[str] = (
        page.locator("table")
        .nth(table)
        .evaluate(
            """(table, column) => [...table.tBodies[0].rows].filter((r) => r.checkVisibility())
          .map((r) => r.cells[r.cells.length - table.tHead.rows[0].cells.length + column])
          .map((cell) => cell?.firstChild.textContent.trim() ?? "")""",
            column,
        )
    )
    return found


def _head(page: Page, column: str) -> Locator:
    return page.get_by_role("columnheader", name=column, exact=True).first


def _sort(page: Page, column: str) -> str | None:
    _head(page, column).get_by_role("button").click()
    return _head(page, column).get_attribute("aria-sort")


def test_long_tables_are_folded_and_unfolded(page: Page) -> None:
    assert len(_shown(page, 1)) == 12
    page.get_by_role("button", name="Show all 42 rows").click()
    assert len(_shown(page, 1)) == 42
    page.get_by_role("button", name="Show fewer rows").click()
    assert len(_shown(page, 1)) == 12
    assert page.get_by_role("button", name="Show all 2 rows").count() == 0


def test_without_script_every_row_is_there_and_no_control(chromium: Browser, written: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    made = context.new_page()
    made.goto(written.as_uri())
    rows = made.locator("table").first.locator("tbody tr").all()
    assert len(rows) == 42
    assert all(row.is_visible() for row in rows)
    assert [e for e in made.locator("button, input, select").all() if e.is_visible()] == []
    context.close()


def test_numbers_are_sorted_by_value_and_absent_ones_last(page: Page) -> None:
    before = _shown(page, 1)
    page.get_by_role("button", name="Show all 42 rows").click()
    everything = _shown(page, 3)
    values = sorted(value for both in PAGES.values() for value in both if value)
    for direction, expected in (("ascending", values), ("descending", values[::-1])):
        assert _sort(page, "Prefill") == direction
        assert _shown(page, 3) == [*(_ms(value).text for value in expected), "–"]
    assert _sort(page, "Prefill") is None
    assert _shown(page, 3) == everything
    _sort(page, "Below 0")
    assert _shown(page, 2)[0] == "−1190"
    _sort(page, "Page")
    names = [cell for cell in _shown(page, 0) if cell]
    assert names.index("page-9.png") < names.index("page-10.png")  # as people count
    assert _head(page, "Below 0").get_attribute("aria-sort") is None
    for _ in "ab":
        _sort(page, "Page")
    page.get_by_role("button", name="Show fewer rows").click()
    assert _shown(page, 1) == before


def test_headers_are_sorted_by_keys(page: Page) -> None:
    _head(page, "Variant").get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert set(_shown(page, 1)) == {VARIANTS[0]}


# Where each row of the table lies in the grid: a cell too many or too few moves them.
_COLUMNS = """(table) => [...table.tBodies[0].rows].filter((r) => r.checkVisibility())
  .map((r) => Math.round(r.lastElementChild.getBoundingClientRect().left))"""

_SPANS = """(table) => [...table.tBodies[0].rows].filter((r) => r.checkVisibility())
  .flatMap((r) => [...r.cells].filter((cell) => !cell.hidden && cell.rowSpan > 1))"""


@pytest.mark.parametrize("column", ["Page", "Variant", "Prefill"])
def test_merged_cells_survive(page: Page, column: str) -> None:
    table = page.locator("table").first
    assert len(table.evaluate(_SPANS)) == 6
    _sort(page, column)
    assert len(set(table.evaluate(_COLUMNS))) == 1
    assert len(table.evaluate(_SPANS)) == (6 if column == "Page" else 0)
    page.get_by_role("combobox").select_option(VARIANTS[1])
    assert len(set(table.evaluate(_COLUMNS))) == 1
    assert table.evaluate(_SPANS) == []


def test_tables_are_filtered_by_page_and_variant_at_once(page: Page) -> None:
    bar = page.get_by_role("search")
    bar.get_by_label("Page").fill("PAGE 1")
    bar.get_by_label("Variant").select_option(VARIANTS[1])
    assert _shown(page, 0) == [name for name in PAGES if "page" in name and "1" in name]
    assert set(_shown(page, 1)) == {VARIANTS[1]}
    assert _shown(page, 0, table=1) == [VARIANTS[1]]
    assert [e.is_visible() for e in page.locator("[data-variant]").all()] == [False, True]
    assert page.get_by_text("11 of 42 rows match").is_visible()
    _sort(page, "Prefill")
    assert len(_shown(page, 0)) == 11
    page.evaluate("scrollTo(0, document.scrollingElement.scrollHeight)")
    box = bar.bounding_box()
    assert box is not None
    assert box["y"] == 0  # still in sight
    bar.get_by_role("button", name="Clear").click()
    assert len(_shown(page, 0)) == 12
    assert not bar.get_by_role("button", name="Clear").is_visible()
    assert page.locator("[data-variant]:visible").count() == 2


@pytest.mark.parametrize("by", ["search", "variant"])
def test_what_is_asked_for_is_unfolded(page: Page, by: str) -> None:
    page.locator("details").evaluate("e => (e.open = false)")
    opened_ones = page.locator("details[open]")
    if by == "search":
        page.locator("[data-search]").fill("page")
    else:
        page.locator("form.filter select").select_option(VARIANTS[0])
        assert opened_ones.count() == 0
        page.locator("form.filter select").select_option(VARIANTS[1])
    assert opened_ones.count() == 1


def test_columns_are_hidden(page: Page) -> None:
    page.get_by_role("button", name="Columns").click()
    assert page.get_by_role("group", name="Columns shown").get_by_role("checkbox").count() == 4
    page.get_by_label("Below 0").uncheck()
    assert not _head(page, "Below 0").is_visible()
    _sort(page, "Prefill")
    assert page.locator("table").first.locator("td:visible").count() == 12 * 3
    page.get_by_label("Below 0").check()
    assert page.locator("table").first.locator("td:visible").count() == 12 * 4


def _copied(page: Page) -> str:
    page.evaluate("window.copied = null")
    page.get_by_role("button", name="Copy as CSV").first.click()
    page.wait_for_function("window.copied !== null")
    found: str = page.evaluate("window.copied")
    return found


_CLIPBOARD = {
    "offered": """Object.defineProperty(navigator, "clipboard",
      { value: { writeText: async (text) => { window.copied = text } } })""",
    "not offered": """Object.defineProperty(navigator, "clipboard", { value: undefined });
      addEventListener("copy", (e) => { window.copied = e.clipboardData.getData("text/plain") })""",
}


@pytest.mark.parametrize("clipboard", _CLIPBOARD)
def test_rows_are_copied_as_csv(page: Page, clipboard: str) -> None:
    page.evaluate(_CLIPBOARD[clipboard])
    text = _copied(page)
    assert text.count("\r\n") == text.count("\n") == 43
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert rows[0] == ["Page", "Variant", "Below 0", "Prefill", "Prefill (below)", "Note"]
    assert rows[2] == ["page-0.png", VARIANTS[1], "-1000", "1000.0", "± 1", "x"]
    assert rows[-1] == ['\'=a "b", c.png', VARIANTS[1], "-0", "", "", "x"]
    assert page.get_by_text("Copied 42 rows").is_visible()


def test_a_copy_has_what_is_filtered_sorted_and_shown(page: Page) -> None:
    page.evaluate(_CLIPBOARD["offered"])
    page.get_by_role("button", name="Columns").click()
    page.get_by_label("Note").uncheck()
    page.get_by_role("combobox").select_option(VARIANTS[0])
    _sort(page, "Prefill")
    rows = list(csv.DictReader(io.StringIO(_copied(page), newline="")))
    expected = sorted(value for value, _ in PAGES.values())
    assert [row["Prefill"] for row in rows] == [f"{value:.1f}" for value in expected]
    assert "Note" not in rows[0]


def test_a_copy_that_is_refused_is_told(page: Page) -> None:
    page.evaluate(_CLIPBOARD["not offered"] + "; document.execCommand = () => false")
    page.get_by_role("button", name="Copy as CSV").first.click()
    assert page.get_by_text("The browser does not let this page copy").is_visible()


def test_search_field_and_filter_go_together(page: Page) -> None:
    page.get_by_label("Search").fill("compiled")
    assert len(_shown(page, 0)) == 21  # a typed word unfolds
    page.get_by_role("search").get_by_label("Page").fill("page-7")
    assert _shown(page, 0) == ["page-7.png"]


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[-1]], ids=str)
def test_controls_are_in_order(chromium: Browser, written: Path, view: browser.View) -> None:
    with opened(chromium, written, view) as made:
        made.page.get_by_role("button", name="Columns").click()
        made.page.get_by_role("combobox").select_option(VARIANTS[1])
        assert [p for c in ("width", "tables", "sizes") for p in problems(made.page, c)] == []
        if view.scheme == "light":  # the colours of this page are
            assert axe_problems(made.page) == []
        if view.width < 400:
            heights = [e.bounding_box() for e in made.page.locator(".tools button:visible").all()]
            assert all(box is not None and box["height"] >= 44 for box in heights)
