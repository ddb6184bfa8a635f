"""Sets of moments: against the same sets counted moment by moment."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.traces.intervals import Intervals, gaps, overlap, union

EPOCH = 4_592_202_085_490_073  # as in a trace: a double holds no fraction of it
pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(-3, 30)), max_size=8)
Pairs = list[tuple[int, int]]


def of(spans: Pairs) -> Intervals:
    start = np.array([begin + EPOCH for begin, _ in spans], dtype=np.int64)
    return union(start, start + np.array([length for _, length in spans], dtype=np.int64))


def moments(spans: Pairs) -> set[int]:
    return {EPOCH + at for begin, length in spans for at in range(begin, begin + length)}


def held(found: Intervals) -> set[int]:
    return {
        at
        for begin, end in zip(*map(np.ndarray.tolist, found), strict=True)
        for at in range(begin, end)
    }


@given(pairs)
def test_a_union_holds_each_moment_once(spans: Pairs) -> None:
    found = of(spans)
    assert held(found) == moments(spans)
    assert found.length == len(moments(spans))
    assert (found.start[1:] > found.end[:-1]).all()


@given(pairs, st.integers(0, 90), st.integers(0, 90))
def test_gaps_are_the_rest_of_a_window(spans: Pairs, first: int, length: int) -> None:
    window = (EPOCH + first, EPOCH + first + length)
    found = gaps(window, of(spans))
    assert held(found) == set(range(*window)) - moments(spans)
    assert found.length == len(held(found))


@given(pairs, pairs)
def test_an_overlap_lies_in_both(one: Pairs, other: Pairs) -> None:
    both = moments(one) & moments(other)
    spans = zip(*map(np.ndarray.tolist, of(one)), strict=True)
    assert overlap(of(one), of(other)).tolist() == [
        len(both & set(range(begin, end))) for begin, end in spans
    ]
