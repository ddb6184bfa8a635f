"""The cache of a decoder by kind of layer, from which a decode step's bytes and FLOPs follow."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayers:
    """The layers of one kind in the cache of a page.

    Attributes:
        kind: ``full`` (keys and values of every token), ``sliding`` (of the last ones; chunked
            attention too), ``state`` (of linear attention or convolution: of one size), ``cross``
            (keys and values of the page, which a prefill writes once).
        layers: how many store something.
        window: most tokens that a sliding layer attends to, the step's own included; None for other
            kinds.
        bytes: of all of these layers: for each token that they hold (full, sliding), or in all.
        flops: that a decode step needs more for each token more that these layers attend to; 0 for
            the kinds that do not grow, and for windows that the first step fills.
    """

    kind: str
    layers: int
    window: int | None
    bytes: int
    flops: int

    @property
    def grows(self) -> bool:
        """Whether it holds tokens of the context."""
        return self.kind in ("full", "sliding")

    def held_bytes(self, tokens: int) -> int:
        """Bytes of the tensors after so many tokens: a full window awaits the next step's token."""
        if not self.grows:
            return self.bytes
        return self.bytes * (tokens if self.window is None else min(tokens, self.window - 1))

    def keys(self, contexts: range) -> int:
        """Tokens of the context that each of the layers attends to, added up over decode steps."""
        if not self.grows:
            return 0
        if self.window is None:
            return _sum(contexts)
        below = range(contexts.start, min(max(self.window, contexts.start), contexts.stop))
        return _sum(below) + (len(contexts) - len(below)) * self.window

    def read_bytes(self, contexts: range) -> int:
        """Bytes that decode steps read at these contexts, added up: each step with its own token's.

        A state is read whole, and so are the keys and values of the page.
        """
        return self.bytes * (self.keys(contexts) if self.grows else len(contexts))


def held_bytes(cache: Iterable[CacheLayers], tokens: int) -> int:
    """Bytes of a cache after so many tokens, those of the prompt counted in."""
    return sum(kind.held_bytes(tokens) for kind in cache)


def read_bytes(cache: Iterable[CacheLayers], contexts: range) -> int:
    """Bytes of a cache that decode steps at these contexts read, added up over the steps."""
    return sum(kind.read_bytes(contexts) for kind in cache)


def grown_flops(cache: Iterable[CacheLayers], first: int, contexts: range) -> int:
    """FLOPs of decode steps beyond those of as many steps at the context `first`, added up.

    Args:
        first: context of a counted step, at most that of the others.
    """
    at_first = range(first, first + 1)
    return sum(
        kind.flops * (kind.keys(contexts) - len(contexts) * kind.keys(at_first)) for kind in cache
    )


def _sum(numbers: range) -> int:
    return len(numbers) * (numbers[0] + numbers[-1]) // 2 if numbers else 0
