"""What the report says of the spread between repeats, and of what explains it."""

from dataclasses import replace
from typing import Any

from builders import a_pass, activity, cpu_activity, host, host_stage, run
from report_data import tables, texts
from report_reader import section

from mfuscope.core import records
from mfuscope.metrics.causes import CAUSES, CIRCUMSTANCES, PLACES, Cause
from mfuscope.report.spread import (
    NOT_RECORDED,
    by_stage,
    explanation,
    host_side,
    how_much,
    unsteady,
    words,
)


def repeats(*decodes: dict[str, Any]) -> list[records.Run]:
    """Repeats of a page with these decode steps and waits for a CPU."""
    runs = []
    for number, changes in enumerate(decodes):
        steps, wait = changes.get("steps", [20.0] * 3), changes.get("wait", 0.5)
        met = host(decode=host_stage(run_queue_wait_ms=wait))
        timed = a_pass(step_ms=steps, decode_ms=sum(steps), host=met)
        runs.append(run(repeat=number, runs_before=number + 1, timed=timed))
    return runs


# 90 ms beyond the fastest: 80 waited. 60 ms: every step slower.
WAITED = {"steps": [20.0, 20.0, 110.0], "wait": 80.5}
SLOWER = {"steps": [40.0] * 3}


def test_every_cause_has_its_milliseconds() -> None:
    data = tables(repeats({}, WAITED, SLOWER)).data
    (found,) = unsteady(data)
    assert (found.stage, found.excess_ms, found.known) == ("decode", 150.0, True)
    text = explanation(found.causes, found.excess_ms)
    assert text == (
        "waited for a CPU 80.0\u00a0ms, 53\u00a0%; "
        "every decode step slower (median step 40.0 against 20.0 ms) 60.0\u00a0ms, 40\u00a0%; "
        "stalled steps 10.0\u00a0ms, 6.7\u00a0%"
    )
    assert how_much(data) == (
        "Against the fastest repeat of each page, 1 unsteady time lost 150\u00a0ms. "
        "1 of 1 has a recorded cause for at least half of the loss. "
        "Recorded causes explain 80.0\u00a0ms (53\u00a0%): waited for a CPU 80.0\u00a0ms. "
        "The record says where 70.0\u00a0ms (47\u00a0%) went, but not why: every decode step "
        "slower 60.0\u00a0ms and stalled steps 10.0\u00a0ms. "
        "0\u00a0ms (0\u00a0%) is unexplained. "
        "The record rules out garbage collection (none) and a lower SM clock (1,980 MHz)."
    )


def test_what_the_record_rules_out_and_what_it_does_not_know() -> None:
    told = how_much(tables(repeats({}, {"wait": 1.25}, SLOWER)).data)
    assert "0 of 1 have a recorded cause" in told
    assert "Recorded causes explain" not in told
    assert told.endswith(
        "The record rules out run-queue wait (at most 1.25\u00a0ms a stage), garbage collection "
        "(none), stalled steps (none) and a lower SM clock (1,980 MHz)."
    )
    unknown = how_much(tables(repeats({}, {"wait": None}, SLOWER)).data)
    assert "rules out garbage collection (none)" in unknown
    assert unknown.endswith("Not recorded for some or all of these runs: run-queue wait.")


def test_the_report_lists_causes_by_stage_and_by_page() -> None:
    runs = repeats({}, WAITED, SLOWER)
    ((variant, stage, told),) = by_stage(tables(runs).data)
    assert (variant, stage) == ("baseline", "decode")
    assert told.startswith(
        "1 of 1 page unsteady, 150\u00a0ms lost against the fastest: waited for a CPU"
    )
    assert told.endswith("the host causes the spread.")
    made = texts(runs)
    steadiness = section(made.markdown, "Steadiness")
    for text in (steadiness.replace(" ms", "\u00a0ms"), made.html):
        assert "median step 40.0 against 20.0" in text
        assert "waited for a CPU 80.0\u00a0ms" in text
    assert "| waited for a CPU 80.0 ms, 53 %; every decode step slower 60.0 ms, 40 %;" in steadiness


def test_what_nothing_explains_is_said() -> None:
    slow = a_pass(prefill_ms=90.0, vision_ms=None, absent={"vision_ms": "not known"})
    runs = [*repeats({}, {}), run(repeat=2, runs_before=3, timed=slow)]
    data = tables(runs).data
    (found,) = unsteady(data)
    assert (found.causes, found.known) == ((), False)
    assert explanation(found.causes, found.excess_ms) == NOT_RECORDED
    assert f"| {NOT_RECORDED} |" in section(texts(runs).markdown, "Steadiness")
    told = how_much(data)
    assert "at least half of the loss. 40.0\u00a0ms (100\u00a0%) is unexplained." in told
    assert "The record says where" not in told


def test_a_time_is_explained_from_half_of_its_excess() -> None:
    def known(wait: float) -> tuple[bool, bool]:
        # One step more than the median, too short to be a stall.
        slow = {"steps": [20.0, 20.0, 39.9], "wait": wait + 0.5}
        (found,) = unsteady(tables(repeats({}, {}, slow)).data)
        return found.caused, found.known

    assert known(10.0) == (True, True)
    assert known(9.9) == (False, False)
    (found,) = unsteady(tables(repeats({}, SLOWER)).data)
    assert (found.caused, found.known) == (False, True), "a place is no cause"


def test_steady_repeats_have_nothing_to_explain() -> None:
    data = tables(repeats({}, {}, {})).data
    assert unsteady(data) == []
    assert how_much(data) == ""
    assert by_stage(data) == []


def test_the_host_is_named_where_the_device_does_not_vary() -> None:
    data = tables(repeats({}, WAITED, SLOWER)).data
    assert "the host causes the spread" in host_side(data.reference, "decode")
    assert host_side(data.reference, "prefill") == "", "prefill does not vary"
    runs = repeats({}, WAITED, SLOWER)
    busy = [activity(stages=_busy(ms)) for ms in (31.0, 80.0, 50.0)]
    assert host_side(tables(runs, activities=busy).data.reference, "decode") == ""
    unknown = [cpu_activity()] * 3
    assert host_side(tables(runs, activities=unknown).data.reference, "decode") == ""


def _busy(ms: float) -> dict[str, records.StageActivity]:
    stages = dict(activity().stages)
    return stages | {"decode": replace(stages["decode"], device_busy_ms=ms)}


def test_every_kind_has_words() -> None:
    for kind in (*CAUSES, *PLACES, *CIRCUMSTANCES):
        name = {"part": "language", "throttled": "sw_power_cap+hw_slowdown"}.get(kind, "")
        text = words(Cause(kind=kind, slow=3.0, fast=1.0, name=name))
        assert text
        assert kind not in ("part", "throttled") or name.split("+")[0] in text
    circumstance = Cause(kind="gpu_processes", slow=2.0, fast=0.0)
    assert explanation([circumstance], 10.0) == (
        "also met: other processes on the GPU (2 against 0)"
    )
