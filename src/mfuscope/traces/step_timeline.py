"""The median decode step of a trace, event by event, as rows of a time line.

The step is a window of the host: from its begin to its end there. The device's row has what ran in
that window, cut at its edges. A device that lags behind the host begins with the end of the step
before, and what it lacks at the end is in the next step: between the edges lies the work of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from mfuscope.core.timelines import TICK_US, StepTimeline, Track
from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.losses import find_losses
from mfuscope.traces.nesting import parents
from mfuscope.traces.spans import OPERATOR, RUNTIME, STEP_PREFIX, Trace
from mfuscope.traces.waiting import waits

#: Levels of operators that are kept: the outermost ones, and those that they call.
LEVELS: Final = 3
# Operators and gaps that take less are left out: a third of all, and seen at no usual zoom.
_SHORT_OPERATOR_NS: Final = 2_000
_SHORT_GAP_NS: Final = 1_000
_NAME: Final = 120  # characters of a kernel's name; its template arguments may fill a page
_TICK_NS: Final = round(1e3 * TICK_US)


@dataclass(frozen=True, slots=True)
class _Step:
    """A decode step: start and end in ns, on a host thread."""

    index: int
    start: int
    end: int
    thread: int


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    kind: str
    name: str
    start: Ints
    end: Ints
    label: list[str]


def median_step(trace: Trace, steps: int) -> tuple[StepTimeline | None, str]:
    """The decode step of median length, the lower one of an even number; else the reason.

    Args:
        steps: decode steps that the traced pass made: it may have opened one more.
    """
    if not steps:
        return None, "the traced pass made one token: no decode step"
    if lacking := find_losses(trace).reason("decode"):
        return None, lacking
    made = sorted(_steps(trace), key=lambda step: step.index)[:steps]
    step = sorted(made, key=lambda one: one.end - one.start)[(len(made) - 1) // 2]
    rows = [*_host_rows(trace, step), *_device_rows(trace, step)]
    # The most frequent names have the shortest numbers.
    names = [name for name, _ in Counter(name for row in rows for name in row.label).most_common()]
    number = {name: place for place, name in enumerate(names)}
    return StepTimeline(
        index=step.index,
        steps=len(made),
        length_us=(step.end - step.start) / 1e3,
        names=names,
        tracks=[Track(kind=r.kind, name=r.name, events=_text(r, step, number)) for r in rows],
    ), ""


def _steps(trace: Trace) -> Iterator[_Step]:
    marks = trace.annotations
    for i, name in enumerate(trace.names[n] for n in marks.name.tolist()):
        if name.startswith(STEP_PREFIX):
            index = int(name.removeprefix(STEP_PREFIX).rstrip("]"))
            yield _Step(index, int(marks.start[i]), int(marks.end[i]), int(marks.thread[i]))


def _host_rows(trace: Trace, step: _Step) -> Iterator[_Row]:
    """Operators level by level, and the outermost calls."""
    host = trace.host
    inside = (host.thread == step.thread) & (host.start >= step.start) & (host.start < step.end)
    host = host.take(np.flatnonzero(inside))
    parent = parents(host).tolist()

    def depth(kind: int) -> Ints:
        """How many spans of a kind are around each span."""
        is_kind, found = (host.kind == kind).tolist(), list[int]()
        for above in parent:
            found.append(found[above] + is_kind[above] if above >= 0 else 0)
        return np.array(found, dtype=np.int64)

    def row(kind: str, name: str, wanted: Bools) -> _Row:
        labels = [trace.names[i] for i in host.name[wanted].tolist()]
        return _Row(kind, name, host.start[wanted], host.end[wanted], labels)

    level = depth(OPERATOR)
    seen = (host.kind == OPERATOR) & (host.end - host.start >= _SHORT_OPERATOR_NS)
    for number in range(LEVELS):
        if (wanted := seen & (level == number)).any():
            yield row("operators", str(number), wanted)
    calls = (host.kind == RUNTIME) & (depth(RUNTIME) == 0)
    if calls.any():
        yield row("calls", "", calls)


def _device_rows(trace: Trace, step: _Step) -> Iterator[_Row]:
    """What ran, stream by stream, and the gaps, each where the host was for most of it."""
    device = trace.device
    if not len(device):
        return
    ran = device.take(np.flatnonzero((device.start < step.end) & (device.end > step.start)))
    for number, stream in enumerate(np.unique(ran.thread).tolist()):
        mine = ran.take(np.flatnonzero(ran.thread == stream))
        mine = mine.take(np.argsort(mine.start, kind="stable"))
        labels = [_shortened(trace.names[i]) for i in mine.name.tolist()]
        start, end = np.maximum(mine.start, step.start), np.minimum(mine.end, step.end)
        yield _Row("device", str(number), start, end, labels)
    gap, places = waits(trace, (step.start, step.end), step.thread)
    most = np.argmax(np.stack(list(places.values())), axis=0)
    for number, place in enumerate(places):
        here = (most == number) & (gap.end - gap.start >= _SHORT_GAP_NS)
        if here.any():
            labels = [place] * int(np.count_nonzero(here))
            yield _Row("waiting", place, gap.start[here], gap.end[here], labels)


def _text(row: _Row, step: _Step, number: dict[str, int]) -> str:
    """A row's events; see `Track`."""
    start = np.rint((row.start - step.start) / _TICK_NS).astype(np.int64)
    end = np.rint((row.end - step.start) / _TICK_NS).astype(np.int64)
    before = np.concatenate([[0], end[:-1]])
    name = [number[label] for label in row.label]
    numbers = np.stack([start - before, end - start, np.array(name, dtype=np.int64)], axis=1)
    return " ".join(map(str, numbers.ravel().tolist()))


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
