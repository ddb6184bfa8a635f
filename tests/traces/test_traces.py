"""Traces: against key_averages(), by hand, as a property of any nesting, and damaged."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pandas as pd
import pytest
import torch
from builders import operator_frame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mfuscope.core.errors import TraceError, UserError
from mfuscope.core.records import StageActivity
from mfuscope.measure.profiler import trace_label
from mfuscope.traces.activity import activity, launches
from mfuscope.traces.columns import STAGES, read_trace
from mfuscope.traces.file import check_written, holds_kernels, pack_trace
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.operators import UNATTRIBUTED

Json = dict[str, Any]

# A start as Kineto writes it: 16 digits with the nanoseconds, the most that a double holds.
EPOCH_NS = 4_592_202_085_490_073


def microseconds(ns: int) -> msgspec.Raw:
    return msgspec.Raw(f"{ns // 1000}.{ns % 1000:03d}".encode())


def event(cat: str, name: str, start: int, end: int, tid: int | str = 1, **args: int) -> Json:
    """A complete event from ``start`` to ``end``, in ns after the epoch."""
    return {
        "ph": "X",
        "cat": cat,
        "name": name,
        "pid": 0 if cat in ("kernel", "gpu_memcpy", "gpu_memset") else 7,
        "tid": tid,
        "ts": microseconds(EPOCH_NS + start),
        "dur": microseconds(end - start),
        "args": {key.replace("_", " "): value for key, value in args.items()},
    }


op = partial(event, "cpu_op")
call = partial(event, "cuda_runtime")
kernel = partial(event, "kernel")
annotation = partial(event, "user_annotation")


def memory(at: int, nbytes: int, device_type: int, tid: int = 1) -> Json:
    args = {"Bytes": nbytes, "Device Type": device_type, "Addr": 2**64 - 1}
    instant = event("cpu_instant_event", "[memory]", at, at, tid) | {"ph": "i", "s": "t"}
    return {key: value for key, value in instant.items() if key != "dur"} | {"args": args}


def write(path: Path, events: list[Json]) -> Path:
    document = {"schemaVersion": 1, "traceEvents": events, "traceName": "a"}
    path.write_bytes(gzip.compress(msgspec.json.encode(document), 1))
    return path


def row(table: pd.DataFrame, stage: str, operator: str) -> Json:
    mine = table[(table["stage"] == stage) & (table["operator"] == operator)]
    assert len(mine) == 1
    return {str(key): value for key, value in mine.iloc[0].items()}


# ---------------------------------------------------------------- against key_averages()


def generate(device: str) -> None:
    """Something shaped like a run, with recursion, views, item() and frees between operators."""
    import torch
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
    import torch
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
    times = activity(trace, "dummy").stages
    assert times["decode"].steps == 5
    walls = {row.key: row.cpu_time_total / 1e3 for row in averages if row.is_user_annotation}
    for stage in ("prefill", "decode"):
        assert times[stage].wall_ms == pytest.approx(walls[stage], abs=1e-6)
        assert (times[stage].kernels is None) == (device == "cpu")


# ------------------------------------------------------------------------------- by hand


def device_run() -> list[Json]:
    """Two stages; launches in, across and without operators; streams that overlap."""
    return [
        annotation("prefill", 0, 10_000),
        annotation("vision", 100, 6_000),
        op("aten::linear", 1_000, 5_000, External_id=1),
        op("aten::addmm", 1_500, 4_500, External_id=2),
        call("cudaLaunchKernel", 2_000, 3_000, External_id=2, correlation=10),
        call("cudaMemsetAsync", 3_500, 4_000, External_id=2, correlation=11),
        # The number of an operator is missing here: the launching call's surroundings tell it.
        call("cudaLaunchKernel", 4_600, 4_800, correlation=12),
        # A graph launch stands in no operator at all.
        call("cudaGraphLaunch", 8_000, 9_000, correlation=13),
        annotation("decode", 10_000, 30_000),
        annotation("decode_step[0]", 10_000, 20_000),
        annotation("decode_step[1]", 20_000, 29_000),
        # On another thread, as autograd's or a pool's.
        op("aten::copy_", 21_000, 22_000, tid=2, External_id=3),
        event("cuda_driver", "cuLaunchKernel", 21_100, 21_200, 2, External_id=3, correlation=14),
        op("aten::empty", 31_000, 32_000, External_id=4),
        # Launched in prefill, ran in decode; two streams overlap for 500 ns.
        kernel("gemm", 11_000, 13_000, tid=7, External_id=2, correlation=10),
        event("gpu_memset", "Memset", 12_500, 14_000, 9, External_id=2, correlation=11),
        kernel("bias", 14_000, 14_100, tid=7, correlation=12),
        kernel("graph a", 16_000, 16_300, tid=7, correlation=13),
        kernel("graph b", 16_100, 16_200, tid=9, correlation=13),
        event("gpu_memcpy", "Memcpy DtoH", 22_000, 22_700, 7, External_id=3, correlation=14),
        kernel("stray", 23_000, 23_009, tid=7, correlation=99),
        event("gpu_user_annotation", "prefill", 11_000, 16_300, 7),
        event("cuda_sync", "Stream Sync", 23_000, 24_000, 7, correlation=15),
        {"ph": "f", "id": 10, "pid": 0, "tid": 7, "ts": 11, "cat": "ac2g", "name": "ac2g"},
        {"ph": "M", "name": "process_name", "ts": 0, "pid": 7, "tid": 0, "args": {"name": "x"}},
        {"ph": "X", "cat": "Trace", "name": "P", "pid": "Spans", "tid": "P", "ts": 0, "dur": 1},
    ]


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
        ("outside", UNATTRIBUTED): 0.000009,
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
    found = activity(read_trace(write(tmp_path / "t.json.gz", device_run())), "dummy")
    assert found.absent == {}
    assert found.stages == {
        # 11.0-14.1 us without a gap, and 16.0-16.3; four kernels and a memset.
        "prefill": StageActivity(wall_ms=0.01, steps=0, kernels=4, device_busy_ms=0.0034),
        "decode": StageActivity(wall_ms=0.02, steps=2, kernels=0, device_busy_ms=0.0007),
    }


def test_run_of_one_token_has_no_decode(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path / "t.json", [annotation("prefill", 0, 9)]))
    found = activity(trace, "dummy")
    alone = StageActivity(wall_ms=0.000009, steps=0, kernels=None, device_busy_ms=None)
    assert found.stages == {"prefill": alone}
    assert set(found.absent) == {"kernels", "device_busy_ms"}
    assert operator_frame(trace).empty


def test_kernels_are_found_without_decoding(tmp_path: Path) -> None:
    # As Kineto writes it, with its spaces.
    lines = [
        '{"traceEvents": [',
        "  {",
        '    "ph": "X", "cat": "%s", "name": "kernel"',
        "  }",
        "]}",
    ]
    path = tmp_path / "t.json"
    for category in ("kernel", "cpu_op"):
        path.write_text("\n".join(lines) % category)
        assert holds_kernels(path) == (category == "kernel")


def test_packing_replaces_the_plain_trace(tmp_path: Path) -> None:
    plain, packed = write(tmp_path / "t.json", device_run()), tmp_path / "traces" / "t.json.gz"
    content = plain.read_bytes()
    pack_trace(plain, packed)
    assert gzip.decompress(packed.read_bytes()) == content
    assert [path.name for path in packed.parent.iterdir()] == ["t.json.gz"]
    assert not plain.exists()


@pytest.mark.parametrize("events", [0, 3_000])  # short, and with a middle that is left alone
def test_packed_traces_do_not_tell_where_they_were_made(events: int, tmp_path: Path) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        profile.add_metadata_json("mfuscope", trace_label({"image": "host_name: kept"}))
        for _ in range(events):
            torch.ones(1)
    plain, packed = tmp_path / "private place" / "t.json", tmp_path / "t.json.gz"
    plain.parent.mkdir()
    profile.export_chrome_trace(str(plain))
    before = json.loads(plain.read_bytes())
    assert before["host_name"] == socket.gethostname()
    assert before["traceName"] == str(plain)
    pack_trace(plain, packed)
    after = json.loads(gzip.decompress(packed.read_bytes()))
    assert after == before | {"host_name": "", "traceName": ""}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ('a "quoted" one', "a 'quoted' one"),
        ("back\\slash\\", "back/slash/"),
        ("\x1b[31mé\n日本\udcff", "/x1b[31mé/n日本/udcff"),
    ],
)
def test_labels_leave_traces_valid(name: str, expected: str, tmp_path: Path) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        profile.add_metadata_json("mfuscope", trace_label({"model": name, "repeat": "0"}))
    profile.export_chrome_trace(str(tmp_path / "t.json"))
    label = json.loads((tmp_path / "t.json").read_bytes())["mfuscope"]
    assert label["repeat"] == "0"
    assert label["model"] == expected


@pytest.mark.parametrize(
    "fields", ["", ',"traceName": "/tmp/trace.json" ', ', "a": 1.5e3, "b": null']
)
def test_a_trace_without_its_end_is_told(fields: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    events = ", ".join(
        '{"name": "aten::mm", "args": {"Ev Idx": 1, "Input Dims": [[64]]}}' for _ in "ab"
    )
    whole = f'{{"schemaVersion": 1, "traceEvents": [{events}]\n{fields}}}\n'
    path.write_text(whole)
    json.loads(whole)
    check_written(path)
    for end in range(len(whole.rstrip())):
        path.write_text(whole[:end])
        with pytest.raises(UserError, match="could not write its trace"):
            check_written(path)
    path.unlink()
    with pytest.raises(UserError, match="could not write its trace"):
        check_written(path)


def test_plain_json_reads_like_gzip(tmp_path: Path) -> None:
    packed = write(tmp_path / "t.json.gz", device_run())
    plain = tmp_path / "t.json"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    parts = tmp_path / "parts.json.gz"
    text = plain.read_bytes()
    parts.write_bytes(gzip.compress(text[:99]) + gzip.compress(text[99:]) + b"\0" * 8)
    expected = operator_frame(read_trace(packed))
    pd.testing.assert_frame_equal(operator_frame(read_trace(plain)), expected)
    pd.testing.assert_frame_equal(operator_frame(read_trace(parts)), expected)


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
    assert row(table, "outside", UNATTRIBUTED)["device_ms"] == 0.00001
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


# ------------------------------------------------------------------------- any nesting


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


@settings(max_examples=150, deadline=None)
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
            events.append(kernel("k", now + 9, now + 9 + duration, 7, correlation=launched[-1]))
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
    events += [kernel("stray", 0, duration, 8) for duration in strays]
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
    assert round(unattributed * 1e6) == sum(strays)


# ----------------------------------------------------------------------------- damaged


def test_damaged_files_are_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.json.gz", device_run()).read_bytes()
    text = gzip.decompress(good)
    huge = op("aten::add", 0, 1) | {"ts": 1e300}
    too_long = op("aten::add", 0, 1, External_id=2**64)
    other = annotation("warmup", 0, 1)
    prefill = annotation("prefill", 0, 1)
    damaged: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "empty"),
        "truncated gzip": (good[: len(good) // 2], "truncated gzip"),
        "gzip without its checksum": (good[:-8], "truncated gzip"),
        "bad checksum": (good[:-8] + b"\0" * 7 + b"\1", "damaged gzip"),
        "gzip and more": (good + b"more", "damaged gzip"),
        "truncated JSON": (text[:-20], "no Chrome trace"),
        "truncated JSON in gzip": (gzip.compress(text[:500]), "no Chrome trace"),
        "not JSON": (b"\x89PNG\r\n", "no Chrome trace"),
        "not UTF-8": (text.replace(b"aten::empty", b"aten::\xff\xfe"), "no Chrome trace"),
        "other JSON": (b"[1, 2]", "no Chrome trace"),
        "no events": (b'{"schemaVersion": 1}', "traceEvents"),
        "events of another shape": (b'{"traceEvents": [{"ts": "now"}]}', "no Chrome trace"),
        "nested without end": (b'{"x": ' + b"[" * 10**6, "no Chrome trace"),
        "no annotations": (msgspec.json.encode({"traceEvents": []}), "`prefill`"),
        "other annotations": (msgspec.json.encode({"traceEvents": [other]}), "`prefill`"),
        "two prefills": (msgspec.json.encode({"traceEvents": [prefill, prefill]}), "2 `prefill`"),
        "steps without decode": (
            msgspec.json.encode({"traceEvents": [prefill, annotation("decode_step[0]", 1, 2)]}),
            "`decode`",
        ),
        "time out of range": (msgspec.json.encode({"traceEvents": [prefill, huge]}), "64 bits"),
        "id out of range": (msgspec.json.encode({"traceEvents": [prefill, too_long]}), "64 bits"),
    }
    for number, (case, (content, reason)) in enumerate(damaged.items()):
        path = tmp_path / f"damaged-{number}.json.gz"
        path.write_bytes(content)
        with pytest.raises(TraceError) as caught:
            read_trace(path)
        assert str(path) in str(caught.value), case
        assert reason in caught.value.problem, case
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "absent.json.gz")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfuscope.traces.file.MAX_TEXT_BYTES", 1000)
    for name, content in {"packed": gzip.compress(b" " * 10**6), "plain": b" " * 1001}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(TraceError, match=f"{name}: holds more than"):
            read_trace(path)
