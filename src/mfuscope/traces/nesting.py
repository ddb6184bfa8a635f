"""Which host span encloses which: the call tree of each thread."""

from __future__ import annotations

from typing import Final

import numpy as np

from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.spans import Spans

# Times are rounded to nanoseconds: a child may seem to end one after its parent.
_TOLERANCE_NS: Final = 1


def parents(host: Spans) -> Ints:
    """Index of each span's innermost enclosing span on its thread, -1 for the outermost.

    ``host`` must be sorted as in :class:`~mfuscope.traces.spans.Trace`. As in
    ``key_averages()``, a span that ends later than another by more than the tolerance is not inside
    it, but may be inside its parent.
    """
    start, end = _line(host, host.thread, host.start), _line(host, host.thread, host.end)
    ends: list[int] = end.tolist()
    parent: list[int] = []
    stack: list[int] = []
    for i, (begin, finish) in enumerate(zip(start.tolist(), ends, strict=True)):
        while stack:
            limit = ends[stack[-1]]
            if begin < limit and finish <= limit + _TOLERANCE_NS:
                break
            stack.pop()
        parent.append(stack[-1] if stack else -1)
        stack.append(i)
    return np.array(parent, dtype=np.int64)


def nearest(parent: Ints, span: Ints, wanted: Bools) -> Ints:
    """Each span if it is wanted, else its innermost wanted ancestor; -1 if there is none."""
    span = span.copy()
    wanted = np.append(wanted, True)  # where -1 leads: the search ends
    while (wrong := ~wanted[span]).any():
        span[wrong] = parent[span[wrong]]
    return span


def enclosing(host: Spans, parent: Ints, thread: Ints, start: Ints, end: Ints) -> Ints:
    """Innermost host span on ``thread`` that holds ``start`` to ``end``, both included; or -1."""
    moments = _line(host, thread, start)
    span = np.searchsorted(_line(host, host.thread, host.start), moments, side="right") - 1
    span[np.append(host.thread, -1)[span] != thread] = -1
    last = np.append(host.end, np.iinfo(np.int64).max)  # where -1 leads: the search ends
    while (short := last[span] < end).any():
        span[short] = parent[span[short]]
    return span


def _line(host: Spans, thread: Ints, time: Ints) -> Ints:
    """Times of all threads on one axis, one thread after the other, for a single pass or search."""
    if not len(host):
        return np.zeros_like(time)
    origin = int(host.start.min())
    length = int(host.end.max()) - origin
    # A gap of one length between threads leaves room for times just outside the spans.
    return thread * 2 * (length + 1) + np.clip(time - origin, -1, length + 1)
