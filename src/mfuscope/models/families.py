"""Families of models: architectures with preprocessing and FLOP formulas in mfuscope."""

from enum import StrEnum
from typing import Any, Final

from mfuscope.core.errors import UserError
from mfuscope.models.geometry import Tiling
from mfuscope.models.published import (
    DEEPSEEK_OCR,
    DEEPSEEK_OCR_2,
    UNLIMITED_OCR,
    published_architecture,
)


class Family(StrEnum):
    """What decides preprocessing, prompt and FLOP formulas of a model; `GENERIC` is any other."""

    DEEPSEEK_OCR = "deepseek-ocr"
    UNLIMITED_OCR = "unlimited-ocr"
    DEEPSEEK_OCR_2 = "deepseek-ocr-2"
    GENERIC = "generic"


#: How each family cuts pages into views, unless a model's own files say otherwise.
TILINGS: Final = {
    Family.DEEPSEEK_OCR: Tiling(max_tiles=9),
    Family.UNLIMITED_OCR: Tiling(max_tiles=32),
    Family.DEEPSEEK_OCR_2: Tiling(tile_size=768, max_tiles=6, stretch_up_to=0),
}

_PUBLISHED: Final = {
    DEEPSEEK_OCR: Family.DEEPSEEK_OCR,
    UNLIMITED_OCR: Family.UNLIMITED_OCR,
    DEEPSEEK_OCR_2: Family.DEEPSEEK_OCR_2,
}


def identify_family(config: dict[str, Any], name: str) -> tuple[Family, str]:
    """The family of a model and its architecture's class name.

    Args:
        config: the content of its config.json.
        name: the model as the user named it, for messages.

    Raises:
        UserError: transformers cannot run such a model on images and text.
    """
    names, model_type = config.get("architectures"), config.get("model_type")
    architectures = names if isinstance(names, list) else []
    if not (architectures and isinstance(architectures[0], str)):
        raise UserError(
            f"model: the config of {name!r} names no architecture",
            "name a folder whose config.json has a list of names as `architectures`",
        )
    if (published := published_architecture(config)) is not None:
        return _PUBLISHED[published], published
    if model_type == "unlimited_ocr":
        return Family.UNLIMITED_OCR, architectures[0]
    if model_type == "deepseek_ocr2":
        return Family.DEEPSEEK_OCR_2, architectures[0]
    if _is_image_text_to_text(model_type):
        return Family.GENERIC, architectures[0]
    if config.get("auto_map"):
        raise UserError(
            f"model: {name!r} ({architectures[0]}) runs only with code from its own repository, "
            "which mfuscope does not execute",
            "name a conversion of it to an architecture that transformers carries",
        )
    raise UserError(
        f"model: {name!r} ({architectures[0]}) is no image-text-to-text model of transformers",
        "name a vision-language model that AutoModelForImageTextToText can load",
    )


def _is_image_text_to_text(model_type: object) -> bool:
    if not isinstance(model_type, str):
        return False
    # This import takes seconds, so it is made only for models of no known family.
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
