"""Traces that lost or garbled device events: nothing of them is taken for the whole."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damaged_traces as damage
import msgspec
import pytest
from builders import operator_frame
from trace_events import KEY

from mfuscope.core.records import Activity
from mfuscope.traces.activity import activity
from mfuscope.traces.columns import read_trace
from mfuscope.traces.kernels import kernel_table
from mfuscope.traces.losses import lost_events
from mfuscope.traces.spans import Trace

DATA = Path(__file__).parents[1] / "data"
# Traces of an H100, with the decode steps of their passes: launches one by one, and CUDA graphs.
STEPS = {"h100-trace": 3, "h100-compiled": 8}
TEXTS = {name: msgspec.json.encode(damage.load(DATA / f"{name}.json.gz")) for name in STEPS}
Damage = Callable[[damage.Json], None]


@pytest.fixture(params=STEPS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@functools.cache
def unharmed(name: str) -> Activity:
    return activity(read_trace(DATA / f"{name}.json.gz"), KEY, "dummy", STEPS[name])


def damaged(name: str, change: Damage, folder: Path) -> tuple[Trace, Activity]:
    document: Any = msgspec.json.decode(TEXTS[name])
    change(document)
    trace = read_trace(damage.store(folder / "t.json", document))
    return trace, activity(trace, KEY, "dummy", STEPS[name])


def test_real_traces_are_whole(name: str) -> None:
    found = unharmed(name)
    assert (found.absent.keys() - {"graph_operators"}, found.repaired, found.unclaimed_share) == (
        set(),
        {},
        0.0,
    )
    for stage in found.stages.values():
        assert stage.lost_launches == 0
        assert stage.launches
        assert stage.device_busy_ms
    assert lost_events(DATA / f"{name}.json.gz") == ""


def test_a_lost_beginning_leaves_its_stage_unknown(name: str, tmp_path: Path) -> None:
    whole = unharmed(name)
    trace, found = damaged(name, damage.lose_first, tmp_path)
    prefill, decode = found.stages["prefill"], found.stages["decode"]
    assert prefill.lost_launches is not None
    assert prefill.launches is not None
    assert 0.5 < prefill.lost_launches / prefill.launches < 1
    assert (prefill.kernels, prefill.device_busy_ms, prefill.waiting) == (None, None, None)
    # What is whole stays known.
    assert decode == whole.stages["decode"]
    for field in ("kernels", "device_busy_ms", "waiting"):
        assert "the trace lost" in found.absent[field]
        assert "in prefill" in found.absent[field]
    assert lost_events(tmp_path / "t.json") == found.absent["kernels"]
    # The tables have no device times of a part, either.
    operators = operator_frame(trace)
    known = operators["device_ms"].notna().groupby(operators["stage"]).agg(["any", "all"])
    assert not known.loc["prefill", "any"]
    assert known.loc["decode", "all"]
    assert "decode" in kernel_table(trace)["stage"]
    assert "prefill" not in kernel_table(trace)["stage"]


def test_events_without_times_are_lost(name: str, tmp_path: Path) -> None:
    trace, found = damaged(name, damage.lose_times, tmp_path)
    events = len(damage.on_device(damage.load(DATA / f"{name}.json.gz")))
    assert found.repaired == {"left_out": events // 2}
    assert len(trace.device) == events - events // 2
    assert [one.device_busy_ms for one in found.stages.values()] == [None, None]
    assert found.stages["prefill"].lost_launches == found.stages["prefill"].launches
    assert "in prefill" in found.absent["kernels"]
    assert "in decode" in found.absent["kernels"]


@pytest.mark.parametrize(("place", "us"), [(3, 1_600_000.0), (-60, 5_000.0)])
def test_an_impossible_length_ends_at_the_next_start(
    place: int, us: float, name: str, tmp_path: Path
) -> None:
    whole = unharmed(name)
    trace, found = damaged(name, damage.lengthen(place, us), tmp_path)
    assert found.repaired == {"cut": 1}
    assert found.absent == whole.absent
    longest = 0.2  # ms: no gap before a next start is longer, here
    for stage, one in found.stages.items():
        other = whole.stages[stage]
        assert one.kernels == other.kernels
        assert one.device_busy_ms is not None
        assert other.device_busy_ms is not None
        assert 0 <= one.device_busy_ms - other.device_busy_ms < longest
    assert (trace.device.end > trace.device.start).all()


@pytest.mark.parametrize("change", [damage.lose_correlation, damage.lose_names_of_launches])
def test_events_without_a_launch_count_by_their_time(
    change: Damage, name: str, tmp_path: Path
) -> None:
    whole = unharmed(name)
    _, found = damaged(name, change, tmp_path)
    assert found.unclaimed_share == pytest.approx(1.0)
    for stage, one in found.stages.items():
        other = whole.stages[stage]
        assert one.lost_launches == 0
        # In these traces next to nothing runs in a later stage than it was launched in.
        assert one.kernels == pytest.approx(other.kernels, rel=0.01)
        assert one.device_busy_ms == pytest.approx(other.device_busy_ms, rel=0.01)
    assert lost_events(tmp_path / "t.json") == ""


def test_what_is_missing_beyond_events_without_a_launch_is_lost(name: str, tmp_path: Path) -> None:
    def change(document: damage.Json) -> None:
        damage.lose_first(document)
        damage.lose_correlation(document)

    _, found = damaged(name, change, tmp_path)
    # In which stage is not known: neither is whole.
    assert [one.device_busy_ms for one in found.stages.values()] == [None, None]
    assert lost_events(tmp_path / "t.json") != ""


@pytest.mark.parametrize(("lost", "known"), [(1, False), (0, True)])
def test_the_limit_of_losses(lost: int, known: bool, tmp_path: Path) -> None:
    """One of 159 launches is above 0.5 %."""

    def change(document: damage.Json) -> None:
        gone = {id(event) for event in damage.on_device(document)[::-1][5 : 5 + lost]}
        document["traceEvents"] = [e for e in document["traceEvents"] if id(e) not in gone]

    _, found = damaged("h100-trace", change, tmp_path)
    decode = found.stages["decode"]
    assert (decode.lost_launches, decode.launches) == (lost, 159)
    assert (decode.kernels is not None) == known


def test_few_losses_are_counted_only(tmp_path: Path) -> None:
    """Four of 983 launches are below 0.5 %; none of them is a graph's."""

    def change(document: damage.Json) -> None:
        calls = [
            event["args"]["correlation"]
            for event in document["traceEvents"]
            if event.get("cat") == "cuda_runtime" and event["name"] == "cudaLaunchKernel"
        ]
        gone = {
            id(event)
            for event in damage.on_device(document)
            if event["args"]["correlation"] in calls[10:14]
        }
        document["traceEvents"] = [e for e in document["traceEvents"] if id(e) not in gone]

    _, found = damaged("h100-compiled", change, tmp_path)
    prefill = found.stages["prefill"]
    assert (prefill.lost_launches, prefill.launches) == (4, 983)
    assert prefill.kernels == 1385 - 4
    assert "kernels" not in found.absent
