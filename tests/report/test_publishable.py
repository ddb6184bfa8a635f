"""Rules of validity: what breaks them, what is then withheld, and where that is said."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from builders import a_pass, conditions, run
from report_data import repeats, tables
from report_reader import section
from tried_data import GRAPHS, Made, report_of
from validate import validate

from mfuscope.report.data import ReportData
from mfuscope.report.head import head
from mfuscope.report.headline import cards, headline
from mfuscope.report.publishable import (
    WIDEST,
    breaches,
    comparable,
    noise_ms,
    page_interval,
    tally,
    valid_headline,
    withheld,
)
from mfuscope.report.render import render
from mfuscope.report.side_by_side import comparison
from mfuscope.report.tried import fastest
from mfuscope.report.validity import all_checks

QUICK = Made(changes=GRAPHS, decode_ms=150.0)


def rules(data: ReportData, variant: int = 0) -> list[tuple[str, str]]:
    return [(one.rule, one.of) for one in breaches(data, data.variants[variant])]


def steps(number: int) -> ReportData:
    """Three repeats of a page with so many decode steps."""
    return tables([run(number + 1, repeat=repeat) for repeat in range(3)]).data


def test_steady_runs_of_long_answers_break_no_rule() -> None:
    data = steps(8)
    assert breaches(data, data.reference) == []
    assert valid_headline(data).verdict == "ok"
    assert not [card for card in cards(data, data.reference) if card.cell.absent]


@pytest.mark.parametrize(("passes", "expected"), [(2, True), (3, False)])
def test_three_timed_passes_of_each_page_are_needed(passes: int, expected: bool) -> None:
    one = run(9)
    data = tables([replace(one, passes=one.passes[:1], repeat=i) for i in range(passes)]).data
    assert (("too short", "page") in rules(data)) == expected
    if expected:
        assert "2 timed passes of page.png; repeats × timed_passes must be 3" in withheld(
            data, data.reference, "page"
        )


@pytest.mark.parametrize(("number", "broken"), [(7, True), (8, False)])
def test_short_answers_withhold_the_numbers_of_decode_alone(number: int, broken: bool) -> None:
    data = steps(number)
    assert rules(data) == ([("too short", "decode")] if broken else [])
    assert withheld(data, data.reference, "page") == ""
    absent = {card.label for card in cards(data, data.reference) if card.cell.absent}
    of_decode = {"Time per output token (TPOT)", "Decode", "MBU of decode"}
    assert absent == (of_decode if broken else set())
    assert comparable(data, data.reference)
    found = head(data)["variants"][0]
    assert (found["headline"]["decode_tokens_per_s"]["mean"] is None) == broken
    assert (found["answer"]["tpot_ms"] is None) == broken
    assert found["headline"]["page_ms"]["mean"] > 0
    validate("report", json.loads(json.dumps(head(data))))


def test_answers_of_one_token_have_no_decode_to_be_short() -> None:
    assert rules(tables([run(1, timed=a_pass(1), repeat=i) for i in range(3)]).data) == []


@pytest.mark.parametrize(("spread", "broken"), [(0.1, False), (0.2, True)])
def test_a_page_time_that_is_known_to_a_factor_of_two_is_needed(
    spread: float, broken: bool
) -> None:
    data = report_of(1, 3, baseline=Made(spread=spread))
    ends = page_interval(data.reference)
    assert ends is not None
    assert ends[0] < data.reference.page_ms < ends[1]
    assert (ends[1] > WIDEST * ends[0]) == broken
    assert noise_ms(data.reference) == pytest.approx((ends[1] - ends[0]) / 2)
    assert (("too uncertain", "page") in rules(data)) == broken


def test_a_single_page_measured_once_has_no_interval_to_be_wide() -> None:
    data = report_of(1, 1, baseline=Made())
    assert page_interval(data.reference) is None
    assert noise_ms(data.reference) is None
    assert rules(data) == [("too short", "decode")]
    assert cards(data, data.reference)[-1].cell.absent


def test_the_noise_of_a_batch_is_of_one_page() -> None:
    alone, eight = (
        report_of(1, 3, baseline=Made(changes=changes)).reference
        for changes in ({}, {"batch_size": 8})
    )
    assert noise_ms(eight) == pytest.approx((noise_ms(alone) or 0) / 8)
    assert page_interval(eight) == pytest.approx(page_interval(alone))


@pytest.mark.parametrize(
    ("reason", "broken"), [("sw_power_cap", True), ("applications_clocks_setting", False)]
)
def test_throttling_withholds_numbers_and_chosen_clocks_do_not(reason: str, broken: bool) -> None:
    slow = a_pass(9, conditions_after=conditions(throttle_reasons=[reason]))
    data = tables([run(9), run(9, repeat=1), run(9, repeat=2, timed=slow)]).data
    assert rules(data) == ([("throttled", "page")] if broken else [])
    assert ("sw_power_cap in 1 run" in withheld(data, data.reference, "page")) == broken
    assert comparable(data, data.reference) != broken


def test_what_is_withheld_is_shown_nowhere_and_its_reason_everywhere() -> None:
    data = report_of(1, 3, baseline=Made(spread=0.3), quick=replace(QUICK, spread=0.3))
    made = render(data)
    for text in (made.markdown, made.html):
        assert "No headline number, as baseline is too uncertain: over 3 repeats" in text
        assert "measure more repeats, or on a quieter host" in text
        assert "withheld: too uncertain" in text
    assert "1,000 ms" not in section(made.markdown, "Headline")
    assert [row[2].absent for row in headline(data).rows] == [True, True]
    found = head(data)
    assert found["variants"][0]["headline"]["page_ms"]["mean"] is None
    assert found["variants"][0]["headline"]["page_ms"]["n"] == 3
    assert "Headline numbers are valid" in [one["check"] for one in found["warnings"]]
    validate("report", json.loads(json.dumps(found)))


def test_an_unsteady_variant_is_compared_and_a_short_one_is_not() -> None:
    """A ratio has an interval of its own, which knows of spread alone."""
    far = report_of(1, 5, baseline=Made(spread=0.2), quick=replace(QUICK, decode_ms=1.0))
    assert not comparable(_once(far, 2), far.reference)
    assert comparable(_once(far, 3), far.reference)
    assert rules(far)[0] == ("too uncertain", "page")
    assert (best := fastest(far)) is not None
    assert best.variant.name == "quick"
    short = _once(far, 2)
    assert fastest(short) is None
    verdict = comparison(short).rows[1][1]
    assert (verdict.text, verdict.sub) == ("not valid", "quick is too short")


def _once(data: ReportData, number: int) -> ReportData:
    """The same with so many timed passes of each page."""
    passes = Counter(dict.fromkeys(data.survey.passes, number))
    return replace(data, survey=replace(data.survey, passes=passes))


def test_the_check_counts_among_the_others() -> None:
    checks = all_checks(tables(repeats(3)).data)
    assert checks[0].title == "Headline numbers are valid"
    assert checks[0].verdict == "warning"
    assert "baseline: decode is too short: 3 decode steps a page" in checks[0].details[0]
    told = tally(checks)
    assert told.startswith(f"{sum(one.verdict == 'warning' for one in checks)} warning")
    assert told.endswith(" ok")
