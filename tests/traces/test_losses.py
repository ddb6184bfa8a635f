"""Launches and lost launches: what counts as one."""

from dataclasses import replace
from pathlib import Path

import pytest
from trace_events import annotation, call, event, kernel, write

from mfuscope.traces.columns import read_trace, read_window
from mfuscope.traces.losses import find_losses

DATA = Path(__file__).parents[1] / "data"
STAGES = [annotation("prefill", 0, 10_000), annotation("decode", 10_000, 90_000)]


def counts(tmp_path: Path, *events: dict[str, object]) -> list[tuple[int, int]]:
    """Launches and lost ones, by stage."""
    found = find_losses(read_trace(write(tmp_path / "t.json", [*STAGES, *events])))
    return list(zip(found.launches.tolist(), found.lost.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "launches"),
    [
        ("cudaLaunchKernel", 1),
        ("cudaLaunchKernelExC", 1),
        ("cudaLaunchCooperativeKernel", 1),
        ("cuLaunchKernel", 1),
        ("cuLaunchKernelEx", 1),
        ("cudaMemcpyAsync", 1),
        ("cudaGraphLaunch", 1),
        # These run nothing on the device.
        ("cudaLaunchHostFunc", 0),
        ("cudaStreamSynchronize", 0),
        ("cudaEventRecordWithFlags", 0),
        ("cudaFuncGetAttributes", 0),
        ("cudaMalloc", 0),
        ("INVALID", 0),
        # It may be one of no bytes, which runs nothing.
        ("cudaMemsetAsync", 0),
    ],
)
def test_which_calls_launch(name: str, launches: int, tmp_path: Path) -> None:
    lost = call(name, 1_000, 2_000, correlation=1)
    assert counts(tmp_path, lost) == [(launches, launches), (0, 0), (0, 0)]
    assert counts(tmp_path, lost, kernel("k", 3_000, 4_000, 7, correlation=1)) == [
        (launches, 0),
        (0, 0),
        (0, 0),
    ]


def test_a_loss_belongs_to_the_stage_of_its_launch(tmp_path: Path) -> None:
    events = [
        call("cudaLaunchKernel", 9_000, 9_500, correlation=1),
        call("cudaLaunchKernel", 11_000, 11_500, correlation=2),
        call("cudaLaunchKernel", 95_000, 95_500, correlation=3),
        kernel("k", 20_000, 21_000, 7, correlation=1),  # launched in prefill, ran in decode
    ]
    assert counts(tmp_path, *events) == [(1, 0), (1, 1), (1, 1)]


def test_what_is_captured_is_no_launch(tmp_path: Path) -> None:
    events = [
        call("cudaStreamBeginCapture", 1_000, 1_100, correlation=1),
        call("cudaLaunchKernel", 2_000, 2_100, correlation=2),
        call("cudaMemcpyAsync", 3_000, 3_100, correlation=3),
        call("cudaLaunchKernel", 3_000, 3_100, 2, correlation=4),  # by another thread
        call("cudaStreamEndCapture", 4_000, 4_100, correlation=5),
        call("cudaLaunchKernel", 5_000, 5_100, correlation=6),
    ]
    assert counts(tmp_path, *events)[0] == (2, 2)
    ran = kernel("k", 6_000, 6_100, 7, correlation=4)
    assert counts(tmp_path, *events, ran)[0] == (2, 1)


def test_a_real_capture_launches_nothing() -> None:
    trace = read_window(DATA / "h100-capture.json.gz")
    whole = replace(trace, windows={"prefill": (0, 2**62)})
    found = find_losses(whole)
    # Two kernels, three copies and the replay; 334 launches and copies were captured.
    assert (found.launches[0], found.lost[0]) == (6, 0)


def test_an_event_without_a_launch_may_be_that_of_any(tmp_path: Path) -> None:
    launch = [call("cudaLaunchKernel", 1_000 * i, 1_000 * i + 9, correlation=i) for i in (1, 2, 12)]
    stray = [event("gpu_memcpy", "Memcpy HtoD", 30_000, 31_000, 7)]
    assert counts(tmp_path, *launch) == [(2, 2), (1, 1), (0, 0)]
    # Two are missing, and nothing says in which stage.
    assert counts(tmp_path, *launch, *stray) == [(2, 2), (1, 1), (0, 0)]
    assert counts(tmp_path, *launch, *stray * 2) == [(2, 1), (1, 1), (0, 0)]
    assert counts(tmp_path, *launch, *stray * 3) == [(2, 0), (1, 0), (0, 0)]
    assert counts(tmp_path, *launch, *stray * 4) == [(2, 0), (1, 0), (0, 0)]
    memset = [event("gpu_memset", "Memset (Device)", 30_000, 31_000, 7)]
    assert counts(tmp_path, *launch, *memset * 4) == [(2, 2), (1, 1), (0, 0)]
