"""Which modules are a model's parts: by hand, from transformers' source, and for whole families."""

import copy
from typing import Any

import pytest
import torch
from configs import small_ocr_2, small_unlimited
from small_calls import on_meta
from small_models import ENCODER_DECODERS, FAMILIES, OTHERS
from torch import nn
from transformers import AutoModelForImageTextToText

from mfuscope.models.parts import find_decoder, find_parts, has_experts, hookable_parts

NONE: tuple[str, ...] = ()
#: Paths of the vision encoder, the projector and the language model.
Expected = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def of(
    vision: str = "vision_tower",
    projector: str = "multi_modal_projector",
    language: str = "language_model",
) -> Expected:
    """Paths within the base model, which most classes call `model`."""
    kinds = (vision, projector, language)
    vision_, projector_, language_ = (
        tuple(f"model.{path}" for path in kind.split()) for kind in kinds
    )
    return vision_, projector_, language_


LLAVA = of()
#: The patch merger is the last of the vision encoder's modules.
QWEN = of("visual", "visual.merger")
#: A convolution merges patches before the merger.
GLM = of("visual", "visual.merger visual.downsample")
#: Features of intermediate layers have mergers of their own.
DEEPSTACK = tuple(f"model.visual.deepstack_merger_list.{number}" for number in range(2))
IDEFICS = of("vision_model", "connector", "text_model")
VQ = tuple(f"model.vqmodel.{name}" for name in ("quantize", "quant_conv", "post_quant_conv"))

EXPECTED: dict[str, Expected] = {
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe", "exaone4_5"), QWEN),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe"), (QWEN[0], QWEN[1] + DEEPSTACK, QWEN[2])),
    **dict.fromkeys(("glm_ocr", "glm4v", "glm46v", "glm4v_moe"), GLM),
    **dict.fromkeys(("llava", "llava_next", "llava_onevision", "vipllava"), LLAVA),
    **dict.fromkeys(("llava_next_video", "internvl", "qianfan_ocr", "aya_vision"), LLAVA),
    **dict.fromkeys(("gemma3", "paligemma", "got_ocr2", "pp_chart2table"), LLAVA),
    **dict.fromkeys(("mistral3", "lfm2_vl"), LLAVA),
    **dict.fromkeys(("smolvlm", "idefics2", "idefics3"), IDEFICS),
    "granite_docling": of("vision_model", "vision_model.connector", "text_model"),
    "paddleocr_vl": of("visual", "projector"),
    "lighton_ocr": of("vision_encoder", "vision_projection"),
    "hunyuan_vl": of("vision_tower", "vision_tower.patch_merger"),
    "mllama": of("vision_model"),  # its features enter cross attention
    "kosmos2_5": (("vision_model",), ("image_to_text_projection",), ("text_model.model",)),
    "video_llama_3": of("vision_model", "projector"),
    "video_llava": of("video_tower image_tower"),
    "ovis2": of("vision_tower", "visual_embeddings_table"),
    "deepseek_vl": of("vision_model", "aligner"),
    "gemma4": of("vision_tower", "embed_vision"),
    # One projector for each layer whose features are taken, and four for places of a window.
    "granite4_vision": of(
        projector=" ".join(
            ["layerwise_projectors.0", *(f"spatial_projectors.{number}" for number in range(4))]
        )
    ),
    "ernie4_5_vl_moe": of("vision_tower", "resampler_model"),
    # A VQ-VAE is entered by `encode`; what it makes are token ids, which nothing projects.
    "chameleon": (("model.vqmodel.encoder", *VQ), NONE, ("model",)),
    "emu3": (
        ("model.vqmodel.encoder", "model.vqmodel.decoder", *VQ),
        NONE,
        ("model.text_model",),
    ),
    # The encoder of text reads the page's features too.
    "florence2": of(language="language_model.encoder language_model.decoder"),
    "t5gemma2": of(
        "encoder.vision_tower", "encoder.multi_modal_projector", "encoder.text_model decoder"
    ),
    # Their decoders attend to what the vision encoder puts out.
    **dict.fromkeys(("pix2struct", "pix2struct_vqa"), (("encoder",), NONE, ("decoder",))),
    **dict.fromkeys(("donut", "trocr"), (("encoder",), NONE, ("decoder.model.decoder",))),
}


def empty(config: Any) -> nn.Module:
    with torch.device("meta"):
        model_class: Any = AutoModelForImageTextToText._model_mapping[type(config)]
        model: nn.Module = model_class._from_config(config)
    return model


def paths(model: nn.Module, parts: Any) -> Expected:
    names = {module: path for path, module in model.named_modules()}
    vision, projector, language = (
        tuple(names[module] for module in parts.get(part, ()))
        for part in ("vision", "projector", "language_prefill")
    )
    return vision, projector, language


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS, *ENCODER_DECODERS])
def test_parts_of_each_family(family: str) -> None:
    model = on_meta(family)
    assert paths(model, find_parts(model)) == EXPECTED[family]


@pytest.mark.parametrize("config", [small_unlimited, small_ocr_2])
def test_parts_of_deepseek_ocr(config: Any) -> None:
    """The second encoder of DeepSeek-OCR-2 is a language model by its layers."""
    model = empty(config())
    assert paths(model, find_parts(model)) == LLAVA
    assert has_experts(model)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "florence2"])
def test_names_say_nothing(family: str) -> None:
    model = on_meta(family)
    plain = find_parts(model)
    named = [path for of_part in EXPECTED[family] for path in of_part]
    for number, path in enumerate(sorted(named, key=len, reverse=True)):  # the inner ones first
        parent, _, name = path.rpartition(".")
        modules = model.get_submodule(parent)._modules
        renamed = {f"m{number}" if key == name else key: one for key, one in modules.items()}
        modules.clear()
        modules.update(renamed)
    assert find_parts(model) == plain


@pytest.mark.parametrize(
    ("family", "decoder"),
    [
        ("florence2", "model.language_model.decoder"),
        ("t5gemma2", "model.decoder"),
        ("pix2struct", "decoder"),
        ("qwen2_vl", "model.language_model"),
    ],
)
def test_a_decode_step_runs_the_decoder_alone(family: str, decoder: str) -> None:
    model = on_meta(family)
    assert find_decoder(model) == (model.get_submodule(decoder),)


def test_a_model_without_pixels_has_a_language_model_alone() -> None:
    language = on_meta("llava").get_submodule("model.language_model")
    assert find_parts(language) == {"language_prefill": (language,)}
    assert find_parts(nn.Linear(1, 1)) == {}


def test_within_compiled_code_is_no_part_to_hook() -> None:
    model = on_meta("granite_docling")
    vision, *_ = find_parts(model)["vision"]
    assert hookable_parts(model) == find_parts(model)
    vision.forward = copy.copy(vision.forward)
    assert hookable_parts(model).keys() == {"vision", "language_prefill"}
