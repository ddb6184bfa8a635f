"""What the model folders of toy size have in common: sizes of their parts, names of their files."""

from typing import Any

Files = dict[str, dict[str, Any]]

TEXT = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
LLAMA = TEXT | {"model_type": "llama"}
QWEN2 = TEXT | {"model_type": "qwen2", "use_sliding_window": False}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
CLIP = VISION | {"model_type": "clip_vision_model", "projection_dim": 32}
SIGLIP = VISION | {"model_type": "siglip_vision_model", "vision_use_head": False}
PIXTRAL = VISION | {"model_type": "pixtral", "head_dim": 16, "image_size": 224}
BLOCKS = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
PIXELS = {"min_pixels": 3136, "max_pixels": 50176}
EDGES = {"size": {"shortest_edge": 3136, "longest_edge": 50176}}
PINPOINTS = [[56, 112], [112, 56], [112, 112]]
SQUARE = {"height": 56, "width": 56}


def files(
    model_type: str,
    architecture: str,
    processor: str,
    image_processor: str,
    *,
    config: dict[str, Any],
    image: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
) -> Files:
    """Files by name.

    Args:
        image: values of preprocessor_config.json.
        own: values of processor_config.json; without, there is none.
        names: special tokens that the tokenizer knows by a name of the family.
    """
    made = {
        "config": {"model_type": model_type, "architectures": [architecture]} | config,
        "preprocessor_config": {
            "image_processor_type": image_processor,
            "processor_class": processor,
        }
        | (image or {}),
    }
    if own is not None:
        made["processor_config"] = {"processor_class": processor} | own
    if names is not None:
        made["tokenizer"] = {"extra_special_tokens": names} | names
    return made
