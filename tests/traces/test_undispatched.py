"""Kernels that were launched past torch's dispatcher."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_events import Json, annotation, call, event, kernel, op, write

from mfuscope.traces.activity import launches
from mfuscope.traces.columns import read_trace
from mfuscope.traces.graphs import METADATA, CapturedGraph, to_metadata
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.spans import KERNEL
from mfuscope.traces.undispatched import undispatched

DATA = Path(__file__).parents[1] / "data"
# Of each the operators around its launch, from the outermost, and whether none of them dispatched.
LAUNCHES = {
    "gemm": (("aten::linear", "aten::addmm"), False),
    "straight_from_python": ((), True),
    "chunk_fwd": (("ChunkDeltaRuleFunction",), True),
    "conv1d_fwd": (("aten::conv1d", "CausalConv1dFn"), False),  # what was counted has run it
    "own": (("package::attention",), False),  # calibration counts or names it
    "user_kernel": (("Torch-Compiled Region: 0/0", "user_kernel"), True),
    "triton_poi_fused_mul_silu_13": (
        ("Torch-Compiled Region: 0/0", "triton_poi_fused_mul_silu_13"),
        False,
    ),
    "triton_tem_fused_mm_2": ((), False),
}


def launched(name: str, operators: tuple[str, ...], start: int, number: int) -> list[Json]:
    """A launch under nested operators, and its kernel, which runs for 100 ns."""
    outer = [
        op(one, start + depth, start + 90 - depth, External_id=100 * number + depth)
        for depth, one in enumerate(operators)
    ]
    innermost = 100 * number + len(operators) - 1 if operators else 0
    return [
        *outer,
        call("cuLaunchKernel", start + 40, start + 50, correlation=number),
        kernel(name, start + 60, start + 160, 7, External_id=innermost, correlation=number),
    ]


def test_the_operators_around_a_launch_decide(tmp_path: Path) -> None:
    events = [annotation("prefill", 0, 2_000), annotation("decode", 2_000, 3_000)]
    for number, (name, (operators, _)) in enumerate(LAUNCHES.items(), 1):
        events += launched(name, operators, 200 * number, number)
    events += [
        call("cudaMemcpyAsync", 1_900, 1_950, correlation=50),
        event("gpu_memcpy", "Memcpy DtoH", 2_000, 2_100, 7, correlation=50),
        kernel("stray", 2_100, 2_200, 7, correlation=99),  # nothing says what launched it
    ]
    table = kernel_table(read_trace(write(tmp_path / "t.json", events)))
    found = dict(zip(table["kernel"], table["undispatched_ms"], strict=True))
    expected = {name: 1e-4 if past else 0.0 for name, (_, past) in LAUNCHES.items()}
    assert found == pytest.approx(expected | {"Memcpy DtoH": 0.0, "stray": 0.0})


def test_of_replays_the_captured_operators_decide(tmp_path: Path) -> None:
    graph = CapturedGraph(("gemm", "user_kernel", "bare"), ("aten::mm", "user_kernel", ""))
    events = [
        annotation("prefill", 0, 1_000),
        annotation("decode", 1_000, 2_000),
        call("cudaGraphLaunch", 1_100, 1_200, correlation=1),
        call("cudaGraphLaunch", 1_500, 1_600, correlation=2),
    ]
    nodes = [(1, name) for name in graph.kernels] + [(2, "user_kernel"), (2, "of another graph")]
    events += [
        kernel(name, 1_200 + 100 * place, 1_300 + 100 * place, 7, correlation=number)
        for place, (number, name) in enumerate(nodes)
    ]
    document = {"traceEvents": events, METADATA: json.loads(to_metadata([graph]))}
    path = tmp_path / "t.json"
    path.write_bytes(msgspec.json.encode(document))
    trace = read_trace(path)
    assert undispatched(trace, launches(trace)).tolist() == [False, True, False, False, False]


@given(st.lists(st.sampled_from(sorted(LAUNCHES)), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_they_add_up_with_the_others_to_the_device_time(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    events = [annotation("prefill", 0, 3_000)]
    for number, name in enumerate(names, 1):
        events += launched(name, LAUNCHES[name][0], 300 * number, number)
    path = tmp_path_factory.mktemp("traces") / "t.json"
    table = kernel_table(read_trace(write(path, events)))
    assert sum(table["device_ms"]) == pytest.approx(1e-4 * len(names))
    past = sum(LAUNCHES[name][1] for name in names)
    assert sum(table["undispatched_ms"]) == pytest.approx(1e-4 * past)


@pytest.mark.parametrize("name", ["h100-trace", "h100-compiled", "h100-counted-pass"])
def test_real_traces_have_none(name: str) -> None:
    trace = read_trace(DATA / f"{name}.json.gz")
    assert np.count_nonzero(trace.device.kind == KERNEL) > 200
    assert not undispatched(trace, launches(trace)).any()


def test_a_real_trace_without_its_operators_has_all(tmp_path: Path) -> None:
    """So that the test above shows something."""
    source = (DATA / "h100-counted-pass.json.gz").read_bytes()
    text = gzip.decompress(source).replace(b'"aten::', b'"aten of ')
    plain = tmp_path / "t.json"
    plain.write_bytes(text)
    trace = read_trace(plain)
    found = undispatched(trace, launches(trace))
    assert found.sum() == np.count_nonzero(trace.device.kind == KERNEL)
