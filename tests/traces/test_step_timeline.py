"""The median decode step of a trace, event by event."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trace_events import annotation, call, event, kernel, op, write

from mfuscope.core.timelines import StepTimeline, Track
from mfuscope.report.timeline_shapes import events
from mfuscope.traces.columns import read_trace
from mfuscope.traces.intervals import gaps, union
from mfuscope.traces.spans import Trace
from mfuscope.traces.step_timeline import median_step
from mfuscope.traces.waiting import waits

DATA = Path(__file__).parents[1] / "data"
STEPS = {"h100-trace": 3, "h100-compiled": 8, "h100-counted-pass": 1}

# Three steps of 40, 20 and 30 µs, and a fourth that the pass opened and never made.
MARKS = [
    annotation("prefill", 0, 100_000),
    annotation("decode", 100_000, 200_000),
    annotation("decode_step[0]", 100_000, 140_000),
    annotation("decode_step[1]", 140_000, 160_000),
    annotation("decode_step[2]", 160_000, 190_000),
    annotation("decode_step[3]", 190_000, 199_000),
]
# The step of 30 µs: Python, an operator with two below it that launches, Python.
STEP = [
    op("aten::linear", 165_000, 180_000),
    op("aten::t", 165_500, 166_000),
    op("aten::mm", 167_000, 179_000),
    call("cudaLaunchKernel", 170_000, 173_000, correlation=1),
    kernel("of the step before", 155_000, 161_000, 7, correlation=9),
    kernel("gemm", 174_000, 178_000, 7, correlation=1),
]


def traced(folder: Path, *more: dict[str, Any]) -> Trace:
    return read_trace(write(folder / "t.json", [*MARKS, *more]))


def found(trace: Trace, steps: int) -> StepTimeline:
    step, reason = median_step(trace, steps)
    assert step is not None
    assert reason == ""
    return step


def shown(step: StepTimeline) -> dict[str, list[tuple[float, float, str]]]:
    """Start and end in µs and the name of each event, by track."""
    return {
        f"{track.kind} {track.name}".strip(): [
            (start / 10, end / 10, step.names[name])
            for start, end, name in zip(
                *(column.tolist() for column in _columns(track)), strict=True
            )
        ]
        for track in step.tracks
    }


def _columns(track: Track) -> tuple[Any, Any, Any]:
    decoded = events(track)
    return decoded.start, decoded.end, decoded.name


def test_the_median_step_has_what_happens_in_it(tmp_path: Path) -> None:
    step = found(traced(tmp_path, *STEP), 3)
    assert (step.index, step.steps, step.length_us) == (2, 3, 30.0)
    assert shown(step) == {
        "operators 0": [(5.0, 20.0, "aten::linear")],
        "operators 1": [(7.0, 19.0, "aten::mm")],  # aten::t is too short
        "calls": [(10.0, 13.0, "cudaLaunchKernel")],
        "device 0": [(0.0, 1.0, "of the step before"), (14.0, 18.0, "gemm")],
        "waiting python": [(18.0, 30.0, "python")],
        "waiting dispatch": [(1.0, 14.0, "dispatch")],  # 6 of 13 µs: more than anywhere else
    }


def test_of_an_even_number_it_is_the_lower_one(tmp_path: Path) -> None:
    step = found(traced(tmp_path, *STEP), 4)
    assert (step.index, step.steps) == (1, 4)  # 9, 20, 30 and 40 µs


def test_a_trace_of_a_cpu_has_operators_alone(tmp_path: Path) -> None:
    step = found(traced(tmp_path, *STEP[:3]), 3)
    assert [track.kind for track in step.tracks] == ["operators", "operators"]


def test_other_threads_and_streams_have_rows_of_their_own_or_none(tmp_path: Path) -> None:
    more = [op("aten::other", 165_000, 185_000, tid=2), kernel("side", 174_000, 176_000, 9)]
    tracks = shown(found(traced(tmp_path, *STEP, *more), 3))
    assert tracks["device 1"] == [(14.0, 16.0, "side")]
    assert "aten::other" not in str(tracks)


def test_pauses_of_the_profiler_are_no_gaps(tmp_path: Path) -> None:
    pause = event("overhead", "Buffer Flush", 180_000, 188_000)
    tracks = shown(found(traced(tmp_path, *STEP, pause), 3))
    assert tracks["waiting python"] == [(28.0, 30.0, "python")]
    assert (18.0, 20.0, "dispatch") in tracks["waiting dispatch"]


def test_a_pass_of_one_token_has_none() -> None:
    trace = read_trace(DATA / "h100-trace.json.gz")
    assert median_step(trace, 0) == (None, "the traced pass made one token: no decode step")


def test_a_trace_that_lost_kernels_has_none(tmp_path: Path) -> None:
    lost = [call("cudaLaunchKernel", 166_000, 167_000, correlation=n) for n in range(20, 30)]
    step, reason = median_step(traced(tmp_path, *STEP, *lost), 3)
    assert step is None
    assert "lost the device events of" in reason


def test_long_names_of_kernels_are_cut(tmp_path: Path) -> None:
    step = found(traced(tmp_path, *STEP, kernel("k" * 500, 180_000, 181_000, 7)), 3)
    assert max(map(len, step.names)) == 120


@pytest.mark.parametrize("name", STEPS)
def test_real_traces(name: str) -> None:
    """Kernels and gaps fill the step, and no event is longer than what holds it."""
    trace = read_trace(DATA / f"{name}.json.gz")
    step = found(trace, STEPS[name])
    marks = trace.annotations
    (mark,) = (
        i for i, n in enumerate(marks.name) if trace.names[n] == f"decode_step[{step.index}]"
    )
    window = int(marks.start[mark]), int(marks.end[mark])
    device = [events(track) for track in step.tracks if track.kind == "device"]
    ran = union(
        np.concatenate([one.start for one in device]), np.concatenate([one.end for one in device])
    )
    true = gaps(window, union(trace.device.start, trace.device.end)).length
    length = round(10 * step.length_us)
    assert length - ran.length == pytest.approx(true / 100, rel=0.02)
    idle, _ = waits(trace, window, int(marks.thread[mark]))
    waiting = [events(track) for track in step.tracks if track.kind == "waiting"]
    assert sum(len(one.start) for one in waiting) == (idle.end - idle.start >= 1000).sum()
    for track in step.tracks:
        one = events(track)
        assert (one.start[1:] >= one.end[:-1]).all()
        assert (one.end >= one.start).all()
        assert one.start[0] >= 0
        # The last call may return after the step has ended.
        assert one.end[-1] <= length or track.kind in ("operators", "calls")
    assert set(range(len(step.names))) == {
        int(number) for track in step.tracks for number in events(track).name
    }


@given(st.lists(st.tuples(st.integers(-300, 5_000), st.integers(0, 9_000)), min_size=1))
def test_events_are_read_as_they_were_written(spans: list[tuple[int, int]]) -> None:
    """Also where they overlap: each one says how far from the end of the last it begins."""
    numbers = [n for gap, length in spans for n in (gap, length, length % 7)]
    one = events(Track(kind="calls", name="", events=" ".join(map(str, numbers))))
    ends = np.concatenate([[0], one.end[:-1]])
    assert (
        list(zip((one.start - ends).tolist(), (one.end - one.start).tolist(), strict=True)) == spans
    )
    assert one.name.tolist() == [length % 7 for _, length in spans]
