"""More classes of transformers, as model folders of toy size (`small_models`)."""

from collections.abc import Sequence
from typing import Any

import small_documents as documents
from small_files import (
    LLAMA,
    MROPE,
    PIXELS,
    QWEN2,
    SIGLIP,
    SQUARE,
    TEXT,
    VISION,
    Files,
    files,
)

_EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}


def _renamed(made: Files, kind: str, name: str, processor: str | None = None) -> Files:
    """The files of another class that differs by name."""
    made["config"] |= {"model_type": kind, "architectures": [f"{name}ForConditionalGeneration"]}
    for file in {"preprocessor_config", "processor_config"} & made.keys() if processor else ():
        made[file]["processor_class"] = processor
    return made


def _qwen3_vl_moe(ids: dict[str, int]) -> Files:
    made = _renamed(documents.qwen3_vl(ids), "qwen3_vl_moe", "Qwen3VLMoe", "Qwen3VLProcessor")
    made["config"]["text_config"] |= _EXPERTS | {"num_experts": 4}
    return made


def _qwen3_5_moe(ids: dict[str, int]) -> Files:
    made = _renamed(documents.qwen3_5(ids), "qwen3_5_moe", "Qwen3_5Moe")
    made["config"]["text_config"] |= _EXPERTS | {"num_experts": 4}
    made["config"]["text_config"] |= {"shared_expert_intermediate_size": 16}
    return made


def _glm46v(ids: dict[str, int]) -> Files:
    return documents.glm("glm46v", "Glm46V", "Glm46V", ids, parts="glm4v")


def _glm4v_moe(ids: dict[str, int]) -> Files:
    made = documents.glm("glm4v_moe", "Glm4vMoe", "Glm4v", ids)
    made["config"]["text_config"] |= _EXPERTS | {"n_routed_experts": 4, "first_k_dense_replace": 1}
    return made


def _exaone4_5(ids: dict[str, int]) -> Files:
    made = documents.qwen2_5_vl(ids)
    made = _renamed(made, "exaone4_5", "Exaone4_5_", "Exaone4_5_Processor")
    made["config"]["text_config"] |= {"model_type": "exaone4", "sliding_window": 16}
    made["config"]["text_config"].pop("rope_parameters")
    made["config"]["vision_config"]["num_key_value_heads"] = 1
    return made


def _video_llama_3(ids: dict[str, int]) -> Files:
    *_, image, video = documents.QWEN
    return files(
        "video_llama_3",
        "VideoLlama3ForConditionalGeneration",
        "VideoLlama3Processor",
        "VideoLlama3ImageProcessor",
        config={
            "image_token_id": ids[image],
            "video_token_id": ids[video],
            "text_config": QWEN2,
            "vision_config": {key: VISION[key] for key in VISION if key != "image_size"},
        },
        image=PIXELS | {"patch_size": 14, "merge_size": 2},
    )


def _vipllava(ids: dict[str, int]) -> Files:
    made = _renamed(documents.llava(ids), "vipllava", "VipLlava")
    made["config"]["vision_feature_layers"] = [-2, -1]
    return made


def _llava_next_video(ids: dict[str, int]) -> Files:
    made = documents.llava_next(ids)
    made = _renamed(made, "llava_next_video", "LlavaNextVideo", "LlavaNextVideoProcessor")
    made["config"]["video_token_index"] = ids["<video>"]
    return made


def _video_llava(ids: dict[str, int]) -> Files:
    made = _renamed(documents.llava(ids), "video_llava", "VideoLlava", "VideoLlavaProcessor")
    made["config"]["video_token_index"] = ids["<video>"]
    made["preprocessor_config"]["image_processor_type"] = "VideoLlavaImageProcessor"
    return made


def _aya_vision(ids: dict[str, int]) -> Files:
    return files(
        "aya_vision",
        "AyaVisionForConditionalGeneration",
        "AyaVisionProcessor",
        "GotOcr2ImageProcessor",
        config={
            "image_token_index": ids["<|IMG_PATCH|>"],
            "text_config": TEXT | {"model_type": "cohere2", "head_dim": 8, "sliding_window": 16},
            "vision_config": SIGLIP,
        },
        image={"size": SQUARE, "crop_to_patches": True, "max_patches": 2},
        own={"patch_size": 14, "img_size": 56, "downsample_factor": 2, "image_token": "<image>"},
    )


_AYA = ("<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "TILE_GLOBAL", "TILE")


def _idefics2(ids: dict[str, int]) -> Files:
    return files(
        "idefics2",
        "Idefics2ForConditionalGeneration",
        "Idefics2Processor",
        "Idefics2ImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "text_config": TEXT | {"model_type": "mistral", "sliding_window": None},
            "vision_config": VISION,
            "perceiver_config": {
                "hidden_size": 32,
                "rms_norm_eps": 1e-6,
                "resampler_n_latents": 4,
                "resampler_depth": 1,
                "resampler_n_heads": 2,
                "resampler_head_dim": 8,
                "num_key_value_heads": 1,
            },
        },
        image={
            "size": {"longest_edge": 56, "shortest_edge": 28},
            "do_image_splitting": False,
        },
        own={"image_seq_len": 4},
    )


_OVIS2 = (
    *("<image>", "<IMG_ATOM>", "<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"),
)


def _ovis2(ids: dict[str, int]) -> Files:
    return files(
        "ovis2",
        "Ovis2ForConditionalGeneration",
        "Ovis2Processor",
        "Ovis2ImageProcessor",
        config={
            "image_token_id": ids["<IMG_ATOM>"],
            "visual_indicator_token_ids": [ids[mark] for mark in _OVIS2[2:]],
            "hidden_size": 32,
            "vocab_size": 320,
            "text_config": QWEN2,
            "vision_config": VISION | {"vocab_size": 64, "hidden_stride": 1},
        },
        image={"size": SQUARE, "crop_to_patches": True, "max_patches": 2},
        own={"image_seq_length": 16},
    )


def _deepseek_vl(ids: dict[str, int]) -> Files:
    return files(
        "deepseek_vl",
        "DeepseekVLForConditionalGeneration",
        "DeepseekVLProcessor",
        "DeepseekVLImageProcessor",
        config={
            "image_token_id": ids["<image_placeholder>"],
            "text_config": LLAMA,
            "vision_config": SIGLIP,
        },
        image={"size": SQUARE, "min_size": 14},
        own={"num_image_tokens": 16},
        names={"image_token": "<image_placeholder>"},
    )


def _qianfan_ocr(ids: dict[str, int]) -> Files:
    made = documents.internvl(ids)
    made = _renamed(made, "qianfan_ocr", "QianfanOCR", "QianfanOCRProcessor")
    made["config"]["text_config"] = TEXT | {"model_type": "qwen3", "head_dim": 8}
    return made


def _pp_chart2table(ids: dict[str, int]) -> Files:
    made = documents.got_ocr2(ids)
    made["config"]["model_type"] = "pp_chart2table"
    made["preprocessor_config"] |= {
        "processor_class": "PPChart2TableProcessor",
        "image_processor_type": "PPChart2TableImageProcessor",
    }
    return made


def _gemma4(ids: dict[str, int]) -> Files:
    text = TEXT | {
        "model_type": "gemma4_text",
        "head_dim": 16,
        "global_head_dim": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "vocab_size_per_layer_input": 320,
        "hidden_size_per_layer_input": 8,
    }
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    names |= {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    return files(
        "gemma4",
        "Gemma4ForConditionalGeneration",
        "Gemma4Processor",
        "Gemma4ImageProcessor",
        config={
            "image_token_id": ids["<|image|>"],
            "boi_token_id": ids["<|image>"],
            "eoi_token_id": ids["<image|>"],
            "text_config": text,
            "vision_config": {
                **{key: VISION[key] for key in VISION if key != "image_size"},
                "num_key_value_heads": 2,
                "head_dim": 16,
                "patch_size": 16,
                "position_embedding_size": 64,
            },
            "audio_config": None,
        },
        image={"patch_size": 16, "max_soft_tokens": 70, "pooling_kernel_size": 3},
        own={"image_seq_length": 70},
        names=names,
    )


def _chameleon(ids: dict[str, int]) -> Files:
    pixels = {f"IMGIMG{letter}Z": 300 + number for number, letter in enumerate("ABCDEFGH")}
    return files(
        "chameleon",
        "ChameleonForConditionalGeneration",
        "ChameleonProcessor",
        "ChameleonImageProcessor",
        config=TEXT
        | {
            "vocabulary_map": {"<image>": ids["<image>"]} | pixels,
            "vq_config": {
                "embed_dim": 8,
                "num_embeddings": 8,
                "latent_channels": 8,
                "resolution": 32,
                "base_channels": 32,
                "channel_multiplier": [1, 1],
                "num_res_blocks": 1,
            },
        },
        image={"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
        own={"image_seq_length": 256, "image_token": "<image>"},
    )


_GEMMA4 = ("<|image|>", "<|image>", "<image|>", "<|audio|>", "<|audio>", "<audio|>")


def _granite4_vision(ids: dict[str, int]) -> Files:
    made = documents.llava_next(ids)
    made = _renamed(made, "granite4_vision", "Granite4Vision", "Granite4VisionProcessor")
    vision = SIGLIP | {"hidden_size": 64}  # its projectors have heads of 64
    made["config"] |= {
        "text_config": TEXT | {"model_type": "granite4_vision_text"},
        "vision_config": vision,
        "vision_feature_select_strategy": "full",
        "downsample_rate": "1/2",
        "deepstack_layer_map": [[-2, 0]],
        "spatial_target_layers": [],
        "qformer_config": {
            "model_type": "blip_2_qformer",
            "intermediate_size": 64,
            "num_hidden_layers": 1,
        },
    }
    made["processor_config"] |= {
        "downsample_rate": "1/2",
        "num_additional_image_tokens": 0,
        "vision_feature_select_strategy": "full",
    }
    return made


def _ernie4_5_vl_moe(ids: dict[str, int]) -> Files:
    names = [
        f"{kind}_{part}token" for kind in ("image", "video") for part in ("", "start_", "end_")
    ]
    marks = dict(zip(names, _ERNIE, strict=True))
    return files(
        "ernie4_5_vl_moe",
        "Ernie4_5_VLMoeForConditionalGeneration",
        "Ernie4_5_VLMoeProcessor",
        "Ernie4_5_VLMoeImageProcessor",
        config={f"{name}_id": ids[mark] for name, mark in marks.items()}
        | {
            "text_config": TEXT
            | {"moe_intermediate_size": [16, 16], "moe_k": 2, "moe_num_experts": 4}
            | {"rope_parameters": MROPE},
            "vision_config": {"depth": 1, "hidden_size": 32, "num_heads": 2}
            | {"intermediate_size": 64},
        },
        image=PIXELS | {"patch_size": 14, "merge_size": 2},
        names=marks,
    )


_ERNIE = (
    *("<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"),
    *("<|VIDEO_PLACEHOLDER|>", "<|VIDEO_START|>", "<|VIDEO_END|>"),
)


def _emu3(ids: dict[str, int]) -> Files:
    image, begin, end, wrapper, frame = _EMU3
    codes = {f"<|visual token {number:06d}|>": 300 + number for number in range(8)}
    return files(
        "emu3",
        "Emu3ForConditionalGeneration",
        "Emu3Processor",
        "Emu3ImageProcessor",
        config={
            "text_config": TEXT,
            "vocabulary_map": codes | {image: ids[image], "<|extra_200|>": ids[frame]},
            "vq_config": {
                "codebook_size": 8,
                "embed_dim": 4,
                "latent_channels": 4,
                "base_channels": 32,
                "channel_multiplier": [1, 1, 1, 1],
                "num_res_blocks": 1,
                "attn_resolutions": [],
                "hidden_size": 32,
            },
        },
        image={"min_pixels": 4096, "max_pixels": 16384},
        names={"image_token": image, "boi_token": begin, "eoi_token": end}
        | {"image_wrapper_token": wrapper, "eof_token": frame},
    )


_EMU3 = ("<image>", "<|image start|>", "<|image end|>", "<|image token|>", "<|extra_201|>")
_LLAVA = ("<image>", "<video>")

#: As `small_documents.FAMILIES`.
OTHERS: dict[str, tuple[Sequence[str], str | None, Any]] = {
    "qwen3_vl_moe": (documents.QWEN, documents.QWEN_CHAT, _qwen3_vl_moe),
    "qwen3_5_moe": (documents.QWEN, documents.QWEN_CHAT, _qwen3_5_moe),
    "exaone4_5": (documents.QWEN, documents.QWEN_CHAT, _exaone4_5),
    "video_llama_3": (documents.QWEN, documents.QWEN_CHAT, _video_llama_3),
    "glm46v": (documents.GLM, documents.GLM_CHAT, _glm46v),
    "glm4v_moe": (documents.GLM, documents.GLM_CHAT, _glm4v_moe),
    "vipllava": (_LLAVA, "<image>\n", _vipllava),
    "llava_next_video": (_LLAVA, "<image>\n", _llava_next_video),
    "video_llava": (_LLAVA, "<image>\n", _video_llava),
    "aya_vision": (_AYA, "<image>", _aya_vision),
    "idefics2": (("<fake_token_around_image>", "<image>"), "<image>", _idefics2),
    "ovis2": (_OVIS2, "<image>", _ovis2),
    "deepseek_vl": (("<image_placeholder>",), "<image_placeholder>", _deepseek_vl),
    "qianfan_ocr": ((*documents.INTERNVL, "<image>"), "<image>", _qianfan_ocr),
    "pp_chart2table": (documents.GOT, f"<img>{'<imgpad>' * 256}</img>", _pp_chart2table),
    "gemma4": (_GEMMA4, "<|image|>", _gemma4),
    "chameleon": (("<image>", "<racm3:break>", "<eoss>"), None, _chameleon),
    "granite4_vision": (_LLAVA, "<image>\n", _granite4_vision),
    "ernie4_5_vl_moe": (_ERNIE, "".join((_ERNIE[1], _ERNIE[0], _ERNIE[2])), _ernie4_5_vl_moe),
    "emu3": (_EMU3, "<image>", _emu3),
}
