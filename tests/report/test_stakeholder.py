"""The one-page summary: how certain the numbers are, what they mean, and what to do next."""

import pytest
from builders import a_pass, page, run
from report_data import tables

from mfuscope.core import records
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.recommendations import Recommendation
from mfuscope.report.spread import unsteady
from mfuscope.report.stakeholder import comparison, confidence, meaning, next_steps
from mfuscope.report.validity import steadiness
from mfuscope.report.wording import time_sentence


def measured(pages: int = 5, repeats: int = 3, cv: float = 0.0) -> ReportData:
    """Pages whose prefill varies by `cv` between three repeats."""
    runs = [
        run(
            image=f"{number}.png",
            repeat=repeat,
            page=page(path=f"{number}.png"),
            timed=a_pass(prefill_ms=50.0 * (1 + cv * (repeat - 1))),
        )
        for number in range(pages)
        for repeat in range(repeats)
    ]
    return tables(runs).data


def one_page(prefill_ms: float, decode_ms: float) -> tuple[ReportData, Variant]:
    """A page whose stages take this long."""
    data = tables([run(timed=a_pass(prefill_ms=prefill_ms, decode_ms=decode_ms))]).data
    return data, data.variants[0]


@pytest.mark.parametrize(
    ("pages", "repeats", "cv", "level", "reason"),
    [
        (5, 3, 0.09, "high", "scatter by at most 9.0\u00a0%"),
        (5, 3, 0.11, "medium", "scatter by up to 11\u00a0%"),
        (5, 3, 0.19, "medium", "scatter by up to 19\u00a0%"),
        (5, 3, 0.21, "low", "scatter by up to 21\u00a0%"),
        (4, 3, 0.0, "medium", "4 pages may not stand for all"),
        (5, 2, 0.0, "medium", "measured only 2 times"),
        (5, 1, 0.0, "low", "measured once"),
    ],
)
def test_confidence_and_its_reason(
    pages: int, repeats: int, cv: float, level: str, reason: str
) -> None:
    data = measured(pages, repeats, cv)
    found, why = confidence(data, data.variants[0])
    assert found == level
    assert reason in why


@pytest.mark.parametrize(("cv", "found"), [(0.09, 0), (0.11, 5)])
def test_repeats_are_unsteady_from_a_tenth(cv: float, found: int) -> None:
    data = measured(cv=cv)
    assert len(unsteady(data)) == found
    assert steadiness(data)[0].verdict == ("warning" if found else "ok")


@pytest.mark.parametrize(
    ("decode_ms", "opening"),
    [(52.0, "Most of the time, 52\u00a0%"), (48.0, "The largest part of the time, 48\u00a0%")],
)
def test_most_of_the_time_is_more_than_half(decode_ms: float, opening: str) -> None:
    data, variant = one_page(100.0 - decode_ms, decode_ms)
    assert meaning(data, variant)[0].startswith(opening)


def test_a_part_that_cost_nothing_would_leave_the_others() -> None:
    data, variant = one_page(70.0, 180.0)
    sentence = meaning(data, variant)[0]
    assert "a page of 4 new tokens would take 70.0\u00a0ms instead of 250\u00a0ms" in sentence


def advice(gain_ms: float | None, plain: str = "Do it.") -> Recommendation:
    return Recommendation(rule="rule", title="", text="", plain=plain, evidence=(), gain_ms=gain_ms)


def test_the_next_steps_say_what_a_page_would_take() -> None:
    data, variant = one_page(70.0, 180.0)
    found = [advice(100.0), advice(30.0), advice(None), advice(20.0)]
    assert next_steps(data, variant, found) == [
        "Do it. At the very best a page of 4 new tokens would take 150\u00a0ms instead of "
        "250\u00a0ms.",
        "Do it. At the very best a page of 4 new tokens would take 220\u00a0ms instead of "
        "250\u00a0ms.",
        "Do it.",
    ]


def two_variants(first: tuple[float, ...], second: tuple[float, ...]) -> ReportData:
    """A page whose prefill takes this long in the repeats of two variants, and decode 50 ms."""

    def one(variant: str, repeat: int, ms: float) -> records.Run:
        timed = a_pass(prefill_ms=ms, decode_ms=50.0)
        return run(variant=variant, repeat=repeat, timed=timed)

    runs = [one("first", repeat, ms) for repeat, ms in enumerate(first)]
    return tables(runs + [one("second", repeat, ms) for repeat, ms in enumerate(second)]).data


def test_a_difference_is_held_against_its_interval() -> None:
    (clear,) = comparison(two_variants((47.0, 50.0, 53.0), (152.0, 156.0, 160.0)))
    assert clear == (
        "second (the same settings): 206\u00a0ms a page of 4 new tokens instead of 100\u00a0ms, "
        "2.06 times as long (95 % sure: 1.94 to 2.19)."
    )
    (within,) = comparison(two_variants((47.0, 50.0, 53.0), (50.9, 54.9, 58.9)))
    assert within.endswith(
        "105\u00a0ms a page of 4 new tokens instead of 100\u00a0ms, "
        "a difference that chance explains as well."
    )
    (silent,) = comparison(two_variants((50.0,), (60.0,)))
    assert silent.endswith("measured too seldom to tell a difference from chance.")


@pytest.mark.parametrize(
    ("decode_ms", "opening"),
    [
        (44.0, "Prefill dominates"),
        (46.0, "Decode and prefill take about the same time"),
        (54.0, "Decode and prefill take about the same time"),
        (56.0, "Decode dominates"),
    ],
)
def test_stages_within_a_twentieth_of_half_are_even(decode_ms: float, opening: str) -> None:
    _, variant = one_page(100.0 - decode_ms, decode_ms)
    assert time_sentence(variant).startswith(opening)
