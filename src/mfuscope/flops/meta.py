"""Counting a full-size model on the meta device: in seconds, without weights or a GPU.

A whole forward cannot run there, as the check of image tokens needs a value. Its parts can: image
features, the decoder on embeddings, the head on one position. Each part is the model's own code,
and every operator is counted where it is dispatched, as on a device.
"""

from typing import Any

import torch

from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.flops.components import LM_HEAD
from mfuscope.flops.counting import FlopCounter
from mfuscope.models.geometry import Geometry

_META = torch.device("meta")


def build_on_meta(model_class: Any, config: Any, attention: str = "sdpa") -> Any:
    """A model without weights.

    Args:
        model_class: a transformers class with ``_from_config``.
        attention: ``sdpa`` or ``eager``.
    """
    with _META:
        model = model_class._from_config(
            config, dtype=torch.bfloat16, attn_implementation=attention
        )
    return model.eval().requires_grad_(False)


def count_prefill(model: Any, geometry: Geometry, prompt_tokens: int) -> FlopCounter:
    """Count one prefill of a page of a geometry.

    Args:
        model: of a known architecture (`attribution.is_known`), on meta.
        prompt_tokens: length of the prompt with its image tokens.
    """
    base, hidden = model.model, model.config.text_config.hidden_size
    views = {"pixel_values": _pixels(1, geometry.base_size)}
    if geometry.tiles:
        views["pixel_values_local"] = _pixels(geometry.tiles, geometry.tile_size)
    grid = [[geometry.columns, geometry.rows] if geometry.tiles else [1, 1]]
    more: dict[str, Any] = {"num_local_patches": [geometry.tiles]}
    if model.config.model_type == "unlimited_ocr":
        more["patches_grid"] = grid
    counter = FlopCounter()
    with torch.no_grad(), counter.attribute(label_modules(model), label_methods(model)), counter:
        base.get_image_features(**views, **more)
        base.language_model(inputs_embeds=_embeddings(prompt_tokens, hidden), use_cache=True)
        model.lm_head(_embeddings(1, hidden))
    return counter


def count_steps(model: Any, prompt_tokens: int, steps: int) -> list[FlopCounter]:
    """Count the decode steps after a prefill; step i attends to ``prompt_tokens + 1 + i`` tokens.

    Args:
        model: of a known architecture, on meta.
    """
    from transformers import DynamicCache

    language, hidden = model.model.language_model, model.config.text_config.hidden_size
    counters = []
    with torch.no_grad():
        cache = DynamicCache(config=model.config.text_config)
        language(inputs_embeds=_embeddings(prompt_tokens, hidden), past_key_values=cache)
        for _ in range(steps):
            counter = FlopCounter()
            with counter.attribute(label_modules(model), label_methods(model)), counter:
                language(inputs_embeds=_embeddings(1, hidden), past_key_values=cache)
                model.lm_head(_embeddings(1, hidden))
            counters.append(counter)
    assert all(LM_HEAD in counter.counts for counter in counters)
    return counters


def _pixels(views: int, side: int) -> torch.Tensor:
    return torch.empty(views, 3, side, side, dtype=torch.bfloat16, device=_META)


def _embeddings(tokens: int, hidden: int) -> torch.Tensor:
    return torch.empty(1, tokens, hidden, dtype=torch.bfloat16, device=_META)
