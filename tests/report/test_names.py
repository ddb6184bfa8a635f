"""Pages are called what their owners call them."""

from builders import page
from hypothesis import given
from hypothesis import strategies as st
from report_data import repeats, tables

from mfuscope.report.names import columns, fitted, page_names


def test_pages_have_the_names_of_their_files_and_twins_their_paths() -> None:
    paths = {
        "slug~1.png": "scans/صفحة ١.png",
        "a.png": "one/a.png",
        "two-a~2.png": "two/a.png",
    }
    runs = [
        made
        for image, path in paths.items()
        for made in repeats(1, image=image, page=page(path=path))
    ]
    assert page_names(tables(runs).data) == {
        "slug~1.png": "صفحة ١.png",
        "a.png": "one/a.png",
        "two-a~2.png": "two/a.png",
    }


def test_long_names_lose_their_middle() -> None:
    assert fitted("short.png", 9) == "short.png"
    assert fitted("a_long_name_of_page_0017.png", 13) == "a_long…17.png"
    assert fitted("页面扫描第一章.png", 11) == "页面….png"
    assert fitted("two\nlines", 20) == "two lines"


@given(st.text(min_size=1, max_size=40), st.integers(3, 30))
def test_shortened_names_fit_and_keep_both_ends(name: str, room: int) -> None:
    found = fitted(name, room)
    assert columns(found) <= room or found == fitted(name, 10**6)
    if "…" in found and "…" not in name:
        start, end = found.split("…")
        whole = fitted(name, 10**6)
        assert whole.startswith(start)
        assert whole.endswith(end)
