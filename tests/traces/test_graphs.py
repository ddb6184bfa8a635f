"""Replays of CUDA graphs: their kernels belong to the operators under which they were captured."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from builders import operator_frame
from hypothesis import given
from hypothesis import strategies as st
from trace_events import KEY, annotation, call, event, kernel, op, row, write

from mfuscope.core.errors import TraceError
from mfuscope.traces.activity import activity
from mfuscope.traces.columns import read_trace
from mfuscope.traces.graphs import METADATA, CapturedGraph, from_metadata, to_metadata
from mfuscope.traces.operators import UNATTRIBUTED
from mfuscope.traces.replays import read_capture

CAPTURE = Path(__file__).parents[1] / "data" / "h100-capture.json.gz"
Json = dict[str, Any]

GRAPH = CapturedGraph(
    ("triton_poi_add_0", "gemm", "Memcpy DtoD (Device -> Device)", "Memset (Unknown)"),
    ("triton_poi_add_0", "aten::mm", "aten::copy_", ""),
)


def capture(changed: dict[int, Json | None] | None = None) -> list[Json]:
    """A capture of `GRAPH` and its first replay; `changed` replaces events, or leaves them out."""
    events: list[Json | None] = [
        call("cudaStreamBeginCapture", 100, 200, correlation=1),
        op("triton_poi_add_0", 1_000, 2_000, External_id=1),
        call("cuLaunchKernel", 1_100, 1_200, correlation=2),
        op("aten::mm", 3_000, 4_000, External_id=2),
        call("cudaStreamIsCapturing", 3_050, 3_060, correlation=3),
        call("cuLaunchKernelEx", 3_100, 3_200, correlation=4),
        op("aten::copy_", 5_000, 6_000, External_id=3),
        call("cudaMemcpyAsync", 5_100, 5_200, correlation=5),
        call("cudaMemsetAsync", 7_000, 7_100, correlation=6),
        # What another thread launches meanwhile, and what runs, is not captured.
        call("cudaLaunchKernel", 7_200, 7_300, 2, correlation=7),
        call("cudaStreamEndCapture", 8_000, 8_100, correlation=8),
        call("cudaGraphLaunch", 9_000, 9_100, correlation=9),
        # In the order of the trace, not of time.
        kernel("gemm", 11_000, 12_000, tid=7, correlation=9),
        kernel("triton_poi_add_0", 10_000, 11_000, tid=7, correlation=9),
        event("gpu_memcpy", "Memcpy DtoD (Device -> Device)", 12_000, 12_100, 7, correlation=9),
        event("gpu_memset", "Memset (Unknown)", 13_000, 13_100, 7, correlation=9),
    ]
    for place, other in (changed or {}).items():
        events[place] = other
    return [one for one in events if one is not None]


def test_a_capture_gives_each_kernel_its_operator(tmp_path: Path) -> None:
    assert read_capture(write(tmp_path / "t.json", capture())) == GRAPH


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({2: None}, "3 launches were captured, and 4 kernels replayed"),
        ({7: call("cudaLaunchKernel", 5_100, 5_200, correlation=5)}, "are of different kinds"),
        ({13: kernel("other", 10_000, 11_000, 7, correlation=9)}, "triton_poi_add_0 was captured"),
        ({10: None}, "holds 1 begins and 0 ends of a capture and 1 replays"),
        ({11: None}, "and 0 replays instead of one of each"),
    ],
)
def test_what_does_not_match_is_not_guessed(
    changed: dict[int, Json | None], reason: str, tmp_path: Path
) -> None:
    found = read_capture(write(tmp_path / "t.json", capture(changed)))
    assert isinstance(found, str)
    assert reason in found


def test_a_real_capture() -> None:
    """A decode step of DeepSeek-OCR on an H100: torch 2.11, transformers 5.23."""
    graph = read_capture(CAPTURE)
    assert isinstance(graph, CapturedGraph)
    assert len(graph.kernels) == 334
    operators = Counter(graph.operators)
    assert operators["aten::mm"] == 109
    assert operators["aten::_cudnn_attention_forward"] == 24
    assert operators["aten::copy_"] == 22
    assert operators[""] == 0
    for name, operator in zip(graph.kernels, graph.operators, strict=True):
        assert (name == operator) == name.startswith("triton_")


# ---------------------------------------------------------------- replays


def replays(*nodes: list[str], graphs: tuple[CapturedGraph, ...] = (GRAPH,)) -> Json:
    """A trace of a decode with one replay per list of kernels, 1 us each."""
    events = [annotation("prefill", 0, 10_000), annotation("decode", 10_000, 90_000)]
    for place, names in enumerate(nodes):
        start = 10_000 + 20_000 * place
        number = 100 + place
        events.append(annotation(f"decode_step[{place}]", start, start + 20_000))
        events.append(op("CompiledFxGraph", start, start + 5_000, External_id=number))
        launch = call("cudaGraphLaunch", start + 100, start + 200, correlation=number)
        launch["args"]["External id"] = number
        events.append(launch)
        for at, name in enumerate(names):
            ran = kernel(name, start + 1_000 * at + 1_000, start + 1_000 * at + 2_000, tid=7)
            ran["args"] = {"correlation": number, "External id": number}
            events.append(ran)
    return {"traceEvents": events, METADATA: json.loads(to_metadata(graphs))}


def written(path: Path, document: Json) -> Path:
    import msgspec

    path.write_bytes(gzip.compress(msgspec.json.encode(document), 1))
    return path


SAME = ["triton_poi_add_0", "gemm", "memcpy32_post", "Memset (Device)"]


def test_replayed_kernels_belong_to_captured_operators(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t.json.gz", replays(SAME, SAME)))
    table = operator_frame(trace)
    for operator in ("triton_poi_add_0", "aten::mm", "aten::copy_"):
        found = row(table, "decode", operator)
        assert (found["kind"], found["calls"]) == ("operator", 0)
        assert found["device_ms"] == pytest.approx(0.002)
    # The capture knew no operator of the memset; what encloses a replay is none of its operators.
    assert row(table, "decode", UNATTRIBUTED)["device_ms"] == pytest.approx(0.002)
    assert row(table, "decode", "CompiledFxGraph")["device_ms"] == 0
    traced = activity(trace, KEY, "dummy", 2)
    assert traced.absent == {}
    decode = traced.stages["decode"]
    # A copy is no kernel, also where the driver runs it as one.
    assert (decode.graph_launches, decode.kernels) == (2, 2 * 2)
    assert decode.device_busy_ms == pytest.approx(0.008)
    assert traced.stages["prefill"].graph_launches == 0


@pytest.mark.parametrize(
    "other", [["gemm", *SAME[:1], *SAME[2:]], [*SAME, "gemm"], ["x", *SAME[1:]]]
)
def test_a_replay_of_another_graph_has_no_operators(other: list[str], tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t.json.gz", replays(SAME, other)))
    found = activity(trace, KEY, "dummy", 2)
    assert found.absent["graph_operators"].startswith("1 of 2 launches of CUDA graphs run other")
    decode = found.stages["decode"]
    assert decode.device_busy_ms == pytest.approx((len(SAME) + len(other)) / 1000)
    table = operator_frame(trace)
    assert row(table, "decode", "aten::mm")["device_ms"] == pytest.approx(0.001)
    assert row(table, "decode", UNATTRIBUTED)["device_ms"] == pytest.approx((1 + len(other)) / 1000)


@pytest.mark.parametrize("left", [[], SAME[:1], SAME[:3], [SAME[0], SAME[2]]])
def test_lost_kernels_do_not_make_the_device_look_idle(left: list[str], tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path / "t.json.gz", replays(SAME, left)))
    found = activity(trace, KEY, "dummy", 2)
    decode = found.stages["decode"]
    assert (decode.kernels, decode.device_busy_ms, decode.graph_launches) == (None, None, 2)
    assert "lost kernels of 1 launches of CUDA graphs in decode" in found.absent["device_busy_ms"]
    assert found.stages["prefill"].device_busy_ms == 0


def test_damaged_graphs_are_an_error(tmp_path: Path) -> None:
    wrong: list[Json] = [
        {"names": []},
        {"names": [], "graphs": [[[0], [0]]]},
        {"names": ["a"], "graphs": [[[0]]]},
        {"names": ["a"], "graphs": [[[0], []]]},
    ]
    for damaged in wrong:
        path = written(tmp_path / "t.json.gz", replays(SAME) | {METADATA: damaged})
        with pytest.raises(TraceError, match="damaged metadata of CUDA graphs"):
            read_trace(path)


def test_graphs_that_look_alike_agree_or_are_unknown(tmp_path: Path) -> None:
    other = CapturedGraph(GRAPH.kernels, (GRAPH.operators[0], "aten::addmm", *GRAPH.operators[2:]))
    for graphs in ((GRAPH, other), (other, GRAPH)):
        table = operator_frame(
            read_trace(written(tmp_path / "t.json.gz", replays(SAME, graphs=graphs)))
        )
        assert not {"aten::mm", "aten::addmm"} & set(table["operator"])
        assert row(table, "decode", UNATTRIBUTED)["device_ms"] == pytest.approx(0.002)
        assert row(table, "decode", "aten::copy_")["device_ms"] == pytest.approx(0.001)


@given(
    st.lists(
        st.lists(st.tuples(st.text(), st.text())).map(
            lambda nodes: CapturedGraph(
                tuple(kernel for kernel, _ in nodes), tuple(operator for _, operator in nodes)
            )
        )
    )
)
def test_metadata_keeps_every_graph(graphs: list[CapturedGraph]) -> None:
    assert from_metadata(json.loads(to_metadata(graphs))) == tuple(graphs)
