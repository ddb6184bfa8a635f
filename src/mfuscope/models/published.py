"""DeepSeek-OCR's published config, said in transformers' own words.

The published checkpoint names an architecture of its own (``DeepseekOCRForCausalLM``) whose
modelling code is remote code. transformers carries the same network as ``unlimited_ocr``: the same
SAM and CLIP encoders, projector and mixture-of-experts decoder, there with a sliding window over
the generated tokens. With full attention in every layer it is DeepSeek-OCR, and its conversion
rules know the published tensor names.
"""

from typing import Any

PUBLISHED_ARCHITECTURE = "DeepseekOCRForCausalLM"

# The network's fixed parts, which the published config does not spell out.
_SAM_PATCH = 16
_SAM_OUTPUT_CHANNELS = 256
_MLP_RATIO = 4
IMAGE_TOKEN_ID = 128815


def map_published_config(published: dict[str, Any]) -> dict[str, Any]:
    """Translate a published DeepSeek-OCR config into an ``unlimited_ocr`` config.

    Args:
        published: the content of the checkpoint's ``config.json``.

    Returns:
        The keyword arguments of ``UnlimitedOcrConfig``.

    Raises:
        KeyError: a part of the published layout is missing.
        ValueError: the config asks for something that the architecture does not have (MLA, a
            projector that is not linear, experts in every n-th layer).
    """
    language = published["language_config"]
    projector = published["projector_config"]
    if language.get("use_mla", False):
        raise ValueError("multi-head latent attention (use_mla) is not part of DeepSeek-OCR")
    if projector["projector_type"] != "linear":
        raise ValueError(f"projector_type {projector['projector_type']!r} is not 'linear'")
    if language.get("moe_layer_freq", 1) != 1:
        raise ValueError("moe_layer_freq other than 1 is not part of DeepSeek-OCR")
    sam = published["vision_config"]["width"]["sam_vit_b"]
    clip = published["vision_config"]["width"]["clip-l-14-224"]
    if projector["input_dim"] != clip["width"] + sam["downsample_channels"][-1]:
        raise ValueError("projector input_dim is not the sum of both encoders' widths")
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
        "dtype": published.get("torch_dtype", "bfloat16"),
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
                "image_size": published["vision_config"]["image_size"],
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
