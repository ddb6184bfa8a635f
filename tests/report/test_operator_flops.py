"""FLOPs, rates and bytes in the tables of operators, and how much of a stage they carry."""

import pandas as pd
import pytest
from builders import calibration, cpu, run
from report_data import operator_rows

from mfuscope.core.runs import RunKey
from mfuscope.metrics.operator_work import StageWork, TracedPass, Work
from mfuscope.report import operator_tables
from mfuscope.report.formats import ABSENT
from mfuscope.report.operator_flops import RunWork, works
from mfuscope.report.operators import StageOperators, aggregate_operators

MM, BMM, ADD, GROUPED = "aten::mm", "aten::bmm", "aten::add", "aten::_grouped_mm"


def work(flops: float = 100e9, traffic: dict[str, float] | None = None) -> RunWork:
    """A decode of two products; `operator_rows` has two calls of every operator."""
    counted = {MM: Work(2, 0.9 * flops), BMM: Work(2, 0.1 * flops)}
    return RunWork({"decode": StageWork(flops, counted, traffic)}, on_cpu=False)


def traced(*, mm_ms: float | None = 10.0) -> pd.DataFrame:
    return operator_rows(
        ("decode", MM, 3.0, mm_ms), ("decode", BMM, 2.0, 5.0), ("decode", ADD, 1.0, 4.0)
    )


def stage_of(*runs: tuple[pd.DataFrame, RunWork]) -> StageOperators:
    (stage,) = aggregate_operators([("v", table) for table, _ in runs], [one for _, one in runs])
    return stage


def shown(stage: StageOperators, roof: float | None = 100.0) -> dict[str, dict[str, str]]:
    table = operator_tables.operators(stage, 10, "device", roof)
    lines = [
        dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows
    ]
    return {line["Operator"]: line for line in lines}


def test_rates_are_flops_by_device_time() -> None:
    stage = stage_of((traced(), work()))
    rows = shown(stage)
    names = ("TFLOP/s", "Of ceiling", "GFLOPs")
    assert [rows[MM][name] for name in names] == ["9.00", "9.0\u00a0%", "90.0"]
    assert [rows[BMM][name] for name in names] == ["2.00", "2.0\u00a0%", "10.0"]
    assert [rows[ADD][name] for name in names] == [ABSENT] * 3
    assert "GB/s" not in rows[MM]
    assert list(rows[MM])[:6] == ["Operator", "Share", "Device ms", *names[:2], "GFLOPs"]
    # By self CPU time the same operators have no rates: the CPU computes nothing here.
    assert "TFLOP/s" not in operator_tables.operators(stage, 10, "cpu", 100.0).columns
    assert operator_tables.work_statement(stage, 100.0) == (
        "Operators with known FLOPs cover 100\u00a0% of the 100.0 GFLOPs counted. Most time lost "
        "against the ceiling of 100 TFLOP/s: aten::mm 10.0 ms (0.900 ms at the ceiling) and "
        "aten::bmm 5.00 ms (0.100 ms at the ceiling). In decode, bandwidth may limit them."
    )


def test_without_a_ceiling_there_is_no_share_of_it() -> None:
    stage = stage_of((traced(), work()))
    assert "Of ceiling" not in shown(stage, None)[MM]
    assert "ceiling" not in operator_tables.work_statement(stage, None)


def test_rates_are_of_all_runs_together() -> None:
    stage = stage_of((traced(mm_ms=10.0), work(100e9)), (traced(mm_ms=30.0), work(300e9)))
    mm = shown(stage)[MM]
    assert (mm["Device ms"], mm["GFLOPs"], mm["TFLOP/s"]) == ("20.0", "180", "9.00")
    assert stage.flops == 200e9


def test_other_calls_leave_the_flops_unknown() -> None:
    more = traced()
    more.loc[more["operator"] == MM, "calls"] = 3
    stage = stage_of((traced(), work()), (more, work()))
    row = next(row for row in stage.rows if row.name == MM)
    assert (row.flops, row.unknown) == (None, "called more often than counted in 1 of 2 runs")
    statement = operator_tables.work_statement(stage)
    assert "cover 10.0\u00a0% of the 100.0 GFLOPs" in statement
    assert "FLOPs are unknown for aten::mm: called more often" in statement


def test_what_the_trace_lacks_is_named() -> None:
    lacking = StageWork(4e9, {MM: Work(2, 1e9), GROUPED: Work(22, 3e9)})
    statement = operator_tables.work_statement(
        stage_of((traced(), RunWork({"decode": lacking}, on_cpu=False)))
    )
    assert "cover 25.0\u00a0% of the 4.000 GFLOPs" in statement
    assert f"FLOPs are unknown for {GROUPED}: the trace does not call it." in statement


@pytest.mark.parametrize("launch", ["cudaGraphLaunch", "cuGraphLaunch"])
def test_a_stage_of_graph_replays_has_no_flops(launch: str) -> None:
    """Kernels of a replay count for operators that have other calls, or none."""
    replay = operator_rows(("decode", launch, 1.0, 0.0)).assign(kind="runtime")
    stage = stage_of((pd.concat([traced(), replay]), work()))
    assert "TFLOP/s" not in shown(stage)[MM]
    statement = operator_tables.work_statement(stage, 100.0)
    assert statement.startswith("Operators with known FLOPs cover 0\u00a0% of the 100.0 GFLOPs")
    assert "aten::mm and aten::bmm: the trace replays CUDA graphs" in statement


def test_a_run_without_device_time_leaves_the_rate_unknown() -> None:
    stage = stage_of((traced(), work()), (traced(mm_ms=None), work()))
    assert {row.name: row.flops is None for row in stage.rows}[MM]


def test_arithmetic_that_another_resolution_does_not_count_is_no_part_of_a_rate() -> None:
    less = RunWork({"decode": StageWork(1e9, {MM: Work(2, 1e9)})}, on_cpu=False)
    stage = stage_of((traced(), work()), (traced(), less))
    row = next(row for row in stage.rows if row.name == BMM)
    assert (row.flops, row.unknown) == (None, "not counted in 1 of 2 runs")


def test_bandwidth_is_shown_where_counters_know_the_bytes() -> None:
    moved = {MM: 20e9, ADD: 4e9}
    rows = shown(stage_of((traced(), work(traffic=moved))))
    assert [rows[name]["GB/s"] for name in (MM, ADD, BMM)] == ["2,000", "1,000", ABSENT]
    # Bytes of one run alone are not those of both.
    rows = shown(stage_of((traced(), work(traffic=moved)), (traced(), work(traffic={MM: 20e9}))))
    assert [rows[name]["GB/s"] for name in (MM, ADD)] == ["2,000", ABSENT]


def test_on_a_cpu_the_rate_is_by_self_cpu_time() -> None:
    table = operator_rows(("decode", MM, 4.0, None), ("decode", BMM, 2.0, None))
    counted = RunWork(work().stages, on_cpu=True)
    stage = stage_of((table, counted))
    made = operator_tables.operators(stage, 10, "cpu", 100.0)
    assert made.columns[:4] == ("Operator", "Share", "Self CPU ms", "TFLOP/s")
    assert [row[3].text for row in made.rows] == ["22.5", "5.00"]


def test_a_gpu_without_device_times_has_no_rates() -> None:
    table = operator_rows(("decode", MM, 4.0, None), ("decode", BMM, 2.0, None))
    stage = stage_of((table, work()))
    assert "TFLOP/s" not in operator_tables.operators(stage, 10, "cpu", 100.0).columns


def test_each_run_has_the_work_of_its_pass() -> None:
    keys = [RunKey("baseline", "a.png", 0), RunKey("baseline", "b.png", 0)]
    passes = [TracedPass("1024", 4, 2, on_cpu=False), TracedPass("1024", 0, 1, on_cpu=True)]
    first, second = works(keys, dict(zip(keys, passes, strict=True)), [calibration()])
    assert (first.on_cpu, second.on_cpu) == (False, True)
    assert first.stages["prefill"].flops == 2 * second.stages["prefill"].flops
    assert list(second.stages) == ["prefill"]
    moved = {("baseline", "1024"): {("decode", MM): 5.0}}
    (counted,) = works(keys[:1], {keys[0]: passes[0]}, [calibration()], moved)
    assert counted.stages["decode"].traffic == {MM: 4 * 5.0}
    assert TracedPass.of(run(5)) == TracedPass("1024", 4, 1, on_cpu=False)
    assert TracedPass.of(run(5, device=cpu())).on_cpu
