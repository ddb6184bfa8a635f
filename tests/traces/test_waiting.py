"""What the host does while the device waits for it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from trace_events import annotation, call, event, kernel, op, write

from mfuscope.core.records import Waiting
from mfuscope.traces.columns import read_trace
from mfuscope.traces.intervals import gaps, union
from mfuscope.traces.waiting import waiting

DATA = Path(__file__).parents[1] / "data"

# Host: an operator that launches, Python, an operator that waits, Python. Device: 400 ns at work.
EVENTS = [
    annotation("prefill", 0, 10_000),
    op("aten::mm", 1_000, 4_000),
    call("cudaLaunchKernel", 2_000, 3_000, correlation=1),
    op("aten::item", 6_000, 9_000),
    call("cudaMemcpyAsync", 6_500, 7_000, correlation=2),
    call("cudaStreamSynchronize", 7_000, 8_500, correlation=3),
    kernel("gemm", 3_500, 3_600, 7, correlation=1),
    event("gpu_memcpy", "Memcpy DtoH", 7_500, 7_800, 7, correlation=2),
]


def found(tmp_path: Path, *more: dict[str, object], stage: str = "prefill") -> Waiting:
    return waiting(read_trace(write(tmp_path / "t.json", [*EVENTS, *more])), stage)


def test_each_gap_is_where_the_host_is(tmp_path: Path) -> None:
    assert found(tmp_path) == Waiting(
        python_ms=0.004,  # 0-1000, 4000-6000, 9000-10000
        dispatch_ms=0.0029,  # 1000-2000, 3000-4000 less the kernel, 6000-6500, 8500-9000
        launch_ms=0.0015,  # 2000-3000, 6500-7000
        synchronisation_ms=0.0012,  # 7000-8500 less the copy
    )


def test_the_profilers_pauses_are_no_waiting(tmp_path: Path) -> None:
    pause = event("overhead", "Buffer Flush", 4_500, 5_500)
    assert found(tmp_path, pause) == Waiting(
        python_ms=0.003, dispatch_ms=0.0029, launch_ms=0.0015, synchronisation_ms=0.0012
    )


def test_only_the_thread_of_the_stage_counts(tmp_path: Path) -> None:
    other = op("aten::copy_", 0, 10_000, tid=2)
    assert found(tmp_path, other) == found(tmp_path)


def test_a_device_that_works_all_the_time_does_not_wait(tmp_path: Path) -> None:
    busy = kernel("other stream", 0, 10_000, 9)
    assert set(asdict(found(tmp_path, busy)).values()) == {0.0}


def test_each_stage_has_its_own(tmp_path: Path) -> None:
    decode = [annotation("decode", 10_000, 12_000), op("aten::add", 11_000, 12_000)]
    assert found(tmp_path, *decode, stage="decode") == Waiting(
        python_ms=0.001, dispatch_ms=0.001, launch_ms=0.0, synchronisation_ms=0.0
    )


@pytest.mark.parametrize(
    ("call_name", "waits"),
    [
        ("cudaDeviceSynchronize", True),
        ("cudaEventSynchronize", True),
        ("cuCtxSynchronize", True),
        ("cudaMemcpy", True),
        ("cudaMemcpyAsync", False),
        ("cudaMemcpy2DAsync", False),
        ("cudaMemsetAsync", False),
        ("cudaGraphLaunch", False),
        ("cudaEventRecord", False),
    ],
)
def test_which_calls_wait(call_name: str, waits: bool, tmp_path: Path) -> None:
    more = found(tmp_path, call(call_name, 4_500, 5_500, correlation=9))
    rest = found(tmp_path)
    name = "synchronisation_ms" if waits else "launch_ms"
    assert getattr(more, name) == pytest.approx(getattr(rest, name) + 0.001)


@pytest.mark.parametrize("name", ["h100-trace", "h100-compiled"])
def test_a_real_device_waits_in_every_gap(name: str) -> None:
    trace = read_trace(DATA / f"{name}.json.gz")
    starts, ends = (
        [*getattr(trace.device, side), *getattr(trace.overhead, side)] for side in ("start", "end")
    )
    taken = union(np.array(starts), np.array(ends))
    for stage, window in trace.windows.items():
        parts = asdict(waiting(trace, stage))
        assert sum(parts.values()) == pytest.approx(gaps(window, taken).length / 1e6)
        assert min(parts.values()) > 0
