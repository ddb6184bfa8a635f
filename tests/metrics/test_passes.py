"""What metrics.csv says of passes, their host and their session."""

from dataclasses import replace

import pytest
from builders import (
    CALL,
    HOST,
    STARTED_AT,
    a_pass,
    activity,
    calibration,
    ceiling,
    conditions,
    hardware,
    host,
    host_stage,
    run,
    session,
)
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.records import Activity, Run
from mfuscope.metrics.passes import Reading, Span, orders, overlaps, pass_columns
from mfuscope.metrics.run_metrics import metrics_table

TIMES = [(50.0, 200.0), (55.0, 160.0), (60.0, 100.0)]


def test_spread_is_over_the_passes() -> None:
    passes = [a_pass(prefill_ms=prefill, decode_ms=decode) for prefill, decode in TIMES]
    found = pass_columns(run(passes=passes))
    assert found["timed_passes"] == 3
    assert found["prefill_spread"] == pytest.approx(10 / 55)
    assert found["decode_spread"] == pytest.approx(100 / 160)
    alone = pass_columns(run(passes=passes[:1]))
    assert alone["prefill_spread"] is alone["decode_spread"] is None
    one_token = pass_columns(run(1, passes=[a_pass(1, decode_ms=0.0)] * 2))
    assert (one_token["prefill_spread"], one_token["decode_spread"]) == (0.0, None)


def test_a_stage_has_the_host_of_the_pass_that_gave_its_time() -> None:
    passes = [
        a_pass(
            prefill_ms=prefill,
            decode_ms=decode,
            host=host(
                prefill=host_stage(run_queue_wait_ms=float(n), major_faults=n, collections_ms=1.0),
                decode=host_stage(run_queue_wait_ms=10.0 + n, involuntary_switches=n),
            ),
            conditions_before=conditions(sm_clock_mhz=1000 + n, throttle_reasons=[f"sw_{n}"]),
            conditions_after=conditions(sm_clock_mhz=1010 + n),
        )
        for n, (prefill, decode) in enumerate([(55.0, 999.0), (50.0, 160.0), (60.0, 100.0)])
    ]
    found = pass_columns(run(passes=passes))
    assert (found["prefill_wait_ms"], found["decode_wait_ms"]) == (0.0, 11.0)
    assert (found["prefill_major_faults"], found["decode_major_faults"]) == (0, 0)
    assert (found["prefill_involuntary_switches"], found["decode_involuntary_switches"]) == (1, 1)
    assert (found["prefill_collections_ms"], found["decode_collections_ms"]) == (1.0, 0.0)
    assert found["sm_clock_mhz"] == 1000
    assert found["throttle_reasons"] == "sw_0+sw_1", "not of the pass that gave no time"
    assert (found["session"], found["process"]) == (CALL, "0123456789ab")


def at(*starts: float, call: str = CALL, on: str = HOST, ms: float = 1000.0) -> Run:
    passes = [a_pass(host_ms=ms, host=host(started_at=STARTED_AT + start)) for start in starts]
    return run(passes=passes, session=session(call=call, host=on))


def reading(start: float, end: float, on: str = HOST) -> Activity:
    made = activity(reading_started=STARTED_AT + start, reading_ended=STARTED_AT + end)
    return replace(made, host=on)


def test_order_is_the_rank_within_a_call() -> None:
    runs = [at(30.0), at(10.0, call="b"), at(20.0), at(5.0, call="b"), at(10.0)]
    assert orders([Span.of(one) for one in runs]) == [2, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("readings", "count"),
    [
        ([], 0),
        ([reading(-5, 0), reading(1.0, 10), reading(20, 30)], 0),  # before, between, after
        ([reading(0.5, 0.6)], 1),
        ([reading(-5, 0.1), reading(0.9, 9)], 2),
        ([reading(-5, 50)], 1),  # both passes, one job
        ([reading(10.5, 11)], 1),
        ([reading(0.5, 0.6, on="another")], 0),
    ],
)
def test_readings_overlap_where_they_meet_a_pass(readings: list[Activity], count: int) -> None:
    spans = [Span.of(at(0.0, 10.0))]
    assert overlaps(spans, [Reading.of(one) for one in readings]) == [count]


WHEN = st.integers(0, 40).map(float)


@given(
    st.lists(st.tuples(WHEN, st.integers(1, 9)), min_size=1, max_size=6),
    st.lists(st.tuples(WHEN, st.integers(1, 9)), max_size=6),
)
def test_overlaps_are_those_of_every_pair(
    passes: list[tuple[float, int]], jobs: list[tuple[float, int]]
) -> None:
    span = Span(CALL, "h", tuple((start, start + length) for start, length in passes))
    readings = [Reading("h", start, start + length) for start, length in jobs]
    expected = sum(
        any(set(range(int(a), int(b))) & set(range(int(r.started), int(r.ended)))
            for a, b in span.passes)
        for r in readings
    )  # fmt: skip
    assert overlaps([span], readings) == [expected]


def test_the_table_has_order_and_overlaps_of_all_runs() -> None:
    runs = [replace(at(10.0), repeat=0), replace(at(0.0), repeat=1)]
    activities = [reading(12, 13), reading(10.5, 11)]
    table = metrics_table(
        runs, activities, {("baseline", "1024"): calibration()}, hardware(), ceiling()
    )
    assert table["order"].tolist() == [1, 0]
    assert table["overlapping_jobs"].tolist() == [1, 0]
    assert table["reference_prefill_ms"].tolist() == [49.0, 49.0]
