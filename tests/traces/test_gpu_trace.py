"""A trace of a real GPU (torch 2.11, H100), against key_averages() of the same recording."""

import json
from pathlib import Path

import pytest
from builders import operator_frame
from trace_events import KEY

from mfuscope.traces.activity import activity, launches
from mfuscope.traces.columns import read_trace
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.operators import UNATTRIBUTED
from mfuscope.traces.spans import STAGES

DATA = Path(__file__).parents[1] / "data"


def test_a_gpu_trace_is_read_as_key_averages_does() -> None:
    trace = read_trace(DATA / "h100-trace.json.gz")
    table = operator_frame(trace)
    columns = ["calls", "self_cpu_ms", "total_cpu_ms", "device_ms"]
    ours = table.groupby("operator")[columns].sum()
    rows = json.loads((DATA / "h100-trace.key_averages.json").read_text())
    # name, calls, self CPU us, total CPU us, self device us, ..., is an annotation, device type
    theirs = {row[0]: row for row in rows if row[-1] == "DeviceType.CPU" and not row[7]}
    # The profiler's own pauses launch nothing of the model's.
    for name in table.loc[table["kind"] == "overhead", "operator"]:
        del theirs[name]
    assert len(theirs) > 50
    for name, row in theirs.items():
        calls, tolerance = row[1], 0.001 * row[1] + 1e-9
        assert ours.loc[name, "calls"] == calls, name
        assert ours.loc[name, "total_cpu_ms"] * 1e3 == pytest.approx(row[3], abs=tolerance), name
        assert ours.loc[name, "device_ms"] * 1e3 == pytest.approx(row[4], abs=tolerance), name
    kernels = (trace.device.end - trace.device.start).sum() / 1e6
    assert table["device_ms"].sum() == pytest.approx(kernels)


def test_kernels_are_those_of_key_averages() -> None:
    trace = read_trace(DATA / "h100-trace.json.gz")
    found = kernel_table(trace)
    rows = json.loads((DATA / "h100-trace.key_averages.json").read_text())
    theirs = {row[0]: row for row in rows if row[-1] == "DeviceType.CUDA" and not row[7]}
    ours: dict[str, list[float]] = {}
    for name, calls, ms in zip(found["kernel"], found["calls"], found["device_ms"], strict=True):
        both = ours.setdefault(name, [0, 0.0])
        both[0] += calls
        both[1] += ms
    assert set(ours) == set(theirs)
    assert len(ours) > 20
    for name, (calls, ms) in ours.items():
        assert calls == theirs[name][1], name
        assert ms * 1e3 == pytest.approx(theirs[name][4], abs=0.001 * calls), name
    kernels = (trace.device.end - trace.device.start).sum() / 1e6
    assert sum(found["device_ms"]) == pytest.approx(kernels)
    assert {"kernel", "copy"} == set(found["kind"])


def test_the_device_is_busy_for_a_part_of_each_stage() -> None:
    found = activity(read_trace(DATA / "h100-trace.json.gz"), KEY, "dummy", 3).stages
    assert set(found) == {"prefill", "decode"}
    for times in found.values():
        assert times.kernels is not None
        assert times.kernels > 0
        assert times.device_busy_ms is not None
        assert times.device_busy_ms > 0


def test_a_compiled_run_has_its_operators() -> None:
    """Decode step and vision encoder replayed as CUDA graphs: eight steps, one view of a page."""
    trace = read_trace(DATA / "h100-compiled.json.gz")
    found = activity(trace, KEY, "dummy", 8)
    assert found.absent == {}
    prefill, decode = found.stages["prefill"], found.stages["decode"]
    assert (prefill.graph_launches, decode.graph_launches) == (1, 8)
    table = operator_frame(trace)
    on_device = table.groupby(["stage", "operator"])["device_ms"].sum()
    for stage in ("prefill", "decode"):
        whole = on_device[stage].sum()
        assert on_device[stage].get(UNATTRIBUTED, 0.0) <= 0.02 * whole
    assert on_device["decode", "aten::mm"] > 0.4 * on_device["decode"].sum()
    # The replays are nearly all that a decode step runs, and count as busy time in full.
    replays = launches(trace).replays
    ran = trace.device.end - trace.device.start
    in_decode = trace.stage_at(trace.host.start[replays.call]) == STAGES.index("decode")
    assert replays.events[in_decode].tolist() == [322] * 8
    replayed = ran[replays.replayed].sum() / 1e6 - on_device["prefill"].sum()
    assert decode.device_busy_ms is not None
    assert replayed < decode.device_busy_ms <= on_device["decode"].sum() + 1e-6
