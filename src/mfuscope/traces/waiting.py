"""What the host does while the device waits for it.

The device waits in the gaps between its events. In each gap the thread that runs the stage is in
one of four places, told by the innermost event that is open on it: a call that waits for the
device, another call of the CUDA runtime or driver (nearly always a launch), an operator, or none of
them: Python and the framework between operators.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from mfuscope.core.records import Waiting
from mfuscope.traces.intervals import Bools, Intervals, Ints, gaps, overlap, union
from mfuscope.traces.spans import RUNTIME, Trace

# Calls that return when the device has done something. `cudaMemcpy` without Async waits as well.
_WAITS: Final = re.compile(
    r"(cu|cuda)((Stream|Device|Event|Ctx)Synchronize|Memcpy(?!.*Async)|StreamWaitValue)"
)


def waiting(trace: Trace, stage: str) -> Waiting:
    """Where the host was while no device event ran, within a stage of a traced pass.

    The profiler's own pauses are left out, as they are no part of a pass without it. A gap is short
    of a launch's latency, some microseconds: by then the host is at its next work.
    """
    _, places = waits(trace, trace.windows[stage], _thread(trace, stage))
    return Waiting(**{f"{place}_ms": int(ns.sum()) / 1e6 for place, ns in places.items()})


def waits(trace: Trace, window: tuple[int, int], thread: int) -> tuple[Intervals, dict[str, Ints]]:
    """The gaps of a window (ns) in which no device event ran, without the profiler's own pauses.

    Args:
        thread: the host thread that the device waits for.

    Returns:
        The gaps, and the nanoseconds of each that the host spent in each place: the fields of
        `Waiting`, without their unit.
    """
    host, device, overhead = trace.host, trace.device, trace.overhead
    taken = union(
        np.concatenate([device.start, overhead.start]), np.concatenate([device.end, overhead.end])
    )
    idle = gaps(window, taken)
    mine = host.thread == thread
    call = mine & (host.kind == RUNTIME)
    waiting_call = call & trace.named(_WAITS)[host.name]

    def idle_ns(wanted: Bools) -> Ints:
        return overlap(idle, union(host.start[wanted], host.end[wanted]))

    in_wait, in_call, in_event = idle_ns(waiting_call), idle_ns(call), idle_ns(mine)
    return idle, {
        "python": idle.end - idle.start - in_event,
        "dispatch": in_event - in_call,
        "launch": in_call - in_wait,
        "synchronisation": in_wait,
    }


def _thread(trace: Trace, stage: str) -> int:
    """The host thread that a stage's annotation is on."""
    marks = trace.annotations
    place = np.flatnonzero(np.array([trace.names[i] == stage for i in marks.name]))
    return int(marks.thread[place[0]])
