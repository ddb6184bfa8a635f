"""Configs of the known architectures, in their own sizes and in small ones."""

import json
from typing import Any

from checkpoints import MODELS
from transformers import DeepseekOcr2Config, UnlimitedOcrConfig

from mfuscope.models.published import map_published_config

NANO_TEXT = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
}
NANO_SAM = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "global_attn_indexes": [1],
    "mlp_dim": 100,
    "output_channels": 40,
    "downsample_channels": [24, 32],
}


def published(name: str) -> Any:
    config = json.loads((MODELS / name / "config.json").read_text())
    return UnlimitedOcrConfig(**map_published_config(config))


def ocr_2() -> Any:
    config = json.loads((MODELS / "deepseek-ocr-2" / "config.json").read_text())
    return DeepseekOcr2Config(**{k: v for k, v in config.items() if k != "model_type"})


def small_unlimited() -> Any:
    encoder = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {"sam_config": NANO_SAM, "encoder_config": encoder | {"intermediate_size": 80}}
    return UnlimitedOcrConfig(text_config=NANO_TEXT | {"sliding_window": 4}, vision_config=vision)


def small_ocr_2() -> Any:
    encoder = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 80,
        "vocab_size": 1,
    }
    vision = {"sam_config": NANO_SAM, "encoder_config": encoder}
    text = NANO_TEXT | {"num_key_value_heads": 2, "mlp_layer_types": ["dense"] + ["sparse"] * 2}
    return DeepseekOcr2Config(text_config=text, vision_config=vision)
