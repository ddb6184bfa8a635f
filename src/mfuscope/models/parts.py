"""The parts of a model: vision encoder, projector, language model, experts."""

from torch import nn

# Module names of the parts in transformers' vision-language models, most specific first.
_PART_NAMES = {
    "vision": ("vision_tower", "vision_model", "visual", "image_tower", "vision_encoder"),
    "projector": (
        "multi_modal_projector",
        "mm_projector",
        "connector",
        "aligner",
        "embed_vision",
        "modality_projection",
    ),
    "language_prefill": ("language_model", "text_model"),
}


def find_parts(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of vision encoder, projector and language model that a model has, by part.

    The shallowest module of a known name is chosen: an encoder within the encoder is no part.
    """
    parts: dict[str, nn.Module] = {}
    modules = sorted(model.named_modules(), key=lambda item: item[0].count("."))
    for part, names in _PART_NAMES.items():
        for name in names:
            found = (m for path, m in modules if path.rsplit(".", 1)[-1] == name)
            module = next(found, None)
            if module is not None:
                parts[part] = module
                break
    return parts


def has_experts(model: nn.Module) -> bool:
    """Whether a model has mixture-of-experts layers, which transformers names ``...Experts``."""
    return any(type(module).__name__.endswith("Experts") for module in model.modules())
