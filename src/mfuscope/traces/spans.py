"""The columns of a trace: host and device events, memory, stages.

All times are integer nanoseconds since the trace's own epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from mfuscope.traces.graphs import CapturedGraph
from mfuscope.traces.intervals import Bools, Ints

#: Stages in table order; a code is an index into this tuple. ``outside`` has the events that
#: started in neither annotation: they stay, so that the rows add up to the whole trace.
STAGES: Final = ("prefill", "decode", "outside")
OUTSIDE: Final = STAGES.index("outside")
STEP_PREFIX: Final = "decode_step["

#: Kinds of spans. An operator's code is lower than a runtime call's: of two spans with the same
#: times the operator is the parent, because operators enclose calls.
ANNOTATION, OPERATOR, RUNTIME, OVERHEAD, KERNEL, COPY = range(6)

#: Names of copies and memsets. In graphs the driver runs copies as kernels (``memcpy32_post``).
COPY_NAME: Final = re.compile(r"(memcpy|memset)(?=[ (\d_])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Events with a duration, one array element each; all arrays have the same length.

    ``kind``: a constant of this module. ``name``: index into ``Trace.names``. ``thread``: number
    of the host thread or device stream. ``start``, ``end``: ns, ``end >= start``. ``external_id``:
    the profiler's number of the operator, and on a device event of the operator that launched it.
    ``correlation``: number that a device event shares with its launching call. 0 means no number.
    """

    kind: Ints
    name: Ints
    thread: Ints
    start: Ints
    end: Ints
    external_id: Ints
    correlation: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: Ints) -> Spans:
        """The spans at the given indices, in the order of the indices."""
        return Spans(*(getattr(self, column)[index] for column in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class MemoryRecords:
    """Allocations (positive) and frees (negative): host ``thread``, ``time`` in ns, bytes."""

    thread: Ints
    time: Ints
    cpu_bytes: Ints
    device_bytes: Ints

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One run's trace.

    ``host`` holds operators and runtime calls, sorted by thread, then start, the longer one first,
    so that an event's ancestors precede it. ``annotations``, ``overhead`` (the profiler's own
    pauses) and ``device`` (kernels, copies, memsets) keep the file's order. ``memory`` is empty
    unless the profiler ran with ``profile_memory``. ``windows`` gives start and end (ns) of
    ``prefill`` and, if there was one, ``decode``. ``events`` is the number of all events in the
    file. ``graphs`` are the CUDA graphs captured before; their operators are in ``names`` too.
    ``repaired`` counts device events whose times cannot be right (`traces.repairs`): ``cut``, and
    ``left_out``, which are not in ``device``.
    """

    path: Path
    names: tuple[str, ...]
    annotations: Spans
    host: Spans
    overhead: Spans
    device: Spans
    memory: MemoryRecords
    windows: dict[str, tuple[int, int]]
    events: int
    graphs: tuple[CapturedGraph, ...] = ()
    repaired: dict[str, int] = field(default_factory=dict)

    def named(self, pattern: re.Pattern[str]) -> Bools:
        """Which of ``names`` begin with a pattern."""
        return np.array([bool(pattern.match(name)) for name in self.names], dtype=np.bool_)

    def stage_at(self, time: Ints) -> Ints:
        """Stage codes (see ``STAGES``) of times in ns, on any thread."""
        stage = np.full(len(time), OUTSIDE, dtype=np.int64)
        for name, (start, end) in self.windows.items():
            stage[(time >= start) & (time < end)] = STAGES.index(name)
        return stage
