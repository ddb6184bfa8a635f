"""docs/models.md: every image-text-to-text class of transformers, and what comes of it here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generate.markdown import code, table
from mfuscope.models.support import refusal

FILE = Path("docs/models.md")

#: Model types that tests build at toy size, plan, calibrate and run on any host.
MEASURED = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "idefics3", "smolvlm"),
    *("granite_docling", "llava", "llava_next", "llava_onevision", "gemma3", "paligemma"),
    *("got_ocr2", "paddleocr_vl", "lighton_ocr", "glm_ocr", "glm4v", "hunyuan_vl", "mllama"),
    *("kosmos-2.5", "deepseek_ocr2", "unlimited_ocr"),
    *("florence2", "pix2struct", "t5gemma2", "vision-encoder-decoder"),
    *("qwen3_vl_moe", "qwen3_5_moe", "exaone4_5", "video_llama_3", "glm46v", "glm4v_moe"),
    *("vipllava", "llava_next_video", "video_llava", "aya_vision", "idefics2", "ovis2"),
    *("deepseek_vl", "qianfan_ocr", "pp_chart2table", "gemma4", "chameleon", "emu3"),
    *("granite4_vision", "ernie4_5_vl_moe"),
)
#: What a class, or some of its checkpoints, need beside what transformers' mappings tell.
_NEEDS = {
    "fast_vlm": "the package timm",
    "gemma3n": "the package timm",
    "git": "refused so far: no token of its prompt stands for the page",
    "pix2struct": "of those that draw the question: the font Arial in the hub's cache",
    "vision-encoder-decoder": "Donut, TrOCR: `attention: eager`",
}
#: Of those that tests build: the package that transformers' processor needs.
PACKAGES = {"smolvlm": "num2words", "mistral3": "torchvision", "lfm2_vl": "torchvision"}

_TOP = """# Models

DeepSeek-OCR, Unlimited-OCR and DeepSeek-OCR-2 run from the folders that are published
(`DeepseekOCRForCausalLM`, `UnlimitedOCRForCausalLM`, `DeepseekOCR2ForCausalLM`), in transformers'
own classes. Of any other model, transformers' image-text-to-text class and the model's own
processor are used.

Planning builds a model without its weights, and makes its processor and its prompt. What does not
work is one line before anything is loaded: a class that is refused below, attention that a class
has not, a package that is missing (with its `pip install` line), quantised weights that are not
measured (with their method).

- Pages are images: the video part of a processor is left out, so that it needs no torchvision.
- `attention: auto` is sdpa where the class has it, else eager, and the call says which.
- The prompt comes from the processor's chat template, else from the tokenizer's; the call says
  so. Without any, it is the mark of the image, a line break and `prompt`; or `prompt` alone, where
  the processor puts the mark itself.
- The processor is tried with an empty page.
- Of generation_config.json only the special tokens are taken over. The call lists what is left
  out.

## Quantised weights

A checkpoint that torchao packed with `Int8WeightOnlyConfig` is measured as it is, with `pip install
torchao`:

- Bytes are those of the packed tensors and their scales. Parameters count unpacked.
- The weights are multiplied in the precision of the activations, so that the peak of MFU is that of
  `dtype`. Unpacking them takes time and counts no FLOPs.
- `load_format: dummy` is refused: it would make plain weights.

The rest is refused. Methods that multiply in 8 bits or less (fp8, torchao's dynamic ones) have
another peak for a part of their FLOPs. bitsandbytes, GPTQ and AWQ multiply in operators of their
packages that have no FLOP formula. The kernels of `fp8` checkpoints are fetched from the hub when a
model runs.

## Encoder-decoders

Florence-2, Donut, TrOCR, Pix2Struct and the like are measured as other models are:

- Prefill is the encoder and the decoder's first forward, which makes the first token; a decode step
  is a forward of the decoder.
- The prompt's tokens are those that the decoder begins with, its start token included: they count
  as context, and none of them as a new token. The encoder's are not among them.
- Where `prompt` goes is the processor's choice, and the call says it: to the encoder, beside the
  page (Florence-2: `prompt: <OCR>`); to the decoder, which goes on from it (Donut:
  `prompt: <s_cord-v2>`); drawn above the page (Pix2Struct for questions); nowhere (TrOCR).
- Beams, and tokens that generation_config.json forces, are left out, as for every model.
- The cache is dynamic, and nothing is compiled: `cache: static` is refused.

## Classes

**measured**: tests build the class at toy size, plan it, count its FLOPs and run a page. **not
tried**: planning builds it, and no test shows that it runs; a package that is named here is not
installed where the tests run. **refused**: at planning, in one line; that is a class that makes no
text, takes no images, or has a `generate()` of its own (it hands on to an inner model, or also
makes images).

This is transformers """


def models_page() -> str:
    """The page."""
    import transformers

    header = ("model type", "class", "status", "needs")
    return f"{_TOP}{transformers.__version__}.\n\n{table(header, list(_rows()))}\n"


def image_text_to_text() -> dict[str, str]:
    """Class by model type, as transformers maps them."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return dict(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def _rows() -> Iterator[tuple[str, str, str, str]]:
    import transformers

    for model_type, name in sorted(image_text_to_text().items()):
        model_class: Any = getattr(transformers, name)
        reason = refusal(model_class)
        measured = "measured" if model_type in MEASURED else "not tried"
        status = f"refused: {reason}" if reason else measured
        needs = [] if reason else list(_needs(model_type, model_class))
        yield code(model_type), name, status, ", ".join(needs)


def _needs(model_type: str, model_class: Any) -> Iterator[str]:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    if not model_class._supports_sdpa:
        yield "`attention: eager`"
    if note := _NEEDS.get(model_type):
        yield note
    package = PACKAGES.get(model_type)
    processors = IMAGE_PROCESSOR_MAPPING_NAMES.get(model_type)
    if package is None and model_type not in MEASURED and processors and "pil" not in processors:
        package = "torchvision"  # its image processor has no twin without it
    if package is not None:
        yield f"the package {package}"
