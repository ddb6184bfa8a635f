"""The families that people use for documents, as model folders of toy size (`small_models`)."""

from collections.abc import Sequence
from typing import Any

from small_cross_attention import kosmos2_5, mllama
from small_files import (
    BLOCKS,
    CLIP,
    EDGES,
    LLAMA,
    MROPE,
    PINPOINTS,
    PIXELS,
    PIXTRAL,
    QWEN2,
    SIGLIP,
    SQUARE,
    TEXT,
    VISION,
    Files,
    files,
)

# --- Qwen-VL and what came of it -----------------------------------------------------------------

QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
QWEN_CHAT = "<|vision_start|><|image_pad|><|vision_end|>"


def _qwen(kind: str, name: str, ids: dict[str, int], text: Any, vision: Any, **more: Any) -> Files:
    start, end, image, video = QWEN
    config = {
        "image_token_id": ids[image],
        "video_token_id": ids[video],
        "vision_start_token_id": ids[start],
        "vision_end_token_id": ids[end],
        "text_config": TEXT | text,
        "vision_config": BLOCKS | vision,
    }
    return files(
        kind,
        f"{name}ForConditionalGeneration",
        more.pop("processor", f"{name}Processor"),
        more.pop("image_processor", "Qwen2VLImageProcessor"),
        config=config,
        image={"temporal_patch_size": 2, "merge_size": 2, "patch_size": 14} | more,
    )


def _qwen2_vl(ids: dict[str, int]) -> Files:
    vision = {"embed_dim": 32, "mlp_ratio": 2}
    return _qwen("qwen2_vl", "Qwen2VL", ids, {"rope_parameters": MROPE}, vision, **PIXELS)


def qwen2_5_vl(ids: dict[str, int]) -> Files:
    vision = {"depth": 3, "out_hidden_size": 32, "window_size": 112, "fullatt_block_indexes": [2]}
    return _qwen("qwen2_5_vl", "Qwen2_5_VL", ids, {"rope_parameters": MROPE}, vision, **PIXELS)


_QWEN3_VISION = {"out_hidden_size": 32, "num_position_embeddings": 64}
_QWEN3_IMAGE = EDGES | {"patch_size": 16, "image_processor": "Qwen2VLImageProcessorFast"}


def qwen3_vl(ids: dict[str, int]) -> Files:
    rope = MROPE | {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
    vision = _QWEN3_VISION | {"depth": 3, "deepstack_visual_indexes": [0, 1]}
    text = {"head_dim": 16, "rope_parameters": rope}
    return _qwen("qwen3_vl", "Qwen3VL", ids, text, vision, **_QWEN3_IMAGE)


def qwen3_5(ids: dict[str, int]) -> Files:
    text = {
        "head_dim": 32,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "rope_parameters": MROPE | {"mrope_interleaved": True, "partial_rotary_factor": 0.25},
    }
    image = _QWEN3_IMAGE | {"processor": "Qwen3VLProcessor"}
    return _qwen("qwen3_5", "Qwen3_5", ids, text, _QWEN3_VISION, **image)


GLM = (
    *("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|end_of_video|>"),
)
GLM_CHAT = "<|begin_of_image|><|image|><|end_of_image|>"


def glm(kind: str, name: str, processor: str, ids: dict[str, int], parts: str = "") -> Files:
    """Files of a GLM model; `parts` begins the names of its parts, where its own does not."""
    keys = (
        *("image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id"),
        *("video_start_token_id", "video_end_token_id"),
    )
    text = {
        "model_type": f"{parts or kind}_text",
        "rope_parameters": MROPE | {"partial_rotary_factor": 1},
    }
    vision = {"model_type": f"{parts or kind}_vision", "out_hidden_size": 32, "image_size": 56}
    return files(
        kind,
        f"{name}ForConditionalGeneration",
        f"{processor}Processor",
        f"{processor}ImageProcessor",
        config={
            **{key: ids[mark] for key, mark in zip(keys, GLM, strict=True)},
            "text_config": TEXT | text,
            "vision_config": BLOCKS | vision,
        },
        image=EDGES | {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
    )


def _paddleocr_vl(ids: dict[str, int]) -> Files:
    start, end, image, video = _PADDLE
    text = {"model_type": "paddleocr_vl_text", "head_dim": 8, "rope_parameters": MROPE}
    return files(
        "paddleocr_vl",
        "PaddleOCRVLForConditionalGeneration",
        "PaddleOCRVLProcessor",
        "PaddleOCRVLImageProcessor",
        config={
            "image_token_id": ids[image],
            "video_token_id": ids[video],
            "vision_start_token_id": ids[start],
            "vision_end_token_id": ids[end],
            "text_config": TEXT | text,
            "vision_config": VISION,
        },
        image=PIXELS | {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 1},
        names={"image_token": image},
    )


_PADDLE = ("<|IMAGE_START|>", "<|IMAGE_END|>", "<|IMAGE_PLACEHOLDER|>", "<|video_pad|>")


def _hunyuan_vl(ids: dict[str, int]) -> Files:
    start, end, image, line = _HUNYUAN
    rope = MROPE | {"rope_type": "dynamic", "factor": 1.0, "alpha": 1000.0}
    rope |= {"mrope_section": [1, 1, 1, 1]}
    return files(
        "hunyuan_vl",
        "HunYuanVLForConditionalGeneration",
        "HunYuanVLProcessor",
        "HunYuanVLImageProcessor",
        config={
            "image_token_id": ids[image],
            "im_start_id": ids[start],
            "im_end_id": ids[end],
            "im_newline_id": ids[line],
            "text_config": TEXT | {"head_dim": 8, "rope_parameters": rope},
            "vision_config": {
                **{key: value for key, value in VISION.items() if key != "image_size"},
                "patch_size": 16,
                "out_hidden_size": 32,
                "text_hidden_size": 32,
                "max_image_size": 256,
            },
        },
        image=PIXELS | {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 1},
        names={"image_token": image, "image_start_token": start, "image_end_token": end},
    )


_HUNYUAN = ("<im_start>", "<im_end>", "<image>", "<im_newline>")


# --- LLaVA and what came of it -------------------------------------------------------------------


def llava(ids: dict[str, int]) -> Files:
    return files(
        "llava",
        "LlavaForConditionalGeneration",
        "LlavaProcessor",
        "CLIPImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "text_config": LLAMA,
            "vision_config": CLIP,
        },
        image={"size": {"shortest_edge": 56}, "crop_size": SQUARE},
        own={"patch_size": 14, "vision_feature_select_strategy": "default"}
        | {"num_additional_image_tokens": 1, "image_token": "<image>"},
    )


def llava_next(ids: dict[str, int]) -> Files:
    base = llava(ids)
    config = base["config"] | {"model_type": "llava_next", "image_seq_length": 16}
    config |= {"architectures": ["LlavaNextForConditionalGeneration"]}
    image = base["preprocessor_config"] | {"image_processor_type": "LlavaNextImageProcessor"}
    own = base["processor_config"] | {"processor_class": "LlavaNextProcessor"}
    return {
        "config": config | {"image_grid_pinpoints": PINPOINTS},
        "preprocessor_config": image | {"image_grid_pinpoints": PINPOINTS},
        "processor_config": own,
    }


def _llava_onevision(ids: dict[str, int]) -> Files:
    return files(
        "llava_onevision",
        "LlavaOnevisionForConditionalGeneration",
        "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "video_token_index": ids["<video>"],
            "image_grid_pinpoints": PINPOINTS,
            "text_config": QWEN2,
            "vision_config": SIGLIP,
        },
        image={"size": SQUARE, "image_grid_pinpoints": PINPOINTS},
        own={"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
        | {"image_token": "<image>", "video_token": "<video>"},
    )


INTERNVL_NAMES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
INTERNVL = tuple(INTERNVL_NAMES.values())


def internvl(ids: dict[str, int]) -> Files:
    return files(
        "internvl",
        "InternVLForConditionalGeneration",
        "InternVLProcessor",
        "GotOcr2ImageProcessorFast",
        config={
            "image_token_id": ids["<IMG_CONTEXT>"],
            "image_seq_length": 4,
            "text_config": QWEN2,
            "vision_config": VISION | {"image_size": [56, 56], "patch_size": [14, 14]},
        },
        image={"size": SQUARE, "crop_to_patches": False},
        own={"image_seq_length": 4},
        names=INTERNVL_NAMES,
    )


# --- Idefics and what came of it -----------------------------------------------------------------

_IDEFICS = (
    *("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)),
)


def _idefics(kind: str, name: str, ids: dict[str, int]) -> Files:
    return files(
        kind,
        f"{name}ForConditionalGeneration",
        f"{name}Processor",
        f"{name}ImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "scale_factor": 2,
            "pad_token_id": 2,
            "text_config": LLAMA,
            "vision_config": VISION,
        },
        image={"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
        | {"do_image_splitting": True},
        own={"image_seq_len": 4},
    )


def _granite_docling(ids: dict[str, int]) -> Files:
    vision = VISION | {"image_size": 64, "patch_size": 16, "out_hidden_size": 32}
    return files(
        "granite_docling",
        "GraniteDoclingForConditionalGeneration",
        "GraniteDoclingProcessor",
        "GraniteDoclingImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "pad_token_id": 2,
            "text_config": TEXT | {"num_hidden_layers": 3},
            "vision_config": vision | {"scale_factor": 2, "deepstack_visual_indexes": [0]},
        },
        image={"size": {"height": 64, "width": 64}, "max_patches": 4},
        own={"image_seq_len": 4},
    )


# --- others --------------------------------------------------------------------------------------

_GEMMA3 = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}


def _gemma3(ids: dict[str, int]) -> Files:
    kinds = ["sliding_attention", "full_attention"]
    text = {"model_type": "gemma3_text", "head_dim": 16, "sliding_window": 16}
    return files(
        "gemma3",
        "Gemma3ForConditionalGeneration",
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        config={
            "mm_tokens_per_image": 4,
            "boi_token_index": ids["<start_of_image>"],
            "eoi_token_index": ids["<end_of_image>"],
            "image_token_index": ids["<image_soft_token>"],
            "text_config": TEXT | text | {"layer_types": kinds},
            "vision_config": SIGLIP,
        },
        image={"size": SQUARE},
        own={"image_seq_length": 4},
        names=_GEMMA3,
    )


def _paligemma(ids: dict[str, int]) -> Files:
    # Its processor adds tokens for places, so that the vocabulary grows.
    return files(
        "paligemma",
        "PaliGemmaForConditionalGeneration",
        "PaliGemmaProcessor",
        "SiglipImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "projection_dim": 32,
            "hidden_size": 32,
            "vocab_size": 1600,
            "text_config": TEXT | {"model_type": "gemma", "head_dim": 16, "vocab_size": 1600},
            "vision_config": SIGLIP | {"projection_dim": 32},
        },
        image={"size": SQUARE, "image_seq_length": 16},
    )


GOT = ("<img>", "</img>", "<imgpad>")


def got_ocr2(ids: dict[str, int]) -> Files:
    # Its processor writes 256 image tokens, which are those of 1024 pixels.
    return files(
        "got_ocr2",
        "GotOcr2ForConditionalGeneration",
        "GotOcr2Processor",
        "GotOcr2ImageProcessor",
        config={
            "image_token_index": ids["<imgpad>"],
            "text_config": QWEN2,
            "vision_config": {
                "hidden_size": 8,
                "output_channels": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "global_attn_indexes": [],
                "mlp_dim": 8,
            },
        },
        image={"size": {"height": 1024, "width": 1024}},
    )


def _pixtral_like(kind: str, name: str, processor: str, text: dict[str, Any]) -> Any:
    def build(ids: dict[str, int]) -> Files:
        image, line, end = list(ids)
        names = {"image_token": image, "image_break_token": line, "image_end_token": end}
        return files(
            kind,
            f"{name}ForConditionalGeneration",
            processor,
            "PixtralImageProcessor",
            config={
                "image_token_id": ids[image],
                "image_token_index": ids[image],
                "text_config": TEXT | text,
                "vision_config": PIXTRAL,
            },
            image={"size": {"longest_edge": 112}, "patch_size": 14},
            own={"patch_size": 14, "spatial_merge_size": 2} | names,
            names=names,
        )

    return build


def _lfm2_vl(ids: dict[str, int]) -> Files:
    return files(
        "lfm2_vl",
        "Lfm2VlForConditionalGeneration",
        "Lfm2VlProcessor",
        "Lfm2VlImageProcessorFast",
        config={
            "image_token_id": ids["<image>"],
            "text_config": TEXT | {"model_type": "lfm2", "layer_types": ["conv", "full_attention"]},
            "vision_config": VISION | {"model_type": "siglip2_vision_model", "num_patches": 16},
        },
        image={"encoder_patch_size": VISION["patch_size"]},
    )


#: Family -> its marks, the marks of an image in its chat template (None: it has none), its files.
FAMILIES: dict[str, tuple[Sequence[str], str | None, Any]] = {
    "qwen2_vl": (QWEN, QWEN_CHAT, _qwen2_vl),
    "qwen2_5_vl": (QWEN, QWEN_CHAT, qwen2_5_vl),
    "qwen3_vl": (QWEN, QWEN_CHAT, qwen3_vl),
    "qwen3_5": (QWEN, QWEN_CHAT, qwen3_5),
    "internvl": (INTERNVL, "<IMG_CONTEXT>\n", internvl),
    "smolvlm": (_IDEFICS, "<image>", lambda ids: _idefics("smolvlm", "SmolVLM", ids)),
    "idefics3": (_IDEFICS, "<image>", lambda ids: _idefics("idefics3", "Idefics3", ids)),
    "granite_docling": (_IDEFICS, "<image>", _granite_docling),
    "llava": (("<image>",), "<image>\n", llava),
    "llava_next": (("<image>",), "<image>\n", llava_next),
    "llava_onevision": (("<image>", "<video>"), "<image>\n", _llava_onevision),
    "gemma3": (tuple(_GEMMA3.values()), "<start_of_image>", _gemma3),
    "paligemma": (("<image>",), None, _paligemma),
    "got_ocr2": (GOT, None, got_ocr2),
    "paddleocr_vl": (_PADDLE, "".join((_PADDLE[0], _PADDLE[2], _PADDLE[1])), _paddleocr_vl),
    "lighton_ocr": (
        ("<|image_pad|>", "<|vision_pad|>", "<|vision_end|>"),
        "<|image_pad|>",
        _pixtral_like(
            "lighton_ocr",
            "LightOnOcr",
            "LightOnOcrProcessor",
            {"model_type": "qwen3", "head_dim": 8},
        ),
    ),
    "glm_ocr": (GLM, GLM_CHAT, lambda ids: glm("glm_ocr", "GlmOcr", "Glm46V", ids)),
    "glm4v": (GLM, GLM_CHAT, lambda ids: glm("glm4v", "Glm4v", "Glm4v", ids)),
    "hunyuan_vl": (_HUNYUAN, "<im_start><image><im_end>", _hunyuan_vl),
    "mistral3": (
        ("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
        "[IMG]",
        _pixtral_like(
            "mistral3",
            "Mistral3",
            "PixtralProcessor",
            {"model_type": "mistral", "head_dim": 16, "sliding_window": None},
        ),
    ),
    "lfm2_vl": (("<image>",), "<image>", _lfm2_vl),
    "mllama": (("<|image|>", "<|python_tag|>"), "<|image|>", mllama),
    "kosmos2_5": (("<image>", "</image>"), None, kosmos2_5),
}
