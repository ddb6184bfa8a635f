"""Trace files: written, packed, read; damaged files are named."""

from __future__ import annotations

import gzip
import json
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pandas as pd
import pytest
import torch
from builders import operator_frame
from trace_events import annotation, device_run, op, row, write

from mfuscope.core.errors import TraceError, UserError
from mfuscope.measure.profiler import trace_label
from mfuscope.traces.columns import read_trace
from mfuscope.traces.file import check_written, holds_kernels, pack_trace


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
def test_packed_traces_hold_no_host_name_and_no_path(events: int, tmp_path: Path) -> None:
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
def test_a_trace_without_its_end_is_reported(fields: str, tmp_path: Path) -> None:
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


def function(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function of any name, in a file of any name, as code that is made at run time has."""
    namespace: dict[str, Any] = {"torch": torch}
    exec(compile("def f(x):\n    return torch.mm(x, x)", 'a "b".py', "exec"), namespace)
    found = namespace["f"]
    found.__code__ = found.__code__.replace(co_name=name, co_qualname=name)
    return cast(Callable[[torch.Tensor], torch.Tensor], found)


@pytest.mark.parametrize("name", ['a "quoted" one', "back\\", '{"pid": 1}', 'x", "pid": 1'])
def test_names_of_python_functions_are_not_read(name: str, tmp_path: Path) -> None:
    path, work = tmp_path / "t.json", function(name)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        torch.profiler.profile(activities=activities, with_stack=True) as profile,
        torch.profiler.record_function("prefill"),
    ):
        work(torch.ones(2, 2))
    profile.export_chrome_trace(str(path))
    text = path.read_bytes()
    assert b'"cat": "python_function"' in text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    assert row(operator_frame(read_trace(path)), "prefill", "aten::mm")["calls"] == 1


def test_names_that_cannot_be_left_out_are_blamed_on_the_setting(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    name = r'"f" "", "pid": 1, "tid": 2'
    event = f'{{"cat": "python_function", "name": "{name}", "pid": 1, "tid": 1}}'
    path.write_text(f'{{"traceEvents": [{event}]}}')
    with pytest.raises(TraceError, match=r"the setting profiler\.with_stack puts names into it"):
        read_trace(path)


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfuscope.traces.file.MAX_TEXT_BYTES", 1000)
    for name, content in {"packed": gzip.compress(b" " * 10**6), "plain": b" " * 1001}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(TraceError, match=f"{name} holds more than"):
            read_trace(path)
