"""What a model's cache holds, read from the cache itself between the forwards of a page.

transformers gives each layer of a decoder a cache layer of its kind. After the prefill and after
each of two steps the tensors tell what a kind holds: what grows with every token, up to a window,
and what stays. A description must give the size of the tensors each time, to the byte. A kind that
is not known makes the whole cache unknown.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import nn

from mfuscope.core.cache import CacheLayers, held_bytes

# Classes of transformers' cache layers that hold keys and values, a state, or both.
_ATTENTION: Final = (
    *(
        "DynamicLayer",
        "DynamicSlidingWindowLayer",
        "UnlimitedOcrDynamicReferenceSlidingWindowLayer",
    ),
    *("LinearAttentionAndFullAttentionLayer", "LinearAttentionAndSlidingWindowAttentionLayer"),
)
_STATE: Final = (
    *("LinearAttentionLayer", "LinearAttentionAndFullAttentionLayer"),
    "LinearAttentionAndSlidingWindowAttentionLayer",
)
_NOTHING: Final = "DummyLayer"  # of layers that use the keys and values of another one, or none

_Kind = tuple[str, int | None]  # with its window


class UnknownCacheError(Exception):
    """A cache whose size does not follow from known kinds of layers; the message says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a layer holds at some time: keys and values, or a state.

    Attributes:
        layer: its number.
        kind: ``attention``, ``cross`` or ``state``; else the name of an unknown class.
        window: most tokens that it attends to; None without a window.
        bytes: of its tensors.
        width: of a key and a value of one head, together.
    """

    layer: int
    kind: str
    window: int | None
    bytes: int
    width: int


@dataclass(frozen=True, slots=True)
class Decoder:
    """What the cache does not tell of a decoder: query heads, and the kind of each layer."""

    heads: int | None
    layer_types: Sequence[str]

    @classmethod
    def of(cls, config: Any) -> "Decoder":
        """That of a model's config."""
        text = config.get_text_config(decoder=True)
        return cls(
            getattr(text, "num_attention_heads", None), getattr(text, "layer_types", None) or ()
        )


@contextmanager
def watched_cache(decoders: Iterable[nn.Module]) -> Iterator[Callable[[], list[Held]]]:
    """Watch the cache that decoders are given, in the body.

    Yields:
        A function that says what each layer holds now.
    """
    caches: list[Any] = [None]

    def note(_module: nn.Module, _args: object, given: dict[str, Any]) -> None:
        cache = given.get("past_key_values")
        if cache is not None:  # an empty one is false
            caches[0] = cache

    handles = [one.register_forward_pre_hook(note, with_kwargs=True) for one in decoders]
    try:
        yield lambda: held(caches[0])
    finally:
        for handle in handles:
            handle.remove()


def held(cache: Any) -> list[Held]:
    """What each layer of a cache of transformers holds; nothing where it is none."""
    if hasattr(cache, "cross_attention_cache"):
        return held(cache.self_attention_cache) + [
            replace(one, kind="cross", window=None) if one.kind == "attention" else one
            for one in held(cache.cross_attention_cache)
        ]
    found = []
    for number, layer in enumerate(getattr(cache, "layers", ())):
        name = type(layer).__name__
        if name not in (*_ATTENTION, *_STATE, _NOTHING):
            found.append(Held(number, name, None, 0, 0))
        if name in _STATE:
            states = [*layer.conv_states.values(), *layer.recurrent_states.values()]
            found.append(Held(number, "state", None, _bytes(states), 0))
        if name in _ATTENTION:
            found.append(_attention(number, layer))
    return found


def _attention(number: int, layer: Any) -> Held:
    prefilled = getattr(layer, "prefill_keys", None)
    kept = 0 if prefilled is None else prefilled.shape[-2]
    window = getattr(layer, "sliding_window", None)
    tensors = [
        getattr(layer, name, None) for name in ("keys", "values", "prefill_keys", "prefill_values")
    ]
    width = sum(one.shape[-1] for one in tensors[:2] if one is not None)
    window = None if window is None else kept + window
    return Held(number, "attention", window, _bytes(tensors), width)


def _bytes(tensors: Iterable[torch.Tensor | None]) -> int:
    return sum(one.numel() * one.element_size() for one in tensors if one is not None)


def describe_cache(
    moments: Sequence[Sequence[Held]], prompt_tokens: int, growth: int, decoder: Decoder
) -> list[CacheLayers]:
    """The kinds of layers of a cache.

    Args:
        moments: what the layers hold after the prefill, and after each of two steps.
        prompt_tokens: tokens of the prompt.
        growth: FLOPs that the second step needs more than the first one.

    Raises:
        UnknownCacheError: a layer's size, or the growth, does not follow from a known kind.
    """
    if not moments[0] or len(set(map(len, moments))) > 1:
        raise UnknownCacheError("no decoder was given a cache of transformers throughout")
    layers: Counter[_Kind] = Counter()
    sizes: Counter[_Kind] = Counter()
    widths: Counter[_Kind] = Counter()
    of_type: dict[str, tuple[_Kind, int]] = {}
    types = dict(enumerate(decoder.layer_types))
    for moment in zip(*moments, strict=True):
        kind, size = _kind(moment, prompt_tokens)
        one = moment[-1]
        layers[kind] += 1
        sizes[kind] += size
        widths[kind] += one.width
        if one.kind == "attention":
            of_type[types.pop(one.layer, "")] = kind, one.width
    # What is left are layers that store nothing: they attend to what one of their type stores.
    for name in types.values():
        if name in of_type:
            kind, width = of_type[name]
            widths[kind] += width
    flops = _growth(widths, prompt_tokens, growth, decoder.heads)
    cache = [
        CacheLayers(
            kind=kind[0],
            layers=layers[kind],
            window=kind[1],
            bytes=sizes[kind],
            flops=flops.get(kind, 0),
        )
        for kind in layers
    ]
    for more, layers_then in enumerate(moments):
        if held_bytes(cache, prompt_tokens + more) != sum(one.bytes for one in layers_then):
            raise UnknownCacheError("the cache grows unlike its kinds of layers")
    return cache


def _kind(moments: Sequence[Held], prompt_tokens: int) -> tuple[_Kind, int]:
    """Kind and window of a layer, and its bytes: per token if it grows."""
    size, last = moments[0].bytes, moments[-1]
    window = last.window
    if last.kind in ("cross", "state"):
        return (last.kind, None), size
    if last.kind != "attention":
        raise UnknownCacheError(f"{last.kind} is no known kind of cache layer")
    if window is not None:
        return ("sliding", window), size // max(1, min(prompt_tokens, window - 1))
    if size == last.bytes:  # keys and values of the page, in a layer among the others
        return ("cross", None), size
    return ("full", None), size // prompt_tokens


def _growth(
    widths: Counter[_Kind], prompt_tokens: int, growth: int, heads: int | None
) -> dict[_Kind, int]:
    """FLOPs per token of context by kind, of the kinds that the second step's token makes grow.

    A token more is a product with a key and one with a value, for each query head:
    ``2 H (D_k + D_v)``. Where several kinds grow, that must be the growth that was counted.
    """
    growing = [
        kind
        for kind in widths
        if kind[0] == "full" or (kind[1] is not None and kind[1] >= prompt_tokens + 2)
    ]
    if len(growing) == 1:
        return {growing[0]: growth}
    by_kind = {kind: 2 * (heads or 0) * widths[kind] for kind in growing}
    if sum(by_kind.values()) != growth:
        raise UnknownCacheError("how each kind of layer adds to a step's FLOPs is not known")
    return by_kind
