"""Runs that stand out."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from repeat_rows import row

from mfuscope.core.runs import RunKey
from mfuscope.metrics.repeats import LEAST, excesses
from mfuscope.report.outliers import FEWEST_RUNS, Outlier
from mfuscope.report.outliers import outliers as of_metrics


def outliers(table: pd.DataFrame) -> list[Outlier]:
    return of_metrics(table, excesses(table))


def metrics(times: list[list[float]], **changes: dict[int, Any]) -> pd.DataFrame:
    """Pages with these prefill times; `changes` are columns by row number."""
    rows = [
        row(image=f"{page}.png", repeat=repeat, prefill_ms=ms, decode_ms=100.0)
        for page, of_page in enumerate(times)
        for repeat, ms in enumerate(of_page)
    ]
    for name, values in changes.items():
        for number, value in values.items():
            rows[number][name] = value
    return pd.DataFrame(rows)


STEADY = [[50.0, 50.5, 49.5], [80.0, 80.4, 79.6], [30.0, 30.1, 29.9]]


def test_a_slow_run_is_found_whatever_its_page_takes() -> None:
    assert outliers(metrics(STEADY)) == []
    (found,) = outliers(metrics([STEADY[0], STEADY[1], [30.0, 45.0, 29.9]]))
    assert found.run == RunKey("baseline", "2.png", 1)
    assert (found.stage, found.ms, found.ratio) == ("prefill", 45.0, 1.5)


def test_a_slow_run_has_what_explains_it_and_a_fast_one_nothing() -> None:
    slow = metrics([[50.0, 75.0, 49.5], STEADY[1], STEADY[2]], prefill_wait_ms={1: 20.1})
    (found,) = outliers(slow)
    assert found.excess is not None
    assert found.excess.excess_ms == 25.5, "beyond the fastest"
    assert found.excess.causes[0].kind == "wait"
    (fast,) = outliers(metrics([[50.0, 25.0, 50.5], STEADY[1], STEADY[2]]))
    assert (fast.ratio, fast.excess) == (0.5, None)


def test_the_fences_are_tukeys() -> None:
    # The quartiles of all ratios are 0.925 and 1.1, so that the upper fence is 1.3625.
    pages = [[90.0, 100.0, 110.0]] * 5
    inside, outside = [[100.0, 100.0, 136.0]], [[100.0, 100.0, 136.5]]
    assert outliers(metrics(pages + inside)) == []
    assert len(outliers(metrics(pages + outside))) == 1


def test_pages_measured_once_are_left_out() -> None:
    assert outliers(metrics([[float(ms)] for ms in (10, 20, 30, 40, 50, 60, 70, 80, 900)])) == []


def test_few_runs_have_no_fences() -> None:
    table = metrics([[50.0, 50.0, 99.0], [80.0, 80.0, 80.0]])
    assert len(table) < FEWEST_RUNS
    assert outliers(table) == []


@given(st.lists(st.lists(st.floats(1, 1000), min_size=2, max_size=5), min_size=1, max_size=8))
def test_what_is_flagged_is_far_from_its_page(times: list[list[float]]) -> None:
    for found in outliers(metrics(times)):
        assert abs(found.ratio - 1) > LEAST


def test_variants_have_fences_of_their_own() -> None:
    steady, noisy = metrics(STEADY), metrics([[50.0, 80.0, 30.0], [70.0, 40.0, 99.0], [30, 60, 12]])
    noisy["variant"] = "noisy"
    both = pd.concat([steady, noisy], ignore_index=True)
    assert [one.run for one in outliers(both)] == [one.run for one in outliers(noisy)]


@pytest.mark.parametrize(
    ("ms", "flagged"), [(54.5, False), (55.5, True), (45.5, False), (44.5, True)]
)
def test_a_run_within_a_tenth_of_its_page_is_never_flagged(ms: float, flagged: bool) -> None:
    table = metrics([[50.0, ms, 50.0], STEADY[1], STEADY[2]])
    assert len(outliers(table)) == flagged


def test_pages_measured_once_do_not_narrow_the_fences() -> None:
    # Within the fences of the repeated pages; forty pages at their own median would leave none.
    pages = [[90.0, 100.0, 110.0]] * 5 + [[100.0, 100.0, 136.0]]
    assert outliers(metrics(pages + [[50.0]] * 40)) == []
