"""DeepSeek-OCR's published config, translated into transformers' ``unlimited_ocr``.

The published checkpoint names an architecture (``DeepseekOCRForCausalLM``) whose modelling code is
remote code. transformers carries the same network as ``unlimited_ocr``: SAM and CLIP encoders,
projector and mixture-of-experts decoder, with a sliding window over the generated tokens. With full
attention in every layer it is DeepSeek-OCR, and its conversion rules know the published tensor
names.
"""

from collections.abc import Mapping
from typing import Any

from mfuscope.models.sizes import check_sizes, is_whole, shown

PUBLISHED_ARCHITECTURE = "DeepseekOCRForCausalLM"

# Values of the network that the published config does not state.
_SAM_PATCH = 16
_SAM_OUTPUT_CHANNELS = 256
_MLP_RATIO = 4
IMAGE_TOKEN_ID = 128815

_TOPK_METHODS = ("greedy", "group_limited_greedy")
_DTYPES = ("bfloat16", "float16", "float32")


def map_published_config(published: dict[str, Any]) -> dict[str, Any]:
    """Translate a published DeepSeek-OCR config into an ``unlimited_ocr`` config.

    Args:
        published: the content of the checkpoint's ``config.json``.

    Returns:
        The keyword arguments of ``UnlimitedOcrConfig``.

    Raises:
        ValueError: a part of the published layout is missing or invalid, or the config asks for
            what the architecture does not have (MLA, a projector that is not linear, experts in
            every n-th layer).
    """
    check_sizes(published)
    language = _part(published, "language_config")
    projector = _part(published, "projector_config")
    vision = _part(published, "vision_config")
    sam = _part(vision, "width", "sam_vit_b")
    clip = _part(vision, "width", "clip-l-14-224")
    try:
        _check_language(language)
        _check_vision(sam, clip, projector)
        mapped = _mapped(published, language, vision["image_size"], sam, clip)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from error
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"a value is of the wrong type: {error}") from error
    _check_tokens(mapped)
    return mapped


def _part(config: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A mapping within a mapping."""
    for number, name in enumerate(names, start=1):
        inner = config.get(name)
        if not isinstance(inner, Mapping):
            raise ValueError(f"{'.'.join(names[:number])} is missing or no mapping")
        config = inner
    return config


def _check_language(language: Mapping[str, Any]) -> None:
    if language.get("use_mla", False):
        raise ValueError("multi-head latent attention (use_mla) is not part of DeepSeek-OCR")
    if language.get("moe_layer_freq", 1) != 1:
        raise ValueError("moe_layer_freq other than 1 is not part of DeepSeek-OCR")
    if language["topk_method"] not in _TOPK_METHODS:
        raise ValueError(
            f"topk_method {shown(language['topk_method'])} is not part of DeepSeek-OCR"
        )
    heads = language["num_attention_heads"]
    _check_divides("hidden_size", language["hidden_size"], "num_attention_heads", heads)
    key_heads = language["num_key_value_heads"]
    _check_divides("num_attention_heads", heads, "num_key_value_heads", key_heads)
    for small, large in (
        ("num_experts_per_tok", "n_routed_experts"),
        ("first_k_dense_replace", "num_hidden_layers"),
    ):
        value, most = language[small], language[large]
        if not is_whole(value) or not 0 <= value <= most:
            raise ValueError(f"{small} {shown(value)} is no whole number up to {large}, {most}")


def _check_vision(
    sam: Mapping[str, Any], clip: Mapping[str, Any], projector: Mapping[str, Any]
) -> None:
    if projector["projector_type"] != "linear":
        raise ValueError(f"projector_type {shown(projector['projector_type'])} is not linear")
    if projector["input_dim"] != clip["width"] + sam["downsample_channels"][-1]:
        raise ValueError("projector input_dim is not the sum of both encoders' widths")
    for encoder in (sam, clip):
        _check_divides("width", encoder["width"], "heads", encoder["heads"])


def _check_tokens(mapped: Mapping[str, Any]) -> None:
    vocabulary = mapped["text_config"]["vocab_size"]
    for name in ("bos_token_id", "eos_token_id", "image_token_id"):
        value = mapped[name]
        several = value if isinstance(value, list) and name == "eos_token_id" else [value]
        if not all(is_whole(token) and 0 <= token < vocabulary for token in several):
            raise ValueError(f"{name} {shown(value)} is no token of a vocabulary of {vocabulary}")


def _check_divides(name: str, whole: int, by_name: str, part: int) -> None:
    if whole % part:
        raise ValueError(f"{name} {whole} is no multiple of {by_name} {part}")


def _mapped(
    published: Mapping[str, Any],
    language: Mapping[str, Any],
    image_size: int,
    sam: Mapping[str, Any],
    clip: Mapping[str, Any],
) -> dict[str, Any]:
    dtype = published.get("torch_dtype", "bfloat16")
    if dtype not in _DTYPES:
        raise ValueError(f"torch_dtype {shown(dtype)} is not one of {', '.join(_DTYPES)}")
    layers = language["num_hidden_layers"]
    text = {
        key: language[key]
        for key in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
            "moe_intermediate_size",
            "n_group",
            "n_routed_experts",
            "n_shared_experts",
            "num_experts_per_tok",
            "topk_group",
            "topk_method",
            "bos_token_id",
            "eos_token_id",
        )
    }
    dense = language["first_k_dense_replace"]
    text |= {
        "num_hidden_layers": layers,
        "mlp_layer_types": ["dense" if i < dense else "sparse" for i in range(layers)],
        "layer_types": ["full_attention"] * layers,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(language.get("rope_theta", 10000.0)),
        },
        "rms_norm_eps": language.get("rms_norm_eps", 1e-6),
        "routed_scaling_factor": language.get("routed_scaling_factor", 1.0),
    }
    return {
        "architectures": ["UnlimitedOcrForConditionalGeneration"],
        "model_type": "unlimited_ocr",
        "image_token_id": published.get("image_token_id", IMAGE_TOKEN_ID),
        "tie_word_embeddings": False,
        "dtype": dtype,
        "bos_token_id": language["bos_token_id"],
        "eos_token_id": language["eos_token_id"],
        "vision_config": {
            "sam_config": {
                "hidden_size": sam["width"],
                "num_hidden_layers": sam["layers"],
                "num_attention_heads": sam["heads"],
                "global_attn_indexes": sam["global_attn_indexes"],
                "downsample_channels": sam["downsample_channels"],
                "output_channels": _SAM_OUTPUT_CHANNELS,
                "mlp_dim": _MLP_RATIO * sam["width"],
                "image_size": image_size,
                "patch_size": _SAM_PATCH,
            },
            "encoder_config": {
                "hidden_size": clip["width"],
                "num_hidden_layers": clip["layers"],
                "num_attention_heads": clip["heads"],
                "intermediate_size": _MLP_RATIO * clip["width"],
                "image_size": clip["image_size"],
                "patch_size": clip["patch_size"],
            },
        },
        "text_config": text,
    }
