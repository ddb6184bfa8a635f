"""Device events: the stage and operator that launched them, kernels, busy times."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import operator_frame
from trace_events import KEY, annotation, device_run, op, row, write

from mfuscope.core.errors import TraceError
from mfuscope.core.records import StageActivity, Waiting
from mfuscope.core.runs import RunKey
from mfuscope.traces.activity import activity, launches
from mfuscope.traces.columns import read_trace
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.operators import UNATTRIBUTED
from mfuscope.traces.spans import STAGES


def test_device_time_follows_the_launch(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "t.json.gz", device_run()))
    table = operator_frame(trace)
    assert trace.events == 26
    device_ms = {
        (stage, name): ms
        for stage, name, ms in zip(
            table["stage"], table["operator"], table["device_ms"], strict=True
        )
        if ms
    }
    assert device_ms == {
        ("prefill", "aten::addmm"): 0.0035,
        ("prefill", "aten::linear"): 0.0001,
        ("prefill", UNATTRIBUTED): 0.0004,
        ("decode", "aten::copy_"): 0.0007,
        ("decode", UNATTRIBUTED): 0.000009,  # no launch is known of it: by its own time
    }
    linear = row(table, "prefill", "aten::linear")
    assert (linear["calls"], linear["self_cpu_ms"], linear["total_cpu_ms"]) == (1, 0.0008, 0.004)
    assert row(table, "prefill", "aten::addmm")["self_cpu_ms"] == 0.0015
    assert row(table, "prefill", "cudaLaunchKernel")["calls"] == 2
    assert row(table, "prefill", "cudaLaunchKernel")["kind"] == "runtime"
    assert row(table, "decode", "cuLaunchKernel")["self_cpu_ms"] == 0.0001
    assert row(table, "outside", "aten::empty")["self_cpu_ms"] == 0.001
    unattributed = row(table, "prefill", UNATTRIBUTED)
    assert (unattributed["kind"], unattributed["calls"]) == ("unattributed", 0)
    # Sorted: by stage in running order, then by falling device time.
    assert list(dict.fromkeys(table["stage"])) == ["prefill", "decode", "outside"]
    assert table["operator"][0] == "aten::addmm"


def test_kernels_belong_to_the_stage_that_launched_them(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "t.json", device_run()))
    found = kernel_table(trace)
    rows = list(zip(*found.values(), strict=True))
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=STAGES.index)
    launched = launches(trace).stage
    for stage in STAGES:
        mine = launched == STAGES.index(stage)
        total = (trace.device.end - trace.device.start)[mine].sum() / 1e6
        assert sum(row[4] for row in rows if row[0] == stage) == pytest.approx(total)
        assert sum(row[3] for row in rows if row[0] == stage) == mine.sum()
    # The longest first within a stage.
    assert [row[2] for row in rows] == [
        "gemm",
        "Memset",
        "graph a",
        "bias",
        "graph b",
        "Memcpy DtoH",
        "stray",
    ]
    plain = write(tmp_path / "cpu.json", [annotation("prefill", 0, 100), op("aten::mm", 1, 50)])
    assert all(column == [] for column in kernel_table(read_trace(plain)).values())


def test_busy_times_are_the_union_of_streams(tmp_path: Path) -> None:
    found = activity(read_trace(write(tmp_path / "t.json.gz", device_run())), KEY, "dummy", 2)
    assert RunKey(found.variant, found.image, found.repeat) == KEY
    assert set(found.absent) == {"graph_operators"}
    assert found.stages == {
        # 11.0-14.1 us without a gap, and 16.0-16.3; four kernels and a memset.
        "prefill": StageActivity(
            wall_ms=0.01,
            steps=0,
            kernels=4,
            device_busy_ms=0.0034,
            graph_launches=1,
            launches=3,
            lost_launches=0,
            # The device is idle all the time, and starts its work in decode.
            waiting=Waiting(
                python_ms=0.005, dispatch_ms=0.0023, launch_ms=0.0027, synchronisation_ms=0.0
            ),
        ),
        "decode": StageActivity(
            wall_ms=0.02,
            steps=2,
            kernels=1,
            device_busy_ms=0.000709,
            graph_launches=0,
            launches=1,
            lost_launches=0,
            waiting=Waiting(
                python_ms=0.015891, dispatch_ms=0.0, launch_ms=0.0, synchronisation_ms=0.0
            ),
        ),
    }


def test_run_of_one_token_has_no_decode(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "t.json", [annotation("prefill", 0, 9)]))
    found = activity(trace, KEY, "dummy", 0)
    alone = StageActivity(wall_ms=0.000009, steps=0, kernels=None, device_busy_ms=None)
    assert found.stages == {"prefill": alone}
    assert set(found.absent) == {
        *("kernels", "device_busy_ms", "waiting", "graph_launches", "launches", "lost_launches"),
        "unclaimed_share",
    }
    assert operator_frame(trace).empty


def test_an_early_end_leaves_a_step_undone(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "t.json", device_run()))
    assert activity(trace, KEY, "dummy", 1).stages["decode"].steps == 1
    for steps in (0, 3):
        with pytest.raises(TraceError, match=f"holds 2 decode steps, and its run made {steps}"):
            activity(trace, KEY, "dummy", steps)
