"""Device events whose times cannot be right: cut, or left out as lost.

CUPTI has written kernels of seconds into traces of milliseconds, and kernels without times (0, 0).
A stream runs one thing after the other, so an event there ends before its successor starts. The
exception is programmatic dependent launch (Hopper and later): a kernel so launched may start while
its predecessor ends, but does not end before it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.spans import RUNTIME, Trace

#: Overlaps up to this many ns come from rounding: clocks of GPUs tick every 32 ns (H100) to 1 us.
TOLERANCE_NS: Final = 1_000
#: How far a device event may start outside of the host's events: their clocks differ a little.
MARGIN_NS: Final = 1_000_000

# Calls whose kernels may start before the one before them has ended: programmatic dependent launch
# is an attribute of extended launches, and of edges in graphs.
_EARLY: Final = re.compile(r"(cu|cuda)(LaunchKernelEx|GraphLaunch)")


class Repaired(NamedTuple):
    """What remains of the device events.

    ``end``: their ends, cut where needed. ``cut``: those that were cut. ``lost``: those to leave
    out, of which nothing is known but that they ran.
    """

    end: Ints
    cut: Bools
    lost: Bools


def repaired(trace: Trace) -> Trace:
    """A trace whose device events have possible times; ``Trace.repaired`` counts what changed."""
    host, device, marks = trace.host, trace.device, trace.annotations
    calls = np.flatnonzero(host.kind == RUNTIME)
    in_turn = host.correlation[calls[~trace.named(_EARLY)[host.name[calls]]]]
    first = np.concatenate([host.start, marks.start]).min()
    last = np.concatenate([host.end, marks.end]).max()
    found = repair(
        device.thread,
        device.start,
        device.end,
        ~np.isin(device.correlation, in_turn),
        (int(first), int(last)),
    )
    counts = {"cut": np.count_nonzero(found.cut), "left_out": np.count_nonzero(found.lost)}
    return replace(
        trace,
        device=replace(device, end=found.end).take(np.flatnonzero(~found.lost)),
        repaired={kind: int(events) for kind, events in counts.items() if events},
    )


def repair(stream: Ints, start: Ints, end: Ints, early: Bools, window: tuple[int, int]) -> Repaired:
    """Find the device events whose times cannot be right.

    An event is cut at the next start on its stream if it ends after that; of a successor that may
    start ``early``, if it ends after the successor's end. An event is lost if it starts outside of
    ``window``, ends before it starts, or is longer than the window and has no successor.

    Args:
        stream: number of each event's stream.
        start, end: ns.
        early: events that may start before their predecessor has ended.
        window: first start and last end of the host's events.
    """
    first, last = window
    lost = (start < first - MARGIN_NS) | (start > last + MARGIN_NS) | (end < start)
    kept = np.flatnonzero(~lost)
    kept = kept[np.lexsort((start[kept], stream[kept]))]
    one, after = kept[:-1], kept[1:]
    serial = stream[one] == stream[after]
    one, after = one[serial], after[serial]
    end, original = end.copy(), end
    while True:  # an end that is cut may show that the one before it is too late
        limit = np.where(early[after], np.maximum(end[after], start[after]), start[after])
        late = end[one] > limit + TOLERANCE_NS
        if not late.any():
            break
        end[one[late]] = start[after[late]]
    endless = end - start > last - first
    return Repaired(end, (end != original) & ~lost, lost | endless)
