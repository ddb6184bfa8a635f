"""What runs took beyond the fastest repeat of their page."""

import pandas as pd
import pytest
from repeat_rows import table

from mfuscope.core.runs import RunKey
from mfuscope.metrics.causes import CAUSES, PLACES
from mfuscope.metrics.repeats import excesses, explained_ms, merged


def test_each_run_is_held_against_the_fastest_of_its_page() -> None:
    # Two of three are slow: against the median, only 8 of their 1,000 ms would be to explain.
    rows = table(
        {"decode_ms": 1516.0, "step_p50_ms": 24.0},
        {"decode_ms": 1008.0},
        {"decode_ms": 1508.0, "decode_wait_ms": 400.5, "stalls": 1, "stall_ms": 484.0},
    )
    other = table({"decode_ms": 500.0, "image": "b.png"}, {"decode_ms": 500.0, "image": "b.png"})
    found = excesses(pd.concat([rows, other], ignore_index=True))
    assert [(one.run, one.stage) for one in found] == [
        (RunKey("baseline", "page.png", 0), "decode"),
        (RunKey("baseline", "page.png", 2), "decode"),
    ]
    assert [one.excess_ms for one in found] == [508.0, 500.0]
    whole = merged(found)
    assert [one.kind for one in whole] == ["throughout", "wait", "stalls"]
    assert explained_ms(whole, CAUSES) == pytest.approx(400.0)
    assert explained_ms(whole, PLACES) == pytest.approx(504.0 + 100.0)


def test_causes_of_a_kind_are_added() -> None:
    rows = table({"decode_wait_ms": 0.0}, *({"decode_wait_ms": ms} for ms in (90.0, 300.0)))
    rows["decode_ms"] = [1008.0, 1108.0, 1408.0]
    (wait,) = merged(excesses(rows))
    assert (wait.explained_ms, wait.runs) == (390.0, 2)
    assert (wait.slow, wait.fast) == (300.0, 0.0), "of the run of which it explains most"
    rows["decode_major_faults"] = [0, 1, 3]
    _, faults = merged(excesses(rows))
    assert (faults.kind, faults.explained_ms, faults.runs) == ("major_faults", None, 2)


def test_a_page_measured_once_has_no_excess() -> None:
    assert excesses(table({})) == []


def test_the_first_run_of_a_process_is_named_only_where_first_runs_are_slow() -> None:
    def kinds(*pages: tuple[float, float]) -> list[str]:
        """Of pages whose first and second runs took this long; the first run begins a process."""
        made = [
            table(
                {"image": f"{i}.png", "decode_ms": first, "runs_before": 0},
                {"image": f"{i}.png", "decode_ms": second},
                {"image": f"{i}.png", "decode_ms": second},
            )
            for i, (first, second) in enumerate(pages)
        ]
        return [c.kind for one in excesses(pd.concat(made, ignore_index=True)) for c in one.causes]

    assert kinds((1500.0, 1000.0), (1500.0, 1000.0)) == [], "two first runs say nothing"
    assert kinds((1500.0, 1000.0), (1000.0, 1000.0), (1010.0, 1000.0)) == []
    assert kinds((1500.0, 1000.0), (1200.0, 1000.0), (1000.0, 1000.0)) == ["first_run"] * 2


def test_a_first_run_is_held_against_the_other_repeats() -> None:
    # Of two repeats the median of both would be 1,090 ms: the first run is 8 % above it.
    made = [
        table(
            {"image": f"{i}.png", "decode_ms": 1180.0, "runs_before": 0},
            {"image": f"{i}.png", "decode_ms": 1000.0},
        )
        for i in range(3)
    ]
    found = excesses(pd.concat(made, ignore_index=True))
    assert [[cause.kind for cause in one.causes] for one in found] == [["first_run"]] * 3


@pytest.mark.parametrize(
    ("column", "kind", "much"),
    [
        ("gpu_processes", "gpu_processes", 2),
        ("overlapping_jobs", "jobs", 1),
        ("steal_ms", "steal", 80),
    ],
)
def test_what_fast_runs_meet_as_often_is_no_circumstance(column: str, kind: str, much: int) -> None:
    def kinds(*pages: tuple[int, int]) -> list[str]:
        """Of pages whose slow and fast runs met this much of it."""
        made = [
            table(
                {"image": f"{i}.png", "decode_ms": 1500.0, column: slow},
                {"image": f"{i}.png", "decode_ms": 1000.0, column: fast},
            )
            for i, (slow, fast) in enumerate(pages)
        ]
        found = excesses(pd.concat(made, ignore_index=True))
        return [cause.kind for one in found for cause in one.causes]

    assert kinds((much, 0), (much, 0)) == [kind, kind]
    assert kinds((much, 0), (0, 0)) == [], "one run is no evidence"
    assert kinds(*[(much, 0)] * 2, *[(0, much)] * 2) == [], "fast runs met as much"
    assert kinds((much, 0)) == []
    assert kinds((much, 0), (much, 0), (much, 0), (0, much)) == [kind] * 3


def test_a_stage_that_took_no_time_has_no_ratio() -> None:
    rows = table({"runs_before": 0}, {})
    rows["decode_ms"] = 0.0
    assert excesses(rows) == []
