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
)
#: Of those that tests build: the package that transformers' processor needs.
PACKAGES = {"smolvlm": "num2words", "mistral3": "torchvision", "lfm2_vl": "torchvision"}

_TOP = """# Models

DeepSeek-OCR, Unlimited-OCR and DeepSeek-OCR-2 run from the folders that are published
(`DeepseekOCRForCausalLM`, `UnlimitedOCRForCausalLM`, `DeepseekOCR2ForCausalLM`), in transformers'
own classes. Of any other model, transformers' image-text-to-text class and the model's own
processor are used.

Planning builds a model without its weights, and makes its processor and its prompt. What does not
work is one line before anything is loaded: a class that is refused below, attention that a class
has not, a package that is missing (with its `pip install` line), quantised weights (with their
method).

- Pages are images: the video part of a processor is left out, so that it needs no torchvision.
- `attention: auto` is sdpa where the class has it, else eager, and the call says which.
- The prompt comes from the processor's chat template, else from the tokenizer's; the call says
  so. Without any, it is the mark of the image, a line break and `prompt`.
- Of generation_config.json only the special tokens are taken over. The call lists what is left
  out.

## Classes

**measured**: tests build the class at toy size, plan it, count its FLOPs and run a page. **not
tried**: planning builds it, and no test shows that it runs; where a package is named, the test
waits for it. **refused**: at planning, in one line.

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
    from transformers import CONFIG_MAPPING

    for model_type, name in sorted(image_text_to_text().items()):
        model_class: Any = getattr(transformers, name)
        reason = refusal(model_class, CONFIG_MAPPING[model_type]())
        status = "measured" if model_type in MEASURED else "not tried"
        needs = [] if model_class._supports_sdpa or reason else ["`attention: eager`"]
        if package := PACKAGES.get(model_type):
            needs.append(f"the package {package}")
        yield code(model_type), name, f"refused: {reason}" if reason else status, ", ".join(needs)
