"""The bars of the page: parts, repeats, names, and many pages folded."""

import pytest
from builders import a_pass, cpu_activity, page, run
from report_data import distinct, repeats, tables

from mfuscope.report.bars import MOST_PAGES, activities, bars
from mfuscope.report.data import ReportData
from mfuscope.report.render import environment

RUNS, DISTINCT = distinct()


def html(data: ReportData) -> str:
    """The bars as the page has them."""
    source = '{% from "_bars.html.j2" import busy, times %}{{ times(bars, "x") }}{{ busy(found) }}'
    template = environment().from_string(source)
    return template.render(bars=bars(data), found=activities(data))


def test_parts_follow_each_other_and_each_repeat_stands_at_its_time() -> None:
    drawn = bars(DISTINCT.data)
    assert (len(drawn.shown), drawn.others) == (3, ())
    times = {
        (one.image, one.variant, one.repeat): one.timed.prefill_ms + one.timed.decode_ms
        for one in RUNS
    }
    longest = max(times.values())
    for found in drawn.shown:
        for bar in found.bars:
            mine = [
                ms for (image, v, _), ms in times.items() if (image, v) == (found.name, bar.variant)
            ]
            assert bar.repeats == pytest.approx([100 * ms / longest for ms in mine])
            last = bar.segments[-1]
            assert last.start + last.length == pytest.approx(sum(bar.repeats) / 3)
            for left, right in zip(bar.segments, bar.segments[1:], strict=False):
                assert left.start + left.length == pytest.approx(right.start)
            assert f"3 repeats from {min(mine):.0f}" in bar.label


def test_a_single_repeat_has_no_dot() -> None:
    drawn = bars(tables(repeats(1)).data)
    assert drawn.shown[0].bars[0].repeats == ()
    assert "repeats" not in drawn.shown[0].bars[0].label


def test_of_many_pages_the_slowest_are_shown_and_the_others_folded() -> None:
    runs = [
        run(image=f"{i}.png", page=page(path=f"{i}.png"), timed=a_pass(prefill_ms=50.0 + i))
        for i in range(MOST_PAGES + 3)
    ]
    data = tables(runs).data
    drawn = bars(data)
    assert [one.name for one in drawn.shown[:2]] == ["22.png", "21.png"]
    assert [one.name for one in drawn.others] == ["2.png", "1.png", "0.png"]
    made = html(data)
    shown, _, folded = made.partition("<details")
    assert "The 20 slowest of 23 pages." in shown
    assert "The other 3 pages" in folded
    assert shown.count('<div class="page">') == MOST_PAGES
    assert folded.count('<div class="page">') == 3


def test_a_page_has_its_owners_name_and_its_path_as_a_tooltip() -> None:
    path = f"scans/{'long_' * 30}<b>.png"
    made = html(tables(repeats(image="slug~1.png", page=page(path=path))).data)
    assert "slug~1" not in made
    assert f'<h3 title="{path.replace("<b>", "&lt;b&gt;")}">' in made
    assert "<b>" not in made


def test_stages_of_variants_are_grouped_and_idle_is_what_is_left() -> None:
    found = activities(DISTINCT.data)
    assert [(one.stage, one.variant) for one in found] == [
        ("prefill", "baseline"),
        ("prefill", "half"),
        ("decode", "baseline"),
        ("decode", "half"),
    ]
    made = html(DISTINCT.data)
    assert made.count("<h3>Prefill</h3>") == made.count("<h3>Decode</h3>") == 1
    assert made.count('class="idle"') == 4


def test_without_busy_times_there_are_no_bars_of_them() -> None:
    assert activities(tables(repeats(2), activities=[cpu_activity()] * 2).data) == []
