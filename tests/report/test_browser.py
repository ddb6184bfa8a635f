"""The report as a browser shows it: wide and narrow, light and dark, on paper, with any name."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import browser
import pandas as pd
import pytest
from browser import (
    CHECKS,
    VIEWS,
    Opened,
    View,
    axe_problems,
    opened,
    print_problems,
    printed,
    problems,
    require_chromium,
    search_problems,
)
from builders import model, page
from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import Browser, Page
from report_data import cpu_tables, kernel_rows, on_cpu, operator_rows, repeats, texts

from mfuscope.core import records
from mfuscope.report.render import Texts

#: The bundled pages, measured for real.
EXAMPLE = Path(__file__).parents[2] / "docs" / "example" / "report.html"
#: The ids of the sections, in the order of the nav; the last ones are folded.
SECTIONS = [
    "headline",
    "tried",
    "next",
    "time",
    "roofline",
    "hardware",
    "steps",
    "operators",
    "mfu",
    "steadiness",
    "flops",
    "checks",
    "not-measured",
    "reproduce",
]
NASTY = '<script>alert(1)</script> "it\'s" a|b `id` *x* _y_ &amp; صفحة 页面.png'


def _operators(device_ms: float | None) -> pd.DataFrame:
    kernel = "void at::native::elementwise_kernel<128, 4, at::native::CUDAFunctor_add<float>>"
    names = ["aten::mm", "aten::_scaled_dot_product_flash_attention_for_cpu", kernel, "x" * 80]
    found = product(("prefill", "decode"), names * 4)
    return operator_rows(*((stage, name, 1.0, device_ms) for stage, name in found))


def _kernels() -> pd.DataFrame:
    name = "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<int>>(int)"
    return kernel_rows(
        *((s, f"{name}{i}", 9.0 - i) for s in ("prefill", "decode") for i in range(9))
    )


def _runs(variants: Iterable[str], number: int) -> list[records.Run]:
    images = ("a.png", "صفحة_ممسوحة.png", "页面扫描.png", "mixed_en_form_" * 5 + ".png", "b" * 60)
    return [
        made
        for variant, (place, image) in product(variants, enumerate(images, 1))
        for made in repeats(number, variant=variant, image=image, timed={"decode_ms": 70.0 * place})
    ]


def one_page() -> Texts:
    """On a CPU: few rows, many absent values."""
    runs = on_cpu(model=model(name="deepseek-ocr-nano"))
    return texts(runs, operators=[("baseline", _operators(None))], **cpu_tables())


def many_rows() -> Texts:
    """Variants, pages, operators and settings, with names of every length and several scripts."""
    variants = ("baseline", "eager-attention_float32")
    return texts(
        _runs(variants, 3),
        operators=[(variant, _operators(1.0)) for variant in variants],
        kernels=[(variant, _kernels()) for variant in variants],
        settings={"prompt": "<image>\nFree OCR. " * 10, "images": "/data/" + "scans/" * 20},
    )


def many_variants() -> Texts:
    """More than there are cards for."""
    return texts(_runs([f"variant-{number}" for number in range(6)], 2))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Not of the session: until Playwright ends, no other test could call asyncio.run().
    require_chromium()
    with browser.launched() as made:
        yield made


@cache
def rendered(make: Callable[[], Texts]) -> str:
    return make().html


def _name_of(param: object) -> str:
    return param.stem if isinstance(param, Path) else getattr(param, "__name__", str(param))


BUILT = (one_page, many_rows, many_variants)


@pytest.fixture(scope="module", params=[*BUILT, EXAMPLE], ids=_name_of)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if isinstance(request.param, Path):
        return request.param
    path = tmp_path_factory.mktemp("results") / "report.html"
    path.write_text(rendered(request.param), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=(VIEWS[0], VIEWS[-1]), ids=str)
def shown(request: pytest.FixtureRequest, chromium: Browser, report: Path) -> Iterator[Opened]:
    # Wide and light, narrow and dark: each width and each scheme once.
    view: View = request.param
    with opened(chromium, report, view) as made:
        yield made


@pytest.mark.parametrize("check", CHECKS)
def test_report_is_in_order_on_screens(shown: Opened, check: str) -> None:
    assert problems(shown.page, check) == []


@pytest.mark.parametrize("report", BUILT, ids=_name_of, indirect=True)
def test_axe_finds_nothing_serious(shown: Opened, request: pytest.FixtureRequest) -> None:
    smallest = request.node.callspec.params["report"] is one_page
    assert axe_problems(shown.page, contrast=smallest) == []


def test_size_and_time_to_load(chromium: Browser) -> None:
    size = EXAMPLE.stat().st_size
    with opened(chromium, EXAMPLE, VIEWS[0]) as made:
        ends: dict[str, float] = made.page.evaluate(
            """() => { const t = performance.getEntriesByType("navigation")[0];
            return { "parsed": t.domInteractive, "loaded": t.loadEventEnd } }"""
        )
    print(
        f"{EXAMPLE.name}: {size:,} bytes, " + ", ".join(f"{k} {v:.0f} ms" for k, v in ends.items())
    )
    assert size < 3e6


@pytest.mark.parametrize("shown", VIEWS[:1], ids=str, indirect=True)  # paper is always the same
def test_report_is_in_order_on_paper(shown: Opened) -> None:
    shown.page.locator("#everything").check()
    assert print_problems(shown.page) == []
    shown.page.locator("#everything").uncheck()
    left_out = re.compile("section #(time|hardware|steps|operators) is not visible")
    assert [one for one in print_problems(shown.page) if not left_out.fullmatch(one)] == []


def test_search_fields_filter_their_tables(shown: Opened) -> None:
    assert search_problems(shown.page) == []


def test_report_asks_for_nothing_and_reports_no_error(shown: Opened) -> None:
    # Some things are asked for only once they are scrolled to, or in print.
    shown.page.evaluate("scrollTo(0, document.scrollingElement.scrollHeight)")
    with printed(shown.page):
        shown.page.wait_for_load_state("networkidle")
    assert shown.wrongs == []


def pages_of_paper(page: Page) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True)))


def fold(page: Page, *, folded: bool) -> None:
    every = "(open) => document.querySelectorAll('details').forEach(e => e.open = open)"
    page.evaluate(every, not folded)


@pytest.mark.parametrize("shown", VIEWS[:1], ids=str, indirect=True)
def test_the_short_form_is_two_pages_of_paper_and_a_box_prints_everything(shown: Opened) -> None:
    page = shown.page
    fold(page, folded=True)
    try:
        assert pages_of_paper(page) <= 2
        with printed(page):
            hidden = [name for name in SECTIONS if not page.locator(f"#{name}").is_visible()]
        assert hidden == [n for n in SECTIONS if n not in ("headline", "tried", "next", "roofline")]
        page.locator("#everything").check()
        with printed(page):
            assert all(page.locator(f"#{name}").is_visible() for name in SECTIONS)
        page.locator("#everything").uncheck()
        with printed(page):
            assert not page.locator("#checks").is_visible()
        page.locator("details:has(> #checks) > summary").click()
        with printed(page):
            assert page.locator("#checks").is_visible()
            assert not page.locator("#mfu").is_visible()
    finally:
        fold(page, folded=False)


@pytest.mark.parametrize("shown", VIEWS[:1], ids=str, indirect=True)
def test_a_link_opens_what_is_folded(shown: Opened) -> None:
    page = shown.page
    fold(page, folded=True)
    try:
        page.locator('nav a[href="#checks"]').click()
        page.locator("#checks").wait_for(state="visible")
        assert not page.locator("#mfu").is_visible()
    finally:
        fold(page, folded=False)


@pytest.mark.parametrize("shown", VIEWS[:1], ids=str, indirect=True)
def test_the_first_screen_holds_verdict_first_step_and_numbers(shown: Opened) -> None:
    shown.page.evaluate("scrollTo(0, 0)")
    for part in ("p.verdict", ".first", ".card:last-child"):
        box = shown.page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800


def test_sections_are_those_of_today(shown: Opened) -> None:
    links = shown.page.locator('nav a[href^="#"]').all()
    assert [link.get_attribute("href") for link in links] == [f"#{name}" for name in SECTIONS]


# A page with a fault for each thing that is looked for, and the problem that is reported.
_STYLE = "<style>body { margin: 8px; font: 16px/1.5 sans-serif }</style>"
FAULTS = [
    ("sections", "<p>no nav", "the nav lists no section"),
    ("sections", '<nav><a href="#a">A</a></nav>', "#a, which does not exist"),
    ("sections", '<nav><a href="#a">A</a></nav><p id="a" hidden>text', "#a is not visible"),
    ("sections", '<nav><a href="#a">A</a></nav><section id="a"><h2>A</h2></section>', "no content"),
    ("width", '<p style="width: 2000px">wide', "the page is 2008 px wide"),
    ("width", '<p style="width: 2000px">wide', '<p> "wide" ends at 2008 px'),
    ("width", '<p style="margin-left: -99px">left', '<p> "left" ends at'),
    ("width", '<p style="overflow: hidden"><b style="padding: 999px">', "ends at 2006"),
    ("width", '<p style="width: 9px; overflow: hidden">clipped', "shows 9 of its"),
    ("width", '<div style="overflow: auto; width: 3000px"><p style="width: 2900px">a', "ends at"),
    (
        "tables",
        '<div style="overflow: auto"><table><tr><td><p style="width: 2000px">wide</table></div>',
        '<table> "wide" is 20',
    ),
    ("drawings", '<svg style="width: 0"><rect width="9" height="9"/></svg>', "has no area"),
    ("drawings", '<svg width="99" height="99"><g></g></svg>', "draws nothing"),
    ("drawings", '<svg width="2000"><rect width="9" height="9"/></svg>', "ends at 2008 px"),
    ("drawings", '<svg width="50"><text y="20">A long label</text></svg>', "is cut off"),
    ("drawings", '<figure>a<svg hidden style="display: none"></svg></figure>', "shows none of its"),
    ("sizes", '<p style="font-size: 8.9px">small', '<p> "small" is 8.9 px'),
    ("sizes", '<p style="transform: scale(0.5)">shrunk', '"shrunk" is 8 px'),
    (
        "sizes",
        '<svg viewBox="0 0 200 20" width="100"><text y="9"><tspan>tiny</tspan></text></svg>',
        '<tspan> "tiny" is 8 px',
    ),
    (
        "overlaps",
        '<svg><text y="20">one</text><text x="5" y="25">two</text></svg>',
        '"one" overlaps',
    ),
    ("contrast", '<p style="color: #888">grey', "contrast of 3.54"),
    ("contrast", '<p style="color: oklch(0.9 0.05 250)">pale', "has a contrast of"),
    ("contrast", '<p style="opacity: 0.4">faint', "has a contrast of"),
    ("contrast", '<p style="background: #000"><b style="background: #0000">dark', "of 1.00"),
]
# What looks like a fault and is none.
SOUND = f"""<!DOCTYPE html>{_STYLE}<title>t</title>
<nav><a href="#a">A</a></nav>
<section id="a"><h2>A</h2><div style="overflow-x: auto"><p style="width: 2000px">wide</p></div>
<p style="position: absolute; width: 1px; height: 1px; overflow: hidden">for screen readers</p>
<p hidden style="width: 3000px; font-size: 1px; color: #fff">hidden</p>
<svg viewBox="0 0 200 20" width="200" role="img"><title>tooltip</title>
<text y="10" font-size="10">one</text><text y="20" font-size="10">below</text>
<text x="60" y="10" font-size="10">beside</text>
<text y="10" font-size="5" display="none">hidden</text></svg>
<figure><svg width="300" height="9"><rect width="300" height="9"/></svg>
<svg style="display: none" viewBox="0 0 9 9"><text>twin</text><text>twin</text></svg></figure>
</section>"""


@pytest.fixture(scope="module")
def blank(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A page to write into."""
    path = tmp_path_factory.mktemp("blank") / "blank.html"
    path.write_text(f"<!DOCTYPE html>{_STYLE}", encoding="utf-8")
    with opened(chromium, path, VIEWS[0]) as made:
        yield made


@pytest.mark.parametrize(("check", "body", "reported"), FAULTS)
def test_faults_are_found(blank: Opened, check: str, body: str, reported: str) -> None:
    blank.page.set_content(f"<!DOCTYPE html>{_STYLE}{body}")
    found = problems(blank.page, check)
    assert any(reported in problem for problem in found), found


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_hidden_or_can_be_scrolled_to_is_no_fault(blank: Opened, check: str) -> None:
    blank.page.set_content(SOUND)
    assert problems(blank.page, check) == []


def test_axe_reports_what_is_serious(blank: Opened) -> None:
    blank.page.set_content('<main><h1>t</h1><button></button><p style="color: #999">pale</main>')
    found = axe_problems(blank.page)
    assert {problem.split(":")[0] for problem in found} >= {"button-name", "color-contrast"}


def test_paper_cannot_be_scrolled(blank: Opened) -> None:
    blank.page.set_content(SOUND)
    assert any('"wide" ends at 2008 px of 702' in problem for problem in print_problems(blank.page))


def test_what_a_page_does_is_noticed(chromium: Browser, tmp_path: Path) -> None:
    faults = {
        "console error: a": "console.error('a')",
        "console warning: b": "console.warn('b')",
        "page error: c": "throw 'c'",
        "dialog: d": "alert('d')",
        "request: http://localhost:9/e": "fetch('http://localhost:9/e').catch(() => 0)",
    }
    scripts = "".join(f"<script>{script}</script>" for script in faults.values())
    path = tmp_path / "faults.html"
    path.write_text(f'{scripts}<link rel="stylesheet" href="f.css">', encoding="utf-8")
    with opened(chromium, path, VIEWS[0]) as made:
        made.page.wait_for_load_state("networkidle")
        missing = {*faults, f"request: {tmp_path.as_uri()}/f.css"} - set(made.wrongs)
    assert missing == set()


SEARCH = """<table><tbody><tr><td>of another table</td></tr></tbody></table>
<input type="search"><table><tbody>
<tr><th rowspan="2">apple.png</th><td>baseline</td></tr><tr><td>eager</td></tr>
<tr><th>pear.png</th><td>baseline</td></tr>
</tbody></table><script>{
const rows = [...document.querySelectorAll("input ~ table tr")];
const texts = ["apple.png baseline", "apple.png eager", "pear.png baseline"];
const filter = (word) => rows.forEach((row, i) => { row.hidden = !texts[i].includes(word) });
document.querySelector("input").oninput = (event) => ACTION;
}</script>"""


@pytest.mark.parametrize(
    ("action", "reported"),
    [
        ("filter(event.target.value)", []),
        ("setTimeout(() => filter(event.target.value), 200)", []),
        ("0", ["'apple.png': the row 'pear.png\\tbaseline' is shown"]),
        ("event.target.value && filter(event.target.value)", ["not all rows come back after"]),
        (
            "filter(event.target.value && '?')",
            ["'apple.png': the row 'apple.png\\tbaseline' is hidden"],
        ),
    ],
)
def test_search_fields_are_tried(
    blank: Opened, monkeypatch: pytest.MonkeyPatch, action: str, reported: list[str]
) -> None:
    monkeypatch.setattr(browser, "PATIENCE_S", 0.6)
    blank.page.set_content(SEARCH.replace("ACTION", action))
    found = search_problems(blank.page)
    assert bool(found) == bool(reported)
    for part in reported:
        assert any(part in problem for problem in found), found


# Every element with the names of its attributes. Where a line may be broken differs by name.
_ELEMENTS = """() => [...document.querySelectorAll(":not(wbr)")].map((e) =>
  [e.localName, ...e.getAttributeNames()].join(" "))"""


def _named(image: str) -> Texts:
    return texts(repeats(image=image, page=page(path=f"pages/{image}")))


def test_nasty_names_are_text(chromium: Browser, tmp_path: Path) -> None:
    plain = re.sub(r"[^\w./ ]", "x", NASTY).replace("_", "x")
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    nasty, harmless = _named(NASTY), _named(plain)
    pairs = {
        "report.html": (nasty.html, harmless.html),
        "report.md.html": tuple(
            f"<!DOCTYPE html><meta charset=utf-8>{markdown.render(made.markdown)}"
            for made in (nasty, harmless)
        ),
    }
    for name, contents in pairs.items():
        elements, counts = [], []
        for image, content in zip((NASTY, plain), contents, strict=True):
            path = tmp_path / name
            path.write_text(content, encoding="utf-8")
            with opened(chromium, path, VIEWS[0]) as made:
                elements.append(made.page.evaluate(_ELEMENTS))
                counts.append(made.page.inner_text("body").count(image))
                assert made.wrongs == [], name
        # The same page but for the text: nothing else came from the name.
        assert elements[0] == elements[1], name
        assert counts[0] == counts[1] > 0, name


def test_screenshots_are_as_wide_as_their_view(chromium: Browser, tmp_path: Path) -> None:
    style = "html { color-scheme: light dark } body { height: 1000px }"
    path = tmp_path / "report.html"
    path.write_text(f"<!DOCTYPE html><style>{style}</style>", encoding="utf-8")
    saved = browser.save_screenshots(path, tmp_path / "new" / "folder", chromium)
    found = {}
    for each in saved:
        with Image.open(each) as image:
            bright = image.convert("L").getpixel((0, 0)) == 255
            found[each.name] = (image.width, image.height > 1000, bright)
    assert found == {
        f"report-{view}.png": (view.width, True, view.scheme == "light") for view in VIEWS
    }


def test_missing_browser_is_skipped_except_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
        require_chromium()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
        require_chromium()
