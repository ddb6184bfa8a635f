"""The language decoder of a model, as its config describes it."""

from dataclasses import astuple
from types import SimpleNamespace
from typing import Any

from mfuscope.core.language import Language
from mfuscope.models.families import Family
from mfuscope.models.published import as_transformers, published_architecture
from mfuscope.models.sizes import is_whole


def read_language(text: Any, sliding_layers: int) -> Language:
    """The dimensions of a decoder of the known families.

    Args:
        text: its config, as attributes (``text_config``).
        sliding_layers: number of layers that attend to a window of the generated tokens.

    Raises:
        AttributeError: the config lacks one.
    """
    return Language(
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        dense_layers=sum(kind == "dense" for kind in text.mlp_layer_types),
        dense_mlp=text.intermediate_size,
        experts=text.n_routed_experts,
        active_experts=text.num_experts_per_tok,
        expert_mlp=text.moe_intermediate_size,
        shared_mlp=text.moe_intermediate_size * text.n_shared_experts,
        vocabulary=text.vocab_size,
        window=text.sliding_window if sliding_layers else None,
        sliding_layers=sliding_layers,
    )


def planned_language(config: dict[str, Any], family: Family) -> Language | None:
    """The decoder as a config.json describes it, read without transformers and its defaults.

    Args:
        config: the content of a config.json that passed its checks (`models.spec`).

    Returns:
        None where the family is not known, or the file leaves a size to transformers' defaults.
    """
    if family is Family.GENERIC:
        return None
    try:
        text = SimpleNamespace(**as_transformers(config)["text_config"])
        kinds = text.layer_types if family is not Family.DEEPSEEK_OCR_2 else ()
        language = read_language(text, sum(kind != "full_attention" for kind in kinds))
    except (AttributeError, LookupError, TypeError):
        return None
    # Sizes that models.sizes does not know by name are not checked yet.
    return language if all(one is None or is_whole(one) for one in astuple(language)) else None


def planned_positions(config: dict[str, Any], family: Family) -> int | None:
    """The context limit in tokens that a config.json names, None if planning cannot know it."""
    key = "language_config" if published_architecture(config) else "text_config"
    language = config.get(key)
    if family is Family.GENERIC or not isinstance(language, dict):
        return None
    positions = language.get("max_position_embeddings")
    return positions if is_whole(positions) else None
