"""Model folders of toy size, one for each family that people use for documents: JSON alone.

As published: config, processor files, a tokenizer with the family's marks, a chat template. They
have no weights; `load_format: dummy` builds them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Files = dict[str, dict[str, Any]]

_BASE = ("<s>", "</s>", "<pad>")
# <s> 0, </s> 1, <pad> 2, 256 bytes, then the marks of a family.
_FIRST_MARK = 259

_TEXT = {
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
_LLAMA = _TEXT | {"model_type": "llama"}
_QWEN2 = _TEXT | {"model_type": "qwen2", "use_sliding_window": False}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
_CLIP = _VISION | {"model_type": "clip_vision_model", "projection_dim": 32}
_SIGLIP = _VISION | {"model_type": "siglip_vision_model", "vision_use_head": False}
_PIXTRAL = _VISION | {"model_type": "pixtral", "head_dim": 16, "image_size": 224}
_BLOCKS = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
_MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
_PIXELS = {"min_pixels": 3136, "max_pixels": 50176}
_EDGES = {"size": {"shortest_edge": 3136, "longest_edge": 50176}}
_PINPOINTS = [[56, 112], [112, 56], [112, 112]]
_SQUARE = {"height": 56, "width": 56}


def write_small_model(folder: Path, family: str, *, template: bool = True) -> None:
    """Write the folder of a family.

    Args:
        family: a name of `FAMILIES`.
        template: whether it has its chat template, if the published one has any.
    """
    marks, chat, build = FAMILIES[family]
    ids = {mark: _FIRST_MARK + number for number, mark in enumerate(marks)}
    folder.mkdir(parents=True)
    files = build(ids)
    _write_tokenizer(folder, marks, files.pop("tokenizer", {}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    if chat is not None and template:
        (folder / "chat_template.jinja").write_text(chat_template(chat))


def chat_template(image: str) -> str:
    """One user's turn with an image, whose marks are given, and a text."""
    return (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}"
        + image
        + "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}ASSISTANT:"
    )


def _write_tokenizer(folder: Path, marks: Sequence[str], more: dict[str, Any]) -> None:
    pieces = [*_BASE, *sorted(pre_tokenizers.ByteLevel.alphabet()), *marks]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*_BASE, *marks])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | more))


def _files(
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
    files = {
        "config": {"model_type": model_type, "architectures": [architecture]} | config,
        "preprocessor_config": {
            "image_processor_type": image_processor,
            "processor_class": processor,
        }
        | (image or {}),
    }
    if own is not None:
        files["processor_config"] = {"processor_class": processor} | own
    if names is not None:
        files["tokenizer"] = {"extra_special_tokens": names} | names
    return files


# --- Qwen-VL and what came of it -----------------------------------------------------------------

_QWEN = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_QWEN_CHAT = "<|vision_start|><|image_pad|><|vision_end|>"


def _qwen(kind: str, name: str, ids: dict[str, int], text: Any, vision: Any, **more: Any) -> Files:
    start, end, image, video = _QWEN
    config = {
        "image_token_id": ids[image],
        "video_token_id": ids[video],
        "vision_start_token_id": ids[start],
        "vision_end_token_id": ids[end],
        "text_config": _TEXT | text,
        "vision_config": _BLOCKS | vision,
    }
    return _files(
        kind,
        f"{name}ForConditionalGeneration",
        more.pop("processor", f"{name}Processor"),
        more.pop("image_processor", "Qwen2VLImageProcessor"),
        config=config,
        image={"temporal_patch_size": 2, "merge_size": 2, "patch_size": 14} | more,
    )


def _qwen2_vl(ids: dict[str, int]) -> Files:
    vision = {"embed_dim": 32, "mlp_ratio": 2}
    return _qwen("qwen2_vl", "Qwen2VL", ids, {"rope_parameters": _MROPE}, vision, **_PIXELS)


def _qwen2_5_vl(ids: dict[str, int]) -> Files:
    vision = {"depth": 3, "out_hidden_size": 32, "window_size": 112, "fullatt_block_indexes": [2]}
    return _qwen("qwen2_5_vl", "Qwen2_5_VL", ids, {"rope_parameters": _MROPE}, vision, **_PIXELS)


_QWEN3_VISION = {"out_hidden_size": 32, "num_position_embeddings": 64}
_QWEN3_IMAGE = _EDGES | {"patch_size": 16, "image_processor": "Qwen2VLImageProcessorFast"}


def _qwen3_vl(ids: dict[str, int]) -> Files:
    rope = _MROPE | {"mrope_section": [4, 2, 2], "mrope_interleaved": True}
    vision = _QWEN3_VISION | {"depth": 3, "deepstack_visual_indexes": [0, 1]}
    text = {"head_dim": 16, "rope_parameters": rope}
    return _qwen("qwen3_vl", "Qwen3VL", ids, text, vision, **_QWEN3_IMAGE)


def _qwen3_5(ids: dict[str, int]) -> Files:
    text = {
        "head_dim": 32,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "rope_parameters": _MROPE | {"mrope_interleaved": True, "partial_rotary_factor": 0.25},
    }
    image = _QWEN3_IMAGE | {"processor": "Qwen3VLProcessor"}
    return _qwen("qwen3_5", "Qwen3_5", ids, text, _QWEN3_VISION, **image)


_GLM = (
    *("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>"),
    *("<|begin_of_video|>", "<|end_of_video|>"),
)
_GLM_CHAT = "<|begin_of_image|><|image|><|end_of_image|>"


def _glm(kind: str, name: str, processor: str, ids: dict[str, int]) -> Files:
    keys = (
        *("image_token_id", "video_token_id", "image_start_token_id", "image_end_token_id"),
        *("video_start_token_id", "video_end_token_id"),
    )
    text = {"model_type": f"{kind}_text", "rope_parameters": _MROPE | {"partial_rotary_factor": 1}}
    vision = {"model_type": f"{kind}_vision", "out_hidden_size": 32, "image_size": 56}
    return _files(
        kind,
        f"{name}ForConditionalGeneration",
        f"{processor}Processor",
        f"{processor}ImageProcessor",
        config={
            **{key: ids[mark] for key, mark in zip(keys, _GLM, strict=True)},
            "text_config": _TEXT | text,
            "vision_config": _BLOCKS | vision,
        },
        image=_EDGES | {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
    )


def _paddleocr_vl(ids: dict[str, int]) -> Files:
    start, end, image, video = _PADDLE
    text = {"model_type": "paddleocr_vl_text", "head_dim": 8, "rope_parameters": _MROPE}
    return _files(
        "paddleocr_vl",
        "PaddleOCRVLForConditionalGeneration",
        "PaddleOCRVLProcessor",
        "PaddleOCRVLImageProcessor",
        config={
            "image_token_id": ids[image],
            "video_token_id": ids[video],
            "vision_start_token_id": ids[start],
            "vision_end_token_id": ids[end],
            "text_config": _TEXT | text,
            "vision_config": _VISION,
        },
        image=_PIXELS | {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 1},
        names={"image_token": image},
    )


_PADDLE = ("<|IMAGE_START|>", "<|IMAGE_END|>", "<|IMAGE_PLACEHOLDER|>", "<|video_pad|>")


def _hunyuan_vl(ids: dict[str, int]) -> Files:
    start, end, image, line = _HUNYUAN
    rope = _MROPE | {"rope_type": "dynamic", "factor": 1.0, "alpha": 1000.0}
    rope |= {"mrope_section": [1, 1, 1, 1]}
    return _files(
        "hunyuan_vl",
        "HunYuanVLForConditionalGeneration",
        "HunYuanVLProcessor",
        "HunYuanVLImageProcessor",
        config={
            "image_token_id": ids[image],
            "im_start_id": ids[start],
            "im_end_id": ids[end],
            "im_newline_id": ids[line],
            "text_config": _TEXT | {"head_dim": 8, "rope_parameters": rope},
            "vision_config": {
                **{key: value for key, value in _VISION.items() if key != "image_size"},
                "patch_size": 16,
                "out_hidden_size": 32,
                "text_hidden_size": 32,
                "max_image_size": 256,
            },
        },
        image=_PIXELS | {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 1},
        names={"image_token": image, "image_start_token": start, "image_end_token": end},
    )


_HUNYUAN = ("<im_start>", "<im_end>", "<image>", "<im_newline>")


# --- LLaVA and what came of it -------------------------------------------------------------------


def _llava(ids: dict[str, int]) -> Files:
    return _files(
        "llava",
        "LlavaForConditionalGeneration",
        "LlavaProcessor",
        "CLIPImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "text_config": _LLAMA,
            "vision_config": _CLIP,
        },
        image={"size": {"shortest_edge": 56}, "crop_size": _SQUARE},
        own={"patch_size": 14, "vision_feature_select_strategy": "default"}
        | {"num_additional_image_tokens": 1, "image_token": "<image>"},
    )


def _llava_next(ids: dict[str, int]) -> Files:
    files = _llava(ids)
    config = files["config"] | {"model_type": "llava_next", "image_seq_length": 16}
    config |= {"architectures": ["LlavaNextForConditionalGeneration"]}
    image = files["preprocessor_config"] | {"image_processor_type": "LlavaNextImageProcessor"}
    own = files["processor_config"] | {"processor_class": "LlavaNextProcessor"}
    return {
        "config": config | {"image_grid_pinpoints": _PINPOINTS},
        "preprocessor_config": image | {"image_grid_pinpoints": _PINPOINTS},
        "processor_config": own,
    }


def _llava_onevision(ids: dict[str, int]) -> Files:
    return _files(
        "llava_onevision",
        "LlavaOnevisionForConditionalGeneration",
        "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "video_token_index": ids["<video>"],
            "image_grid_pinpoints": _PINPOINTS,
            "text_config": _QWEN2,
            "vision_config": _SIGLIP,
        },
        image={"size": _SQUARE, "image_grid_pinpoints": _PINPOINTS},
        own={"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
        | {"image_token": "<image>", "video_token": "<video>"},
    )


_INTERNVL = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}


def _internvl(ids: dict[str, int]) -> Files:
    return _files(
        "internvl",
        "InternVLForConditionalGeneration",
        "InternVLProcessor",
        "GotOcr2ImageProcessorFast",
        config={
            "image_token_id": ids["<IMG_CONTEXT>"],
            "image_seq_length": 4,
            "text_config": _QWEN2,
            "vision_config": _VISION | {"image_size": [56, 56], "patch_size": [14, 14]},
        },
        image={"size": _SQUARE, "crop_to_patches": False},
        own={"image_seq_length": 4},
        names=_INTERNVL,
    )


# --- Idefics and what came of it -----------------------------------------------------------------

_IDEFICS = (
    *("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)),
)


def _idefics(kind: str, name: str, ids: dict[str, int]) -> Files:
    return _files(
        kind,
        f"{name}ForConditionalGeneration",
        f"{name}Processor",
        f"{name}ImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "scale_factor": 2,
            "pad_token_id": 2,
            "text_config": _LLAMA,
            "vision_config": _VISION,
        },
        image={"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
        | {"do_image_splitting": True},
        own={"image_seq_len": 4},
    )


def _granite_docling(ids: dict[str, int]) -> Files:
    vision = _VISION | {"image_size": 64, "patch_size": 16, "out_hidden_size": 32}
    return _files(
        "granite_docling",
        "GraniteDoclingForConditionalGeneration",
        "GraniteDoclingProcessor",
        "GraniteDoclingImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "pad_token_id": 2,
            "text_config": _TEXT | {"num_hidden_layers": 3},
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
    return _files(
        "gemma3",
        "Gemma3ForConditionalGeneration",
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        config={
            "mm_tokens_per_image": 4,
            "boi_token_index": ids["<start_of_image>"],
            "eoi_token_index": ids["<end_of_image>"],
            "image_token_index": ids["<image_soft_token>"],
            "text_config": _TEXT | text | {"layer_types": kinds},
            "vision_config": _SIGLIP,
        },
        image={"size": _SQUARE},
        own={"image_seq_length": 4},
        names=_GEMMA3,
    )


def _paligemma(ids: dict[str, int]) -> Files:
    # Its processor adds tokens for places, so that the vocabulary grows.
    return _files(
        "paligemma",
        "PaliGemmaForConditionalGeneration",
        "PaliGemmaProcessor",
        "SiglipImageProcessor",
        config={
            "image_token_index": ids["<image>"],
            "projection_dim": 32,
            "hidden_size": 32,
            "vocab_size": 1600,
            "text_config": _TEXT | {"model_type": "gemma", "head_dim": 16, "vocab_size": 1600},
            "vision_config": _SIGLIP | {"projection_dim": 32},
        },
        image={"size": _SQUARE, "image_seq_length": 16},
    )


def _got_ocr2(ids: dict[str, int]) -> Files:
    # Its processor writes 256 image tokens, which are those of 1024 pixels.
    return _files(
        "got_ocr2",
        "GotOcr2ForConditionalGeneration",
        "GotOcr2Processor",
        "GotOcr2ImageProcessor",
        config={
            "image_token_index": ids["<imgpad>"],
            "text_config": _QWEN2,
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
        return _files(
            kind,
            f"{name}ForConditionalGeneration",
            processor,
            "PixtralImageProcessor",
            config={
                "image_token_id": ids[image],
                "image_token_index": ids[image],
                "text_config": _TEXT | text,
                "vision_config": _PIXTRAL,
            },
            image={"size": {"longest_edge": 112}, "patch_size": 14},
            own={"patch_size": 14, "spatial_merge_size": 2} | names,
            names=names,
        )

    return build


def _lfm2_vl(ids: dict[str, int]) -> Files:
    return _files(
        "lfm2_vl",
        "Lfm2VlForConditionalGeneration",
        "Lfm2VlProcessor",
        "Lfm2VlImageProcessorFast",
        config={
            "image_token_id": ids["<image>"],
            "text_config": _TEXT
            | {"model_type": "lfm2", "layer_types": ["conv", "full_attention"]},
            "vision_config": _VISION | {"model_type": "siglip2_vision_model", "num_patches": 16},
        },
    )


def _mllama(ids: dict[str, int]) -> Files:
    return _files(
        "mllama",
        "MllamaForConditionalGeneration",
        "MllamaProcessor",
        "MllamaImageProcessor",
        config={
            "image_token_index": ids["<|image|>"],
            "text_config": _TEXT
            | {"model_type": "mllama_text_model", "cross_attention_layers": [1]},
            "vision_config": {
                **{key: _VISION[key] for key in ("hidden_size", "intermediate_size")},
                "image_size": 56,
                "patch_size": 14,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 2,
                "vision_output_dim": 64,
                "intermediate_layers_indices": [1],
                "max_num_tiles": 4,
            },
        },
        image={"size": _SQUARE, "max_image_tiles": 4},
    )


def _kosmos2_5(ids: dict[str, int]) -> Files:
    return _files(
        "kosmos-2.5",
        "Kosmos2_5ForConditionalGeneration",
        "Kosmos2_5Processor",
        "Kosmos2_5ImageProcessor",
        config={
            "latent_query_num": 8,
            "text_config": {
                "vocab_size": 320,
                "max_position_embeddings": 256,
                "embed_dim": 32,
                "layers": 2,
                "ffn_dim": 64,
                "attention_heads": 2,
                "bos_token_id": 0,
                "eos_token_id": 1,
                "pad_token_id": 2,
            },
            # Its processor makes 4,096 patches of every page, whatever its settings.
            "vision_config": {
                "hidden_size": 8,
                "intermediate_size": 16,
                "head_dim": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            },
        },
        own={"num_image_tokens": 8},
        names={"boi_token": "<image>", "eoi_token": "</image>", "image_token": "<s>"},
    )


#: Family -> its marks, the marks of an image in its chat template (None: it has none), its files.
FAMILIES: dict[str, tuple[Sequence[str], str | None, Any]] = {
    "qwen2_vl": (_QWEN, _QWEN_CHAT, _qwen2_vl),
    "qwen2_5_vl": (_QWEN, _QWEN_CHAT, _qwen2_5_vl),
    "qwen3_vl": (_QWEN, _QWEN_CHAT, _qwen3_vl),
    "qwen3_5": (_QWEN, _QWEN_CHAT, _qwen3_5),
    "internvl": (tuple(_INTERNVL.values()), "<IMG_CONTEXT>\n", _internvl),
    "smolvlm": (_IDEFICS, "<image>", lambda ids: _idefics("smolvlm", "SmolVLM", ids)),
    "idefics3": (_IDEFICS, "<image>", lambda ids: _idefics("idefics3", "Idefics3", ids)),
    "granite_docling": (_IDEFICS, "<image>", _granite_docling),
    "llava": (("<image>",), "<image>\n", _llava),
    "llava_next": (("<image>",), "<image>\n", _llava_next),
    "llava_onevision": (("<image>", "<video>"), "<image>\n", _llava_onevision),
    "gemma3": (tuple(_GEMMA3.values()), "<start_of_image>", _gemma3),
    "paligemma": (("<image>",), None, _paligemma),
    "got_ocr2": (("<img>", "</img>", "<imgpad>"), None, _got_ocr2),
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
    "glm_ocr": (_GLM, _GLM_CHAT, lambda ids: _glm("glm_ocr", "GlmOcr", "Glm46V", ids)),
    "glm4v": (_GLM, _GLM_CHAT, lambda ids: _glm("glm4v", "Glm4v", "Glm4v", ids)),
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
    "mllama": (("<|image|>", "<|python_tag|>"), "<|image|>", _mllama),
    "kosmos2_5": (("<image>", "</image>"), None, _kosmos2_5),
}
