"""The operator table: what each operator took, at any nesting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest
import torch
from builders import operator_frame
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trace_events import (
    EPOCH_NS,
    KEY,
    Json,
    annotation,
    call,
    event,
    kernel,
    memory,
    op,
    row,
    write,
)

from mfuscope.traces.activity import activity
from mfuscope.traces.columns import read_trace
from mfuscope.traces.operators import UNATTRIBUTED


def generate(device: str) -> None:
    """Something shaped like a run, with recursion, views, item() and frees between operators."""
    from torch._C._profiler import _RecordFunctionFast
    from torch.profiler import record_function

    weight = torch.randn(16, 16, device=device)
    with record_function("prefill"):
        with record_function("vision"):
            x = torch.nn.functional.linear(torch.randn(8, 16).to(device), weight)
        with _RecordFunctionFast("lonely"), _RecordFunctionFast("lonely"):
            x = x.softmax(-1)
        with _RecordFunctionFast("busy"):
            x = x + 1
            with _RecordFunctionFast("busy"):
                x = torch.cat([x, x])
        with _RecordFunctionFast("annotated"), record_function("inner"):
            x = x @ weight
    with record_function("decode"):
        for i in range(5):
            with record_function(f"decode_step[{i}]"):
                x = torch.sort(x * x.mean(), dim=-1).values[:, :16]
                x.sum().item()


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)],
)
@pytest.mark.parametrize(
    ("shapes", "with_memory"), [(False, False), (True, False), (False, True), (True, True)]
)
def test_agrees_with_key_averages(
    tmp_path: Path, device: str, shapes: bool, with_memory: bool
) -> None:
    from torch.profiler import profile

    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    generate(device)
    with profile(record_shapes=shapes, profile_memory=with_memory) as profiler:
        generate(device)
    path = tmp_path / "trace.json.gz"
    profiler.export_chrome_trace(str(path))
    averages = profiler.key_averages()
    expected = {
        row.key: row
        for row in averages
        if row.device_type.name == "CPU" and not row.is_user_annotation
    }
    memory_outside = expected.pop("[memory]", None)

    trace = read_trace(path)
    table = operator_frame(trace)
    paused = table.loc[table["kind"] == "overhead", "self_cpu_ms"].sum()
    found = table[table["kind"] != "unattributed"].groupby("operator").sum(numeric_only=True)
    assert set(found.index) == set(expected)
    assert {"lonely", "busy", "annotated", "aten::linear"} <= set(found.index)
    for name, average in expected.items():
        mine = found.loc[name]
        rounding = 0.001 * average.count
        assert mine["calls"] == average.count, name
        assert mine["total_cpu_ms"] == pytest.approx(average.cpu_time_total / 1e3, abs=rounding)
        self_ms = average.self_cpu_time_total / 1e3
        if name == "annotated":  # ours leaves it the time and the frees of its annotation
            assert average.cpu_time_total / 1e3 > mine["self_cpu_ms"] > self_ms
            continue
        assert mine["self_cpu_ms"] == pytest.approx(self_ms, abs=rounding + paused)
        if device == "cuda" and name.startswith("aten::"):
            device_ms = average.self_device_time_total / 1e3
            assert mine["device_ms"] == pytest.approx(device_ms, abs=rounding)
        if with_memory:
            assert mine["self_cpu_memory_bytes"] == average.self_cpu_memory_usage, name
            assert mine["self_device_memory_bytes"] == average.self_device_memory_usage, name
    columns = ["self_cpu_memory_bytes", "self_device_memory_bytes"]
    assert table[columns].notna().all(axis=None) == with_memory
    assert table[columns].isna().all(axis=None) != with_memory
    if with_memory:
        # What annotations and no one allocated is kept too, under no operator.
        total = sum(row.self_cpu_memory_usage for row in averages)
        assert table["self_cpu_memory_bytes"].sum() == total
        assert memory_outside is None or memory_outside.count > 0
    if device == "cpu":
        assert table["device_ms"].isna().all()

    assert set(table["stage"]) >= {"prefill", "decode"}
    assert row(table, "prefill", "aten::cat")["calls"] == 1
    assert row(table, "decode", "aten::sort")["calls"] == 5
    times = activity(trace, KEY, "dummy", 5).stages
    assert times["decode"].steps == 5
    walls = {
        row.key: row.cpu_time_total / 1e3
        for row in averages
        # On a GPU there is a second row, without host time.
        if row.is_user_annotation and row.cpu_time_total
    }
    for stage in ("prefill", "decode"):
        assert times[stage].wall_ms == pytest.approx(walls[stage], abs=1e-6)
        assert (times[stage].kernels is None) == (device == "cpu")


def test_memory_belongs_to_the_innermost_operator_of_its_thread(tmp_path: Path) -> None:
    events = [
        annotation("prefill", 0, 1_000),
        op("outer", 100, 900),
        op("inner", 200, 500),
        call("cudaMalloc", 300, 400),
        op("other", 0, 1_000, tid=2),
        memory(350, 512, 1),
        memory(500, 64, 0),
        memory(501, 8, 0),
        memory(501, 4, 0, tid=2),
        memory(950, -512, 1),
        memory(950, 1, 9),  # XLA: neither, as in key_averages()
        memory(2_000, -8, 0, tid=3),
    ]
    table = operator_frame(read_trace(write(tmp_path / "t.json", events)))

    def held(stage: str, name: str) -> tuple[int, int]:
        mine = row(table, stage, name)
        return mine["self_cpu_memory_bytes"], mine["self_device_memory_bytes"]

    assert held("prefill", "inner") == (64, 512)
    assert held("prefill", "outer") == (8, 0)
    assert held("prefill", "cudaMalloc") == (0, 0)
    assert held("prefill", "other") == (4, 0)
    assert held("prefill", UNATTRIBUTED) == (0, -512)
    assert held("outside", UNATTRIBUTED) == (-8, 0)


def test_stages_without_operators_keep_their_sums(tmp_path: Path) -> None:
    events = [
        annotation("prefill", 0, 1_000),
        memory(10, 5, 1),
        kernel("stray", 20, 30),
        event("overhead", "Buffer Flush", 40, 50),
    ]
    table = operator_frame(read_trace(write(tmp_path / "t.json", events)))
    assert row(table, "prefill", UNATTRIBUTED)["self_device_memory_bytes"] == 5
    assert row(table, "prefill", UNATTRIBUTED)["device_ms"] == 0.00001
    assert row(table, "prefill", "Buffer Flush")["self_cpu_ms"] == 0.00001


def test_nesting_of_touching_and_equal_spans(tmp_path: Path) -> None:
    events = [
        annotation("prefill", 0, 1_000),
        # Equal start: the longer one is the parent, wherever it stands in the file.
        op("short", 0, 100),
        op("long", 0, 400),
        # Equal span: the operator is the call's parent.
        call("same call", 100, 200),
        op("same op", 100, 200),
        # One nanosecond too long by rounding: still a child. Two: a sibling.
        op("rounded", 300, 401),
        op("late", 500, 600),
        op("later", 590, 602),
        # No time at all, at the end of another.
        op("instant", 400, 400),
    ]
    table = operator_frame(read_trace(write(tmp_path / "t.json", events)))
    self_ns = {
        name: round(ms * 1e6)
        for name, ms in zip(table["operator"], table["self_cpu_ms"], strict=True)
    }
    assert self_ns == {
        "long": 400 - 100 - 100 - 101,
        "short": 100,
        "same op": 0,
        "same call": 100,
        "rounded": 101,
        "late": 100,
        "later": 12,
        "instant": 0,
    }


def test_pauses_of_the_profiler_are_nobody_elses_time(tmp_path: Path) -> None:
    pause = partial(event, "overhead", tid=0)
    events = [
        annotation("prefill", 0, 10_000),
        op("copy", 1_000, 5_000),
        call("launch", 2_000, 4_000),
        op("elsewhere", 4_500, 9_000, tid=2),
        op("profiler::_record_function_exit", 1_100, 1_200),
        pause("Activity Buffer Request", 2_500, 3_500),
        pause("Activity Buffer Request", 6_000, 7_000),
        # Two threads are in an operator: it could be either's.
        pause("Activity Buffer Request", 4_600, 4_700),
        pause("Buffer Flush", 9_500, 9_600),
    ]
    table = operator_frame(read_trace(write(tmp_path / "t.json", events)))
    self_ns = {
        name: round(ms * 1e6)
        for name, ms in zip(table["operator"], table["self_cpu_ms"], strict=True)
    }
    assert self_ns == {
        "copy": 2_000,
        "launch": 1_000,
        "elsewhere": 3_500,
        "Activity Buffer Request": 2_100,
        "Buffer Flush": 100,
    }
    assert row(table, "prefill", "Buffer Flush")["kind"] == "overhead"
    assert row(table, "prefill", "launch")["total_cpu_ms"] == 0.002


@dataclass(frozen=True)
class Node:
    """A span that starts ``gap`` ns after its predecessor, and ends ``tail`` ns after its last
    child; ``kernels`` are durations of what it launches, each from a call of ``launch`` ns."""

    gap: int
    tail: int
    name: str
    children: tuple[Node, ...]
    kernels: tuple[int, ...]


def nodes(children: st.SearchStrategy[tuple[Node, ...]]) -> st.SearchStrategy[Node]:
    length = st.integers(0, 3) | st.integers(0, 10**7)
    launched = st.lists(st.integers(0, 10**6), max_size=2).map(tuple)
    return st.builds(Node, length, length, st.sampled_from("abc"), children, launched)


trees = st.recursive(
    nodes(st.just(())),
    lambda child: nodes(st.lists(child, max_size=3).map(tuple)),
    max_leaves=12,
)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("property") / "trace.json.gz"


@settings(max_examples=150)
@given(
    forests=st.lists(st.lists(trees, max_size=4), min_size=1, max_size=3),
    strays=st.lists(st.integers(0, 10**6), max_size=3),
    split=st.integers(1, 10**7),
    order=st.randoms(use_true_random=False),
)
# A repeat that begins a stage later than the call that it repeats.
@example([[Node(0, 0, "a", (Node(1, 1, "a", (), ()),), ())]], [], 1, Random(0))
def test_sums_hold_for_any_nesting(
    scratch: Path, forests: list[list[Node]], strays: list[int], split: int, order: Random
) -> None:
    events: list[Json] = []
    launched = [0]

    def lay(node: Node, start: int, tid: int) -> int:
        number = len(events) + 1
        now = start
        for child in node.children:
            now = lay(child, now + child.gap, tid)
        for duration in node.kernels:
            launched.append(launched[-1] + 1)
            events.append(call("launch", now, now + 5, tid, correlation=launched[-1]))
            stream = f"stream {launched[-1]}"  # of its own: on one stream kernels do not overlap
            run = kernel("k", now + 9, now + 9 + duration, stream, correlation=launched[-1])
            events.append(run)
            now += 5
        now += node.tail
        events.append(op(node.name, start, now, tid, External_id=10**6 + number))
        return now

    roots_ns = 0
    for tid, forest in enumerate(forests):
        now = 0
        for tree in forest:
            start = now + tree.gap
            now = lay(tree, start, tid)
            roots_ns += now - start
    events += [kernel("stray", 0, ns, f"stray {place}") for place, ns in enumerate(strays)]
    events += [annotation("prefill", 0, split), annotation("decode", split, 2 * split)]
    order.shuffle(events)

    trace = read_trace(write(scratch, events))
    table = operator_frame(trace)
    assert round(table["self_cpu_ms"].sum() * 1e6) == roots_ns
    assert (table["self_cpu_ms"] >= 0).all()
    assert (table["self_cpu_ms"] <= table["total_cpu_ms"]).all()
    device_ns = int((trace.device.end - trace.device.start).sum())
    assert round(table["device_ms"].sum() * 1e6) == device_ns
    assert not table.duplicated(["stage", "kind", "operator"]).any()
    unattributed = table.loc[table["kind"] == "unattributed", "device_ms"].sum()
    # Those that are longer than the whole trace are left out.
    host_ns = max(2 * split, *(int(end) for end in trace.host.end - EPOCH_NS), 0)
    assert round(unattributed * 1e6) == sum(ns for ns in strays if ns <= host_ns)
