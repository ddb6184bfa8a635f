"""Sets of moments on one time line: sorted intervals that do not meet."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Intervals(NamedTuple):
    """Disjoint intervals in rising order: starts and ends in ns, ``end > start``."""

    start: Ints
    end: Ints

    @property
    def length(self) -> int:
        """Nanoseconds in them."""
        return int((self.end - self.start).sum())


def union(start: Ints, end: Ints) -> Intervals:
    """The moments that lie in at least one of the intervals, which may overlap in any way."""
    real = end > start
    start, end = start[real], end[real]
    order = np.argsort(start, kind="stable")
    start, reached = start[order], np.maximum.accumulate(end[order])
    opens = np.ones(len(start), dtype=np.bool_)
    opens[1:] = start[1:] > reached[:-1]
    closes = np.roll(opens, -1)  # the last one before the next opens
    return Intervals(start[opens], reached[closes])


def gaps(within: tuple[int, int], taken: Intervals) -> Intervals:
    """The moments of a window that are not taken."""
    first, last = within
    start = np.concatenate([[first], np.clip(taken.end, first, last)])
    end = np.concatenate([np.clip(taken.start, first, last), [last]])
    real = end > start
    return Intervals(start[real].astype(np.int64), end[real].astype(np.int64))


def overlap(one: Intervals, other: Intervals) -> Ints:
    """Nanoseconds of each interval of ``one`` that lie in ``other`` too."""
    if not len(one.start) or not len(other.start):
        return np.zeros(len(one.start), dtype=np.int64)
    # How much of `other` has passed at a moment is a line of slope 1 within its intervals.
    origin = other.start[0]
    moments = np.stack([other.start, other.end], axis=1).ravel() - origin
    passed = np.stack([other.end - other.start, np.zeros_like(other.start)], axis=1).ravel()
    passed = np.concatenate([[0], np.cumsum(passed)[:-1]])
    inside = np.interp(one.end - origin, moments, passed) - np.interp(
        one.start - origin, moments, passed
    )
    found: Ints = np.rint(inside).astype(np.int64)
    return found
