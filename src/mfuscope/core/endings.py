"""How the answer of a page ended: by itself, at its limit, or at its limit in a loop.

A loop is the end of an answer that keeps saying what it said: of a tail of at least `LEAST` tokens,
each n-gram of `GRAM` tokens occurs `OFTEN` times, on average. The measure is that of Welleck et al.
(Neural Text Generation with Unlikelihood Training, ICLR 2020: seq-rep-4 = 1 - distinct 4-grams /
4-grams), here at 1 - 1 / `OFTEN` = 3/4 or more.

Why no exact repetition of one block: where `no_repeat_ngram_size` forbids it, a model that loops
inserts another token every n tokens and goes on. The tail then has n - 1 tokens of the block for
each of those, and at least 1 - 4 / n of its 4-grams repeat: 4/5 for n = 20. Without such a limit a
block of p tokens is a loop from four repetitions on. What counts upwards (1, 2, 3, ...) is none.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

GRAM: Final = 4
OFTEN: Final = 4
#: A row of dots or of empty cells on the page may be as long as a shorter tail.
LEAST: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an answer ended.

    `by` is ``end`` (the model's end of sequence), ``limit`` (max_new_tokens) or ``loop`` (the same
    limit, in a loop). `repeated_tokens` are those of a loop that say nothing new; otherwise 0.
    """

    by: str
    repeated_tokens: int = 0


def ending(tokens: Sequence[int], end_tokens: Collection[int]) -> Ending:
    """How an answer ended.

    Args:
        tokens: its new token ids; what follows an end of sequence is padding.
        end_tokens: the ids of which each ends a sequence.
    """
    if not set(end_tokens).isdisjoint(tokens):
        return Ending(by="end")
    repeated = repeated_tokens(tokens)
    return Ending(by="loop", repeated_tokens=repeated) if repeated else Ending(by="limit")


def repeated_tokens(tokens: Sequence[int]) -> int:
    """The tokens of the loop that an answer ends in whose n-gram the loop has already; 0 without.

    Of the longest tail that is a loop, its n-grams less the distinct ones: for a block of p tokens
    that fills the last L, that is L - p - 3, whatever was said before.
    """
    seen: set[tuple[int, ...]] = set()
    repeated = 0
    for start in range(len(tokens) - GRAM, -1, -1):
        seen.add(tuple(tokens[start : start + GRAM]))
        grams = len(tokens) - GRAM - start + 1
        if len(tokens) - start >= LEAST and grams >= OFTEN * len(seen):
            repeated = grams - len(seen)
    return repeated
