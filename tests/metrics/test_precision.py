"""How precise a page's mean is, and what would make it precise enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from repeat_rows import table

from mfuscope.metrics.precision import (
    MOST_REPEATS,
    TARGET,
    Precision,
    half_width,
    mean_range,
    precisions,
    variance_of_median,
)
from mfuscope.metrics.statistics import describe


def precision(
    cv: float, repeats: int = 3, passes: int = 3, of_pass: float = 0.0, pages: int = 1
) -> Precision:
    freedom = pages * (repeats - 1)
    return Precision(
        variant="baseline",
        stage="decode",
        repeats=repeats,
        timed_passes=passes,
        pages=pages,
        freedom=freedom,
        cv=cv,
        cv_passes=of_pass,
        half_width=half_width(cv, repeats, freedom),
    )


def test_the_half_width_is_that_of_students_interval() -> None:
    found = describe(np.array([90.0, 100.0, 125.0]))
    half = half_width(found["cv"], 3, 2) * found["mean"]
    assert found["mean"] + half == pytest.approx(found["ci95_high"])


@given(st.floats(0.005, 1.0), st.integers(2, 10), st.integers(1, 20))
def test_a_plan_is_the_least_that_reaches_the_target(cv: float, repeats: int, pages: int) -> None:
    def half(repeats: int) -> float:
        return half_width(cv, repeats, pages * (repeats - 1))

    plan = precision(cv, repeats, pages=pages).plan
    if plan is None:
        assert half(MOST_REPEATS) > TARGET
        return
    assert plan.half_width == half(plan.repeats) <= TARGET
    assert plan.repeats == repeats or half(plan.repeats - 1) > TARGET


def test_too_much_spread_has_no_plan() -> None:
    assert precision(0.34).plan is not None
    assert precision(0.36).plan is None


def test_passes_help_where_they_vary_more_than_runs() -> None:
    # All the spread of runs comes from their passes: 0.67 of it is left in a median of three.
    plan = precision(0.067, of_pass=0.1).plan
    assert plan is not None
    assert (plan.repeats, plan.timed_passes) == (3, 11)
    assert plan.half_width <= TARGET
    assert (few := precision(0.067, of_pass=0.05).plan) is not None
    assert (few.repeats, few.timed_passes) == (5, 3), "runs vary more: repeats"
    # Half of the variance is not of the passes, and stays however many there are.
    assert (stays := precision(0.08, of_pass=0.085).plan) is not None
    assert stays.timed_passes == 3


@pytest.mark.parametrize(("k", "expected"), [(2, 1.1284), (3, 1.6926), (5, 2.3259)])
def test_mean_ranges_are_the_known_ones(k: int, expected: float) -> None:
    assert mean_range(k) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_the_variance_of_a_median(k: int) -> None:
    medians = np.median(np.random.default_rng(1).normal(size=(40_000, k)), axis=1)
    assert variance_of_median(k) == pytest.approx(medians.var(), rel=0.04)


def test_spread_is_pooled_over_pages_and_passes() -> None:
    random = np.random.default_rng(2)
    passes = 100 + 5 * random.normal(size=(60, 5, 3))
    middle = np.median(passes, axis=2)
    spreads = np.ptp(passes, axis=2) / middle
    rows = table(
        *(
            {
                "image": f"{page}.png",
                "prefill_ms": 50.0,
                "prefill_spread": None,
                "decode_ms": middle[page, repeat],
                "decode_spread": spreads[page, repeat],
            }
            for page in range(60)
            for repeat in range(5)
        )
    )
    prefill, decode = precisions(rows)
    assert (prefill.cv, prefill.cv_passes, prefill.enough) == (0.0, None, True)
    assert decode.cv == pytest.approx(0.05 * 0.67, rel=0.1)
    assert decode.cv_passes == pytest.approx(0.05, rel=0.05)
    assert (decode.repeats, decode.timed_passes, decode.enough) == (5, 3, True)
    assert decode.passes_vary_more
    assert (decode.pages, decode.freedom) == (60, 240)
    assert decode.half_width == half_width(decode.cv, 5, 240)


def test_without_repeats_nothing_is_known() -> None:
    assert precisions(table({})) == []
