"""The sizes in a model's config, checked before a library builds the model.

A width of 0 or of "1280" would fail deep inside of transformers, and a billion layers would fill
the memory.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 40  # characters of a value in a message

# The largest plausible value of each name; published models stay far below.
_LAYERS, _WIDTH, _VOCABULARY, _POSITIONS = 10_000, 1_000_000, 100_000_000, 1_000_000_000
_LARGEST = {
    **dict.fromkeys(
        (
            "depth",
            "heads",
            "layers",
            "num_attention_heads",
            "num_heads",
            "num_hidden_layers",
            "num_key_value_heads",
            "num_layers",
        ),
        _LAYERS,
    ),
    **dict.fromkeys(
        (
            "embed_dim",
            "hidden_size",
            "image_size",
            "input_dim",
            "intermediate_size",
            "moe_intermediate_size",
            "n_embed",
            "n_routed_experts",
            "num_experts",
            "num_experts_per_tok",
            "patch_size",
            "width",
        ),
        _WIDTH,
    ),
    "vocab_size": _VOCABULARY,
    "max_position_embeddings": _POSITIONS,
}


def check_sizes(config: Mapping[str, Any]) -> None:
    """Check that the sizes in a config, at any depth, are whole numbers above 0 or null.

    Raises:
        ValueError: names the first one that is not.
    """
    for place, key, value in _sizes(config, ()):
        name = ".".join((*place, key))
        if not is_whole(value) or value < 1:
            raise ValueError(f"{name} is {shown(value)}, no whole number above 0")
        if value > _LARGEST[key]:
            raise ValueError(f"{name} is {shown(value)}, more than {_LARGEST[key]}")


def is_whole(value: Any) -> bool:
    """Whether a value from JSON is a whole number; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def _sizes(
    config: Mapping[str, Any], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, (*place, key))
        elif key in _LARGEST:
            several = value if isinstance(value, list) else [value]  # one size per stage or side
            yield from ((place, key, one) for one in several if one is not None)


def shown(value: Any) -> str:
    """A config's value as JSON, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
