"""The warm-up: how many passes, and what the reference of a session is."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import builders
import pytest
from builders import CALL
from fakes import FakeSession
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core.errors import UserError
from mfuscope.measure import warmup
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.settings import RunSettings
from mfuscope.measure.stages import StageTimes
from mfuscope.measure.warmup import reference, warm_up
from mfuscope.models.inputs import PageInputs

PLAIN = ProfilerSettings(None, False, False, False)
PAGE = PageInputs({}, 7, 5, "512")
PAGE_FACTS = builders.page(resolution="512")


class Monitor:
    """A compiler that works in the passes of these numbers."""

    def __init__(self, busy: set[int]) -> None:
        self.busy, self.passes, self.count, self.marks = busy, 0, 0, 0

    @property
    def frames(self) -> int:
        return self.count

    def mark(self) -> int:
        self.marks += 1
        return self.count

    def summary(self, marks: list[int]) -> SimpleNamespace:
        return SimpleNamespace(passes=len(marks) - 1, counts=marks)


def run_warm_up(
    times: list[float],
    asked: int,
    monkeypatch: pytest.MonkeyPatch,
    monitor: Monitor | None = None,
) -> tuple[list[float], Any]:
    """The warm-up of passes that take these page times, then 1 ms each."""
    session = FakeSession([])
    session.compilation = monitor
    left: Iterator[float] = iter(times)

    def one(*_: Any) -> StageTimes:
        if monitor is not None:
            monitor.count += monitor.passes in monitor.busy
            monitor.passes += 1
        ms = next(left, 1.0)
        return StageTimes(ms / 4, ms * 3 / 4, [], None, None, None, ms, 1)

    monkeypatch.setattr(warmup, "stage_times", one)
    how = RunSettings("tiny", 4, ignore_eos=True, warmup=asked, profiler=PLAIN)
    found = warm_up(cast(Session, session), PAGE, how)
    assert warm_up(cast(Session, session), PAGE, how) == ([], found[1]), "once"
    return found


@pytest.mark.parametrize(
    ("times", "asked", "passes"),
    [
        ([], 0, 0),
        ([100.0, 104.0], 1, 2),
        ([300.0, 100.0, 96.0], 1, 3),
        ([100.0, 100.0, 200.0, 200.0], 4, 4),
        ([100.0, 100.0, 300.0, 200.0, 209.0], 4, 5),
        ([100.0, 106.0, 112.5, 120.0, 128.0, 136.0, 144.0], 1, 6),
    ],
)
def test_it_goes_on_until_two_passes_agree(
    times: list[float], asked: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ms, compiled = run_warm_up(times, asked, monkeypatch)
    assert ms == times[:passes]
    assert compiled is None


@given(st.lists(st.floats(1, 1e6), max_size=20), st.integers(1, 6))
def test_it_ends(times: list[float], asked: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ms, _ = run_warm_up(times, asked, patch)
    assert asked <= len(ms) <= asked + 5
    agree = len(ms) > 1 and max(ms[-2:]) <= 1.05 * min(ms[-2:])
    assert agree or len(ms) == asked + 5


@pytest.mark.parametrize(
    ("busy", "times", "asked", "ms", "compiling"),
    [
        ({0}, [9000.0, 100.0, 101.0], 1, 3, 2),
        ({0, 1}, [9000.0, 9000.0, 100.0, 150.0, 151.0], 1, 5, 3),
        ({0}, [9000.0, 100.0, 150.0], 0, 2, 2),  # no warm-up was asked for
        ({0, 3}, [9000.0, 100.0, 200.0, 8000.0, 100.0, 100.0], 1, 6, 5),
    ],
)
def test_passes_that_compile_count_for_nothing(
    busy: set[int],
    times: list[float],
    asked: int,
    ms: int,
    compiling: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, summary = run_warm_up(times, asked, monkeypatch, Monitor(busy))
    assert found == times[:ms]
    assert summary.passes == compiling
    assert summary.counts[-1] == summary.counts[-2] == len(busy), "the last one compiled nothing"


def test_passes_that_go_on_compiling_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="after 6 passes a page at 512 still compiles"):
        run_warm_up([], 1, monkeypatch, Monitor(set(range(99))))


@pytest.mark.parametrize(("tokens", "most"), [(1, 1), (30, 30), (4096, 65)])
def test_a_reference_is_a_blank_page_once_per_call(
    tokens: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = FakeSession([])
    asked: list[tuple[PageInputs, Generation, int]] = []

    def one(_: Any, page: PageInputs, generation: Generation, most_tokens: int) -> StageTimes:
        asked.append((page, generation, most_tokens))
        steps = [5.0, 7.0, 90.0][: most_tokens - 1]
        return StageTimes(40.0 + len(asked), sum(steps), steps, None, None, None, 99.0, 4)

    monkeypatch.setattr(warmup, "stage_times", one)
    how = RunSettings("tiny", tokens, ignore_eos=False, warmup=0, profiler=PLAIN, batch_size=2)
    made = cast(Session, session)
    first = reference(made, CALL, PAGE_FACTS, how)
    assert reference(made, CALL, PAGE_FACTS, how) is first
    assert reference(made, "another", PAGE_FACTS, how).prefill_ms == 42.0
    assert (first.prefill_ms, first.step_ms) == (41.0, None if tokens == 1 else 7.0)
    expected = Generation(tokens, ignore_eos=True, batch_size=2)
    assert asked == [(session.blank, expected, most)] * 2
