"""What the report says of traces that lost or garbled device events, and of a waiting device."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from builders import activity, run
from report_data import cpu_tables, kernel_rows, on_cpu, operator_rows, tables

from mfuscope.core import records
from mfuscope.report.data import ReportData
from mfuscope.report.operator_tables import operator_notes, operators
from mfuscope.report.operators import aggregate_kernels, aggregate_operators
from mfuscope.report.recommendations import recommend
from mfuscope.report.render import render
from mfuscope.report.traces import host_table, no_busy_time, whole_traces
from mfuscope.report.validity import all_checks

NOTHING: dict[str, Any] = {"kernels": None, "device_busy_ms": None, "waiting": None}


def partial(*stages: str, **changes: Any) -> records.Activity:
    """A trace that lost a tenth of the launches of some stages."""
    made = activity(**changes)
    lost = {name: replace(made.stages[name], lost_launches=50, **NOTHING) for name in stages}
    return replace(made, stages=made.stages | lost)


def made(*activities: records.Activity) -> ReportData:
    return tables(
        [run(repeat=i) for i in range(len(activities))],
        activities=[replace(one, repeat=i) for i, one in enumerate(activities)],
    ).data


def test_whole_traces_are_said_to_be() -> None:
    (check,) = whole_traces(made(activity()))
    assert check.verdict == "ok"
    assert check.title in [one.title for one in all_checks(made(activity()))]
    assert not list(whole_traces(tables(on_cpu(), **cpu_tables()).data))


@pytest.mark.parametrize(
    ("found", "text", "line"),
    [
        (
            partial("decode"),
            "1 of them lost so much that the stages named here have no kernels",
            "baseline/page.png/1: 50 launches without a device event; no device times of decode",
        ),
        (
            activity(repaired={"cut": 2, "left_out": 1}),
            "too little to change a result",
            "baseline/page.png/1: 1 device event with an impossible time left out; 2 device events "
            "longer than possible, cut at the next start on its stream",
        ),
        (
            activity(unclaimed_share=0.25),
            "too little to change a result",
            "baseline/page.png/1: 25 % of the device time belongs to no launch and counts by when "
            "it ran",
        ),
        (
            activity(
                stages={
                    name: replace(one, launches=None, lost_launches=None, **NOTHING)
                    for name, one in activity().stages.items()
                },
                unclaimed_share=None,
            ),
            "1 of them lost so much",
            "baseline/page.png/1: no device event",
        ),
    ],
)
def test_faults_of_a_trace_are_listed(found: records.Activity, text: str, line: str) -> None:
    (check,) = whole_traces(made(activity(), found))
    assert check.verdict == "warning"
    assert text in check.text
    assert [detail.replace("\u00a0", " ") for detail in check.details] == [line]


def test_a_stage_without_a_whole_trace_has_no_verdict() -> None:
    data = made(partial("prefill", "decode"), partial("prefill", "decode"))
    stats = data.variants[0].stats
    for name in ("prefill_device_busy_ms", "decode_busy_share", "mfu_prefill_busy"):
        assert stats[name].mean is None
    assert not {"launches", "fuse", "larger_products"} & {
        one.rule for one in recommend(data, data.variants[0])
    }
    assert not host_table(data).rows
    assert no_busy_time(data) == "no trace of this stage is whole"
    texts = render(data)
    assert "no trace of this stage is whole" in texts.html
    assert "host-bound" not in texts.html


def test_runs_with_a_whole_trace_stand_for_the_others() -> None:
    data = made(activity(), partial("decode"))
    assert data.variants[0].stats["decode_device_busy_ms"].mean == 31.0
    assert data.variants[0].stats["decode_device_busy_ms"].n == 1


def test_means_of_tables_leave_out_what_traces_lost() -> None:
    rows = operator_rows(("prefill", "aten::mm", 1.0, 30.0), ("decode", "aten::mm", 3.0, 20.0))
    lacking = rows.assign(device_ms=[float("nan"), 20.0])
    prefill, decode = aggregate_operators([("a", rows), ("a", lacking)])
    assert (prefill.device_ms, prefill.rows[0].device_ms, prefill.runs) == (30.0, 30.0, 2)
    assert decode.device_ms == 20.0
    assert prefill.rows[0].self_cpu_ms == 1.0
    (nothing,) = aggregate_operators([("a", lacking[lacking["stage"] == "prefill"])])
    assert (nothing.device_ms, nothing.on_device) == (None, False)


def test_a_lost_stage_has_no_rates_of_its_operators() -> None:
    rows = operator_rows(("prefill", "aten::mm", 1.0, float("nan")))
    call = rows.assign(operator="cudaLaunchKernel", kind="runtime")
    data = tables([run()], operators=[("baseline", pd.concat([rows, call]))]).data
    (stage,) = data.operators
    assert stage.lost
    assert [stage.ms(row) for row in stage.rows] == [None, None]
    assert "the traces lost kernels" in " ".join(operator_notes(data))
    columns = operators(stage, 10, "cpu", 500.0).columns
    assert not {"TFLOP/s", "Of ceiling", "Device ms"} & set(columns)
    on_a_cpu = tables([run()], operators=[("baseline", rows)]).data
    assert not on_a_cpu.operators[0].lost


def test_kernels_of_runs_that_lost_them_do_not_count() -> None:
    rows = kernel_rows(("prefill", "gemm", 30.0), ("decode", "gemm", 20.0))
    lost: pd.DataFrame = rows[rows["stage"] == "decode"]
    prefill, decode = aggregate_kernels([("a", rows), ("a", lost)])
    assert (prefill.device_ms, decode.device_ms) == (30.0, 20.0)
    assert prefill.rows[0].calls == decode.rows[0].calls == 4


def test_the_table_of_waiting_adds_up() -> None:
    data = made(activity())
    table = host_table(data)
    first = [cell.text.replace("\u00a0", " ") for cell in table.rows[0]]
    assert first[1:] == ["prefill", "50.0", "25.0", "50 %", "25 %", "15 %", "10 %"]
    assert [row[1].text for row in table.rows] == ["prefill", "decode"]
    texts = render(data)
    for text in (texts.html, texts.markdown):
        assert "What the host does while the device waits" in text
