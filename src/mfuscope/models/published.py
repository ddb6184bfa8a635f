"""Published configs of the DeepSeek-OCR family, translated into those of transformers' classes.

The published checkpoints name architectures whose modelling code is remote code. transformers
carries the same networks, and its conversion rules know the published tensor names:

- DeepSeek-OCR (``DeepseekOCRForCausalLM``) is ``unlimited_ocr`` with full attention in every layer:
  SAM and CLIP encoders, projector and mixture-of-experts decoder.
- Unlimited-OCR (``UnlimitedOCRForCausalLM``) is ``unlimited_ocr`` with a sliding window over the
  generated tokens in every layer.
- DeepSeek-OCR-2 (``DeepseekOCR2ForCausalLM``) is ``deepseek_ocr2``: a decoder stack with queries in
  place of CLIP.
"""

from collections.abc import Mapping
from typing import Any, Final

from mfuscope.models.sizes import check_sizes, is_whole, shown

DEEPSEEK_OCR: Final = "DeepseekOCRForCausalLM"
UNLIMITED_OCR: Final = "UnlimitedOCRForCausalLM"
DEEPSEEK_OCR_2: Final = "DeepseekOCR2ForCausalLM"

# Published architecture -> model type and architecture in transformers.
_TRANSFORMERS = {
    DEEPSEEK_OCR: ("unlimited_ocr", "UnlimitedOcrForConditionalGeneration"),
    UNLIMITED_OCR: ("unlimited_ocr", "UnlimitedOcrForConditionalGeneration"),
    DEEPSEEK_OCR_2: ("deepseek_ocr2", "DeepseekOcr2ForConditionalGeneration"),
}

# Values of the networks that the published configs do not state.
_SAM_PATCH = 16
_SAM_OUTPUT_CHANNELS = 256
_MLP_RATIO = 4
IMAGE_TOKEN_ID = 128815
# Of DeepSeek-OCR-2's second encoder, which is Qwen2-0.5B's stack.
_QUERY_ENCODER = {"layers": 24, "heads": 14, "kv_heads": 2, "mlp": 4864, "rope_theta": 1e6}

_TOPK_METHODS = ("greedy", "group_limited_greedy")
_DTYPES = ("bfloat16", "float16", "float32")


def published_architecture(config: Mapping[str, Any]) -> str | None:
    """The published architecture that a config names, None if it names none."""
    names = config.get("architectures")
    known = [name for name in names if name in _TRANSFORMERS] if isinstance(names, list) else []
    return known[0] if known else None


def as_transformers(config: dict[str, Any]) -> dict[str, Any]:
    """A config as transformers has it: a published one translated, any other as it is.

    Raises:
        ValueError: a published config cannot be translated.
    """
    return map_published_config(config) if published_architecture(config) else config


def map_published_config(published: dict[str, Any]) -> dict[str, Any]:
    """Translate a published config of the family.

    Args:
        published: the content of the checkpoint's ``config.json``.

    Returns:
        The keyword arguments of transformers' config, `model_type` and `architectures` included.

    Raises:
        ValueError: a part of the published layout is missing or invalid, or the config asks for
            what the architecture does not have (MLA, a projector that is not linear, experts in
            every n-th layer).
    """
    check_sizes(published)
    name = published_architecture(published)
    if name is None:
        raise ValueError("architectures names no published architecture")
    language = _part(published, "language_config")
    projector = _part(published, "projector_config")
    vision = _part(published, "vision_config")
    sam = _part(vision, "width", "sam_vit_b")
    encoder = _part(vision, "width", "qwen2-0-5b" if name == DEEPSEEK_OCR_2 else "clip-l-14-224")
    try:
        _check_language(language)
        mapped = _mapped(name, published, language)
        mapped["text_config"] |= _layer_types(name, published, language)
        if name == DEEPSEEK_OCR_2:
            sam, encoder = _check_query_encoder(sam, encoder, projector)
            second = _queries(encoder)
        else:
            _check_clip(sam, encoder, projector)
            second = _clip(encoder)
        first = _sam(sam, vision["image_size"])
        mapped["vision_config"] = {"sam_config": first, "encoder_config": second}
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


def _check_clip(
    sam: Mapping[str, Any], clip: Mapping[str, Any], projector: Mapping[str, Any]
) -> None:
    _check_linear(projector)
    if projector["input_dim"] != clip["width"] + sam["downsample_channels"][-1]:
        raise ValueError("projector input_dim is not the sum of both encoders' widths")
    for encoder in (sam, clip):
        _check_divides("width", encoder["width"], "heads", encoder["heads"])


def _check_query_encoder(
    sam: Mapping[str, Any], encoder: Mapping[str, Any], projector: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both encoders, the second with all its values."""
    _check_linear(projector)
    encoder = _QUERY_ENCODER | dict(encoder)
    width = encoder["dim"]
    if projector["input_dim"] != width:
        raise ValueError("projector input_dim is not the width of the second encoder")
    _check_divides("width", sam["width"], "heads", sam["heads"])
    _check_divides("dim", width, "heads", encoder["heads"])
    _check_divides("heads", encoder["heads"], "kv_heads", encoder["kv_heads"])
    # The published number is DeepSeek-OCR's. The tensors have the second encoder's width, as SAM's
    # features are its input.
    return {**sam, "downsample_channels": [sam["downsample_channels"][0], width]}, encoder


def _check_linear(projector: Mapping[str, Any]) -> None:
    if projector["projector_type"] != "linear":
        raise ValueError(f"projector_type {shown(projector['projector_type'])} is not linear")


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


def _layer_types(
    name: str, published: Mapping[str, Any], language: Mapping[str, Any]
) -> dict[str, Any]:
    """The kinds of the decoder's layers, where the architecture has kinds."""
    layers = language["num_hidden_layers"]
    if name == DEEPSEEK_OCR_2:
        return {}
    if name == DEEPSEEK_OCR:
        return {"layer_types": ["full_attention"] * layers}
    windows = [
        part[key]
        for part in (language, published)
        for key in ("sliding_window", "sliding_window_size")
        if part.get(key) is not None
    ]
    if not windows:
        raise KeyError("sliding_window")
    if not is_whole(windows[0]) or windows[0] < 1:
        raise ValueError(f"sliding_window {shown(windows[0])} is no whole number above 0")
    return {"layer_types": ["reference_sliding_attention"] * layers, "sliding_window": windows[0]}


def _sam(sam: Mapping[str, Any], image_size: int) -> dict[str, Any]:
    return {
        "hidden_size": sam["width"],
        "num_hidden_layers": sam["layers"],
        "num_attention_heads": sam["heads"],
        "global_attn_indexes": sam["global_attn_indexes"],
        "downsample_channels": sam["downsample_channels"],
        "output_channels": _SAM_OUTPUT_CHANNELS,
        "mlp_dim": _MLP_RATIO * sam["width"],
        "image_size": image_size,
        "patch_size": _SAM_PATCH,
    }


def _clip(clip: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hidden_size": clip["width"],
        "num_hidden_layers": clip["layers"],
        "num_attention_heads": clip["heads"],
        "intermediate_size": _MLP_RATIO * clip["width"],
        "image_size": clip["image_size"],
        "patch_size": clip["patch_size"],
    }


def _queries(encoder: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "hidden_size": encoder["dim"],
        "num_hidden_layers": encoder["layers"],
        "num_attention_heads": encoder["heads"],
        "num_key_value_heads": encoder["kv_heads"],
        "intermediate_size": encoder["mlp"],
        "rope_parameters": {"rope_type": "default", "rope_theta": float(encoder["rope_theta"])},
        "rms_norm_eps": 1e-6,
        "vocab_size": 1,  # it embeds no tokens
    }


def _mapped(name: str, published: Mapping[str, Any], language: Mapping[str, Any]) -> dict[str, Any]:
    """All but the vision encoders and the kinds of layers."""
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
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(language.get("rope_theta", 10000.0)),
        },
        "rms_norm_eps": language.get("rms_norm_eps", 1e-6),
        "routed_scaling_factor": language.get("routed_scaling_factor", 1.0),
    }
    model_type, architecture = _TRANSFORMERS[name]
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "image_token_id": published.get("image_token_id", IMAGE_TOKEN_ID),
        "tie_word_embeddings": False,
        "dtype": dtype,
        "bos_token_id": language["bos_token_id"],
        "eos_token_id": language["eos_token_id"],
        "text_config": text,
    }
