"""Runs that stand out, and their recorded causes."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.runs import RunKey
from mfuscope.report.outliers import FEWEST_RUNS, LEAST, NO_CAUSE, outliers, slow_causes


def metrics(times: list[list[float]], **changes: dict[int, Any]) -> pd.DataFrame:
    """Pages with these prefill times; `changes` are columns by row number."""
    rows = [
        {
            "variant": "baseline",
            "image": f"{page}.png",
            "repeat": repeat,
            "prefill_ms": ms,
            "decode_ms": 100.0,
            "sm_clock_mhz": 1980.0,
            "throttle_reasons": "none",
            "runs_before": 1,
        }
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
    assert (found.stage, found.ms, found.ratio, found.cause) == ("prefill", 45.0, 1.5, NO_CAUSE)


def test_causes_are_reported() -> None:
    slow = [[50.0, 75.0, 49.5], STEADY[1], STEADY[2]]
    dropped, throttled, first = (
        outliers(metrics(slow, **change))[0].cause
        for change in (
            {"sm_clock_mhz": {1: 1500.0}},
            {"throttle_reasons": {1: "sw_power_cap+hw_slowdown"}},
            {"runs_before": {1: 0}},
        )
    )
    assert dropped == "SM clock 1500 MHz, up to 1980 MHz in other repeats"
    assert throttled == "throttled: sw_power_cap, hw_slowdown"
    assert first == "first run of its process"


def test_what_is_recorded_of_a_fast_run_is_no_cause() -> None:
    fast = [[50.0, 25.0, 50.5], STEADY[1], STEADY[2]]
    table = metrics(fast, runs_before={1: 0}, throttle_reasons={1: "sw_power_cap"})
    (found,) = outliers(table)
    assert (found.ratio, found.cause) == (0.5, NO_CAUSE)
    assert (RunKey("baseline", "0.png", 1), "prefill") not in slow_causes(table)


def test_a_cause_is_that_of_its_stage() -> None:
    table = metrics([[50.0, 75.0, 49.5], STEADY[1], STEADY[2]], runs_before={1: 0})
    assert set(slow_causes(table)) == {(RunKey("baseline", "0.png", 1), "prefill")}


def test_the_fences_are_tukeys() -> None:
    # The quartiles of all ratios are 0.925 and 1.1, so that the upper fence is 1.3625.
    pages = [[90.0, 100.0, 110.0]] * 5
    inside, outside = [[100.0, 100.0, 136.0]], [[100.0, 100.0, 136.5]]
    assert outliers(metrics(pages + inside)) == []
    assert len(outliers(metrics(pages + outside))) == 1


def test_a_cpu_reports_no_clock() -> None:
    table = metrics([[50.0, 75.0, 49.5], STEADY[1], STEADY[2]])
    table[["sm_clock_mhz", "throttle_reasons"]] = None
    assert outliers(table)[0].cause == NO_CAUSE


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
    assert len(slow_causes(table)) == (flagged and ms > 50.0)


@pytest.mark.parametrize(("clock", "dropped"), [(1941.0, False), (1939.0, True)])
def test_a_clock_has_dropped_from_a_fiftieth_below_the_highest(clock: float, dropped: bool) -> None:
    slow = metrics([[50.0, 75.0, 49.5], STEADY[1], STEADY[2]], sm_clock_mhz={1: clock})
    ((_, causes),) = slow_causes(slow).items()
    assert len(causes) == dropped


def test_pages_measured_once_do_not_narrow_the_fences() -> None:
    # Within the fences of the repeated pages; forty pages at their own median would leave none.
    pages = [[90.0, 100.0, 110.0]] * 5 + [[100.0, 100.0, 136.0]]
    assert outliers(metrics(pages + [[50.0]] * 40)) == []
