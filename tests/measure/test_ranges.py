"""Stage boundaries on a device with known times, and their NVTX ranges."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from fakes import Toy
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mfuscope.measure import stages
from mfuscope.measure.stages import Ranges, StageTimer
from mfuscope.models import parts

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


class StepClock:
    """A device that takes one millisecond from mark to mark; logs what it is asked."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.host_ns = 0

    def mark(self) -> int:
        self.log.append("mark")
        return self.log.count("mark")

    def synchronise(self) -> None:
        self.log.append("synchronise")
        self.host_ns += 1_000_000_000  # waiting takes a second of the host's time

    def elapsed_ms(self, start: int, end: int) -> float:
        self.log.append("elapsed")
        return float(end - start)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StepClock:
    made = StepClock()
    monkeypatch.setattr(stages, "device_clock", lambda device: made)
    host = SimpleNamespace(perf_counter_ns=lambda: made.host_ns)
    monkeypatch.setattr(stages, "time", host)
    return made


def test_the_device_is_idle_at_the_start_and_at_the_end(clock: StepClock) -> None:
    toy = Toy()
    timer = StageTimer(toy, CPU, 2)
    with timer.measure():
        toy.generate(2, timer.on_logits)
        assert clock.log[:2] == ["synchronise", "mark"]
    # Start, vision twice, language model twice, the logits of each forward.
    assert clock.log == ["synchronise", *["mark"] * 7, "synchronise"]
    times = timer.times(2)
    assert clock.log[9:] == ["elapsed"] * len(clock.log[9:]), "nothing waits, nothing marks"
    assert times.prefill_ms == 5
    assert (times.vision_ms, times.language_prefill_ms) == (1, 1)
    assert times.decode_ms == 1
    assert times.step_ms == [1]
    # The wait at the end belongs to the call, the one before it does not.
    assert times.host_ms == 1000


def test_a_part_that_is_found_but_never_runs_takes_no_time(clock: StepClock) -> None:
    toy = Toy()
    assert "projector" in parts.find_parts(toy)
    timer = StageTimer(toy, CPU, 1)
    with timer.measure():
        toy.generate(1, timer.on_logits)
    assert timer.times(1).projector_ms is None


Calls = list[tuple[str, "Calls"]]
PARTS = st.sampled_from(["vision", "projector", "language_prefill"])
CALLS: st.SearchStrategy[Calls] = st.recursive(
    st.just([]), lambda inner: st.lists(st.tuples(PARTS, inner), max_size=3), max_leaves=8
)


@given(CALLS)
def test_no_time_counts_twice(calls: Calls) -> None:
    """Each mark takes a millisecond: the parts have one for each of their marks, and no other."""
    modules = {part: nn.Identity() for part in ("vision", "projector", "language_prefill")}
    expected = dict.fromkeys(modules, 0)

    def run(calls: Calls) -> None:
        for part, inner in calls:
            expected[part] += 1 + len(inner)  # to its end; of each inner call, to its start
            for before in list(modules[part]._forward_pre_hooks.values()):
                before(modules[part], ())
            run(inner)
            for after in list(modules[part]._forward_hooks.values()):
                after(modules[part], (), None)

    with (
        mock.patch.object(stages, "device_clock", return_value=StepClock()),
        mock.patch.object(
            stages, "hookable_parts", return_value={part: (m,) for part, m in modules.items()}
        ),
    ):
        timer = StageTimer(nn.Identity(), CPU, 1)
    with timer.measure():
        run(calls)
        timer.on_logits()
    times = timer.times(1)
    found = {part: getattr(times, f"{part}_ms") for part in modules}
    assert found == {part: ms or None for part, ms in expected.items()}
    assert sum(expected.values()) <= times.prefill_ms


@pytest.fixture
def nvtx(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log: list[str] = []
    monkeypatch.setattr(torch.cuda.nvtx, "range_push", lambda name: log.append(f"push {name}"))
    monkeypatch.setattr(torch.cuda.nvtx, "range_pop", lambda: log.append("pop"))
    return log


def test_nvtx_ranges_open_and_close_on_a_gpu(nvtx: list[str]) -> None:
    ranges = Ranges(torch.device("cuda"))
    ranges.push("prefill")
    ranges.push("vision")
    ranges.pop()
    assert nvtx == ["push prefill", "push vision", "pop"]
    ranges.push("projector")
    ranges.close()
    assert nvtx[3:] == ["push projector", "pop", "pop"]
    ranges.close()
    assert len(nvtx) == 6


def test_nvtx_has_no_say_on_a_cpu(nvtx: list[str]) -> None:
    ranges = Ranges(CPU)
    ranges.push("prefill")
    ranges.pop()
    ranges.push("decode")
    ranges.close()
    assert nvtx == []


def test_record_function_is_entered_only_where_torch_records() -> None:
    ranges = Ranges(CPU)
    with mock.patch.object(torch.profiler, "record_function") as entered:
        ranges.push("unrecorded")
        ranges.pop()
        entered.assert_not_called()  # it would slow the timed pass
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ranges.push("recorded")
        ranges.pop()
    assert [event.name for event in profile.events() or []] == ["recorded"]


def nested(log: list[str]) -> Iterator[str]:
    """The path of every range, in the order of opening; every one is closed at the end."""
    path: list[str] = []
    for entry in log:
        if entry == "pop":
            path.pop()
        else:
            path.append(entry.removeprefix("push "))
            yield "/".join(path)
    assert path == []


def test_nvtx_has_the_stages(nvtx: list[str], clock: StepClock) -> None:
    toy = Toy()
    timer = StageTimer(toy, CUDA, 3)
    with timer.measure():
        toy.generate(3, timer.on_logits)
        nvtx.append("push after the last token")  # outside of all ranges
        nvtx.append("pop")
    assert list(nested(nvtx)) == [
        "prefill",
        "prefill/vision",
        "prefill/language_prefill",
        "decode",
        "decode/decode_step[0]",
        "decode/decode_step[1]",
        "after the last token",
    ]


def test_nvtx_ranges_are_closed_after_an_error(nvtx: list[str], clock: StepClock) -> None:
    toy = Toy(fails=True)
    timer = StageTimer(toy, CUDA, 1)
    with pytest.raises(RuntimeError, match="out of memory"), timer.measure():
        toy.generate(1, timer.on_logits)
    assert list(nested(nvtx)) == ["prefill", "prefill/vision"]
