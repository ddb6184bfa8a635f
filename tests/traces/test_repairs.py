"""Times of device events that cannot be right."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.traces.repairs import MARGIN_NS, TOLERANCE_NS, Repaired, repair

WINDOW = (0, 1_000_000)
Event = tuple[int, int, int, bool]  # stream, start, end, whether it may start early


def mended(*events: Event) -> Repaired:
    stream, start, end = (
        np.array([event[i] for event in events], dtype=np.int64) for i in range(3)
    )
    early = np.array([event[3] for event in events], dtype=np.bool_)
    return repair(stream, start, end, early, WINDOW)


@pytest.mark.parametrize(
    ("long", "after", "end"),
    [
        # It would end within its successor, or long after it.
        ((7, 100, 30_000, False), (7, 20_000, 50_000, False), 20_000),
        ((7, 100, 900_000, False), (7, 20_000, 50_000, False), 20_000),
        # Rounding is no overlap.
        ((7, 100, 20_000 + TOLERANCE_NS, False), (7, 20_000, 50_000, False), None),
        # Another stream runs at the same time.
        ((7, 100, 30_000, False), (9, 20_000, 50_000, False), None),
        # A programmatic dependent launch starts early, but does not end before its predecessor.
        ((7, 100, 30_000, False), (7, 20_000, 50_000, True), None),
        ((7, 100, 90_000, False), (7, 20_000, 50_000, True), 20_000),
    ],
)
def test_a_stream_runs_one_event_after_the_other(
    long: Event, after: Event, end: int | None
) -> None:
    for place, events in enumerate(((long, after), (after, long))):  # in any order of the file
        found = mended(*events)
        assert found.end[place] == (long[2] if end is None else end)
        assert found.end[1 - place] == after[2]
        assert found.cut.tolist().count(True) == (end is not None)
        assert not found.lost.any()


def test_a_cut_may_show_another_one() -> None:
    """Of three early starts the second is too long; only without it is the first, too."""
    found = mended((7, 0, 80_000, True), (7, 10_000, 90_000, True), (7, 20_000, 30_000, True))
    assert found.end.tolist() == [10_000, 20_000, 30_000]


@pytest.mark.parametrize(
    ("event", "lost"),
    [
        ((7, 0, 0, False), False),
        ((7, -MARGIN_NS - 1, 5, False), True),
        ((7, -4_884_260_855_708_206, -4_884_260_855_708_206, False), True),
        ((7, -MARGIN_NS, 5 - MARGIN_NS, False), False),
        ((7, WINDOW[1] + MARGIN_NS + 1, WINDOW[1] + 2 * MARGIN_NS, False), True),
        ((7, 500, 499, False), True),
        # The last one of its stream has no next start to be cut at.
        ((7, 500, 500 + WINDOW[1], False), False),
        ((7, 500, 501 + WINDOW[1], False), True),
    ],
)
def test_events_without_a_possible_time_are_lost(event: Event, lost: bool) -> None:
    found = mended(event)
    assert found.lost.tolist() == [lost]
    assert found.cut.tolist() == [False]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2),
            st.integers(-2 * MARGIN_NS, 3 * MARGIN_NS),
            st.integers(-10, 2_000_000),
            st.booleans(),
        ),
        max_size=12,
        unique_by=lambda event: event[:2],
    )
)
def test_nothing_overlaps_that_should_not(lengths: list[Event]) -> None:
    events = [(stream, start, start + length, early) for stream, start, length, early in lengths]
    found = mended(*events)
    kept: list[Event] = []
    for event, end, cut, lost in zip(events, *map(np.ndarray.tolist, found), strict=True):
        assert end == event[2] or cut or lost
        assert event[1] <= end <= event[2] or lost
        if not lost:
            kept.append((event[0], event[1], end, event[3]))
    kept.sort()
    for (stream, _, end, _), (other, start, last, early) in pairwise(kept):
        if stream == other:
            assert end <= (max(start, last) if early else start) + TOLERANCE_NS
