"""The work of a traced pass: counted FLOPs by operator, matched with the operators of traces."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import cache_of, calibration, decode_step, generic_calibration, language
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.records import OperatorFlops
from mfuscope.flops import architecture
from mfuscope.metrics.operator_work import (
    StageWork,
    TracedOperator,
    TracedPass,
    Work,
    match,
    pass_work,
)
from mfuscope.traces.columns import read_trace
from mfuscope.traces.operators import operator_table

DATA = Path(__file__).parents[1] / "data"
ATTENTION = "aten::_cudnn_attention_forward"


def traced(steps: int = 3, copies: int = 1) -> TracedPass:
    return TracedPass("1024", steps, copies, on_cpu=False)


@given(steps=st.integers(0, 600), copies=st.integers(1, 64))
def test_operators_add_up_to_their_stage(steps: int, copies: int) -> None:
    counted = calibration()
    work = pass_work(counted, traced(steps, copies))
    assert list(work) == ["prefill", "decode"][: 1 + bool(steps)]
    closed_form = sum(
        sum(architecture.decode_flops(language(), 279 + step, 278).values())
        for step in range(steps)
    )
    wholes = {"prefill": counted.prefill_total["counted"], "decode": closed_form}
    for stage, one in work.items():
        assert one.flops == copies * wholes[stage]
        assert sum(operator.flops or 0 for operator in one.operators.values()) == one.flops


def test_calls_are_per_pass_and_copies_need_no_more() -> None:
    work = pass_work(calibration(), traced(steps=5, copies=8))
    assert work["prefill"].operators["aten::addmm"].calls == 354
    assert work["decode"].operators["aten::mm"].calls == 5 * 96


def test_beyond_a_sliding_window_the_operator_that_grows_does_so_as_the_steps_do() -> None:
    windowed = replace(calibration(), cache=cache_of(language(window=4, sliding_layers=12)))
    for steps, keys in ((4, [279, 280, 281, 282]), (6, [279, 280, 281, 282, 282, 282])):
        work = pass_work(windowed, traced(steps))["decode"]
        one = work.operators[ATTENTION]
        assert one.flops == sum(12 * 4 * at * 1280 for at in keys)
        assert sum(operator.flops or 0 for operator in work.operators.values()) == work.flops


def test_shares_of_operators_are_unknown_beyond_a_sliding_window() -> None:
    """Half of each token's growth is that of scores, by another operator."""
    windowed = replace(calibration(), cache=cache_of(language(window=4, sliding_layers=12)))
    divided = []
    for step in windowed.decode_steps:
        half = replace(step.operators[ATTENTION], flops=step.operators[ATTENTION].flops // 2)
        divided.append(replace(step, operators=step.operators | {ATTENTION: half, "scores": half}))
    windowed = replace(windowed, decode_steps=divided)
    within = pass_work(windowed, traced(4))["decode"]
    assert sum(one.flops or 0 for one in within.operators.values()) == within.flops
    beyond = pass_work(windowed, traced(5))["decode"].operators
    assert beyond[ATTENTION].flops is beyond["scores"].flops is None
    # What does not grow stays known.
    assert beyond["aten::mm"].flops == 5 * decode_step(279).operators["aten::mm"].flops


def test_an_operator_that_steps_call_differently_is_unknown() -> None:
    first, second = generic_calibration().decode_steps
    more = {
        "aten::mm": OperatorFlops(calls=2, flops=10),
        "aten::mv": OperatorFlops(calls=1, flops=1),
    }
    counted = generic_calibration(decode_steps=[first, replace(second, operators=more)])
    operators = pass_work(counted, traced(3))["decode"].operators
    assert operators == {"aten::mm": Work(3, None), "aten::mv": Work(3, None)}


def on_gpu(calls: int, device_ms: float | None = 1.0) -> TracedOperator:
    return TracedOperator(calls, 2.0, 2.0, device_ms)


def unknown(counted: dict[str, Work], found: dict[str, TracedOperator], **more: bool) -> str:
    """Why the only counted operator has no FLOPs."""
    how = {"on_cpu": False, "replays": False} | more
    (one,) = match(StageWork(1.0, counted), found, **how).values()
    assert (one.flops is None) == bool(one.unknown)
    return one.unknown


def test_flops_belong_to_a_row_only_where_its_calls_are_the_counted_ones() -> None:
    counted = {"aten::mm": Work(96, 9e9)}
    assert unknown(counted, {"aten::mm": on_gpu(96)}) == ""
    assert unknown(counted, {"aten::mm": on_gpu(95)}) == "called less often than counted"
    assert unknown(counted, {"aten::mm": on_gpu(97)}) == "called more often than counted"
    for found in ({}, {"aten::mm": on_gpu(0)}, {"aten::bmm": on_gpu(96)}):
        assert unknown(counted, found) == "the trace does not call it"
    assert "replays" in unknown(counted, {"aten::mm": on_gpu(96)}, replays=True)
    assert "grow" in unknown({"aten::mm": Work(96, None)}, {"aten::mm": on_gpu(96)})
    for time in (None, 0.0):
        assert "no time of its own" in unknown(counted, {"aten::mm": on_gpu(96, time)})


def test_on_a_cpu_an_operator_must_do_the_work_itself() -> None:
    counted = {"aten::mm": Work(2, 1e9)}
    assert unknown(counted, {"aten::mm": TracedOperator(2, 0.61, 6.0, None)}, on_cpu=True) == ""
    wraps = {"aten::mm": TracedOperator(2, 0.59, 6.0, None)}
    assert "operators that it calls" in unknown(counted, wraps, on_cpu=True)
    assert unknown(counted, {"aten::mm": on_gpu(2, 4.0)}) == ""


def test_bytes_go_with_the_names_of_the_trace() -> None:
    moved = {("prefill", "aten::add"): 7.0, ("decode", "aten::mm"): 5.0, ("decode", "gone"): 1.0}
    work = pass_work(calibration(), traced(3), moved)
    rows = {"aten::mm": on_gpu(288), "aten::add": on_gpu(9)}
    found = match(work["decode"], rows, on_cpu=False, replays=False)
    assert found["aten::mm"].dram_bytes == 3 * 5.0  # of one step: for three
    assert found["aten::mm"].flops
    assert found["gone"].dram_bytes is None
    found = match(work["prefill"], rows, on_cpu=False, replays=False)
    assert (found["aten::add"].dram_bytes, found["aten::add"].unknown) == (7.0, "")
    assert pass_work(calibration(), traced())["prefill"].traffic is None


def rows_of(trace: str, stage: str) -> dict[str, TracedOperator]:
    table = operator_table(read_trace(DATA / trace))
    names = ("stage", "kind", "operator", "calls", "self_cpu_ms", "total_cpu_ms", "device_ms")
    return {
        name: TracedOperator(*values)
        for of, kind, name, *values in zip(*(table[column] for column in names), strict=True)
        if (of, kind) == (stage, "operator")
    }


@pytest.mark.parametrize(
    ("stage", "counted"),
    [
        ("prefill", {"aten::mm": 4, "aten::addmm": 12, ATTENTION: 6}),
        ("decode", {"aten::addmm": 36, "aten::_flash_attention_forward": 18}),
    ],
)
def test_an_h100_trace_has_times_where_the_flops_go(stage: str, counted: dict[str, int]) -> None:
    """Names and calls as the counter has them: the innermost operators of linear and attention."""
    rows = rows_of("h100-trace.json.gz", stage)
    work = StageWork(1e12, {name: Work(calls, 1e9) for name, calls in counted.items()})
    found = match(work, rows, on_cpu=False, replays=False)
    assert [one.unknown for one in found.values()] == [""] * len(counted)
    assert all(rows[name].device_ms for name in found)
