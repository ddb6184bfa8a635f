"""How answers ended: the definition of a loop, against itself spelled out and against models."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfuscope.core.endings import LEAST, Ending, ending, repeated_tokens

END = frozenset({0, 2})


def spelled_out(tokens: list[int]) -> int:
    """`repeated_tokens` in the words of its definition."""
    for start in range(len(tokens)):  # the longest tail first
        tail = tokens[start:]
        grams = [tuple(tail[i : i + 4]) for i in range(len(tail) - 3)]
        if len(tail) >= LEAST and len(grams) >= 4 * len(set(grams)):
            return len(grams) - len(set(grams))
    return 0


@st.composite
def answers(draw: st.DrawFn) -> list[int]:
    """Text, then a block again and again, with or without other tokens in between."""
    text = draw(st.lists(st.integers(10, 99), max_size=40))
    block = draw(st.lists(st.integers(10, 20), min_size=1, max_size=40))
    between = draw(st.lists(st.integers(10, 99), max_size=6))
    times = draw(st.integers(0, 12))
    return text + (block + between) * times


@given(answers())
@settings(max_examples=60, deadline=None)
def test_a_loop_is_what_its_definition_says(tokens: list[int]) -> None:
    assert repeated_tokens(tokens) == spelled_out(tokens)


@given(
    block=st.integers(1, 60),
    more=st.integers(0, 100),
    before=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_four_repetitions_of_a_block_are_a_loop_whatever_was_said_before(
    block: int, more: int, before: int
) -> None:
    length = max(LEAST, 4 * block + 3) + more
    text = list(range(1000, 1000 + before))
    loop = [100 + i % block for i in range(length)]
    assert repeated_tokens(text + loop) == length - block - 3
    # With another id for each token nothing changes.
    assert repeated_tokens([7 * token + 1 for token in text + loop]) == length - block - 3
    assert ending(text + loop, END) == Ending(by="loop", repeated_tokens=length - block - 3)


@given(block=st.integers(1, 200), length=st.integers(1, 600))
@settings(max_examples=60, deadline=None)
def test_less_than_four_repetitions_are_none(block: int, length: int) -> None:
    loop = [100 + i % block for i in range(length)]
    is_loop = length >= LEAST and length - 3 >= 4 * block
    assert ending(loop, END).by == ("loop" if is_loop else "limit")


def looping(block: int, forbidden: int, length: int) -> Iterator[int]:
    """A model that wants to repeat a block of tokens, but may repeat no n-gram of that length.

    Where it may not go on, it says what it never said, and begins the block again.
    """
    said: list[int] = []
    seen: set[tuple[int, ...]] = set()
    place, other = 0, 1000
    while len(said) < length:
        token = 100 + place % block
        gram = (*said[1 - forbidden :], token)
        if len(gram) == forbidden and gram in seen:
            token, place, other = other, -1, other + 1
            gram = (*gram[:-1], token)
        seen.add(gram)
        said.append(token)
        place += 1
        yield token


@pytest.mark.parametrize("forbidden", [20, 30, 35])
@pytest.mark.parametrize("block", [1, 2, 7, 25, 60])
def test_a_loop_is_seen_where_repeated_n_grams_are_forbidden(block: int, forbidden: int) -> None:
    """As the published call forbids them, which leaves no long block that repeats exactly."""
    tokens = list(looping(block, forbidden, 2000))
    grams = [tuple(tokens[i : i + forbidden]) for i in range(len(tokens) - forbidden + 1)]
    assert len(grams) == len(set(grams))
    found = ending(tokens, END)
    assert found.by == "loop"
    assert found.repeated_tokens > 1400


def test_what_says_something_else_each_time_is_no_loop() -> None:
    count = [token for number in range(400) for token in (7, 1000 + number, 8, 9)]
    assert ending(count, END).by == "limit"
    assert ending(list(range(10, 5000)), END) == Ending(by="limit")
    # A table of 16 columns, one cell of three filled.
    cells = [[7, 8], [7, 8], [7, *range(3), 8]]
    table = [
        100 + row * 48 + 3 * column + token if token < 3 else token
        for row in range(20)
        for column in range(16)
        for token in cells[column % 3]
    ]
    assert ending(table, END).by == "limit"


def test_an_end_of_sequence_ends_an_answer_whatever_it_said() -> None:
    assert ending([5, 6, 2], END).by == "end"
    assert ending([5] * 300 + [0], END) == Ending(by="end")
    assert ending([5, 0, 1, 1, 1], END).by == "end", "padding of a batch follows"
    assert ending([5] * 300, END).by == "loop"
    assert ending([5], END) == Ending(by="limit")
