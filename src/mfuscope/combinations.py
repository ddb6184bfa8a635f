"""Settings that are right one by one and do not go together, or not with a model or a device."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mfuscope.errors import Findings, UserError
from mfuscope.models.prompt import IMAGE_MARK
from mfuscope.models.spec import Family, ModelSpec, resolve_model
from mfuscope.settings import InferenceSettings


def check_flops(models: Sequence[str], bundled_models: Path) -> None:
    """See that every model of the FLOP budget can be found.

    Raises:
        UserErrors: every one that cannot.
    """
    findings = Findings()
    for name in models:
        try:
            resolve_model(name, "dummy", bundled_models)
        except UserError as error:
            problem = f"flops.models: {error.problem.removeprefix('model: ')}"
            findings.add(UserError(problem, "correct the name in `flops.models`"))
    findings.tell()


def check_combination(inference: InferenceSettings, spec: ModelSpec, device: str) -> None:
    """See that a variant's settings suit its model and the kind of device.

    Raises:
        UserError: the first thing that does not.
    """
    if inference.attention == "flash" and (device == "cpu" or inference.dtype == "fp32"):
        raise UserError(
            "attention: 'flash' runs in bf16 or fp16 on a GPU only, not "
            + ("on the CPU" if device == "cpu" else "in fp32"),
            "set `attention: sdpa` (DSOCR_USE_FLASH_ATTN=0)",
        )
    if inference.attention == "flash" and importlib.util.find_spec("flash_attn") is None:
        raise UserError(
            "attention: 'flash' needs the package flash-attn, which is not installed",
            "install flash-attn, or set `attention: sdpa` (DSOCR_USE_FLASH_ATTN=0)",
        )
    if IMAGE_MARK in inference.prompt:
        raise UserError(
            f"prompt: it holds {IMAGE_MARK!r}, and the image comes before it by itself",
            f"leave {IMAGE_MARK!r} out of `prompt`",
        )
    if spec.family is Family.GENERIC and inference.resolution != "auto":
        raise UserError(
            f"resolution: {inference.resolution!r} is a mode of the DeepSeek-OCR family, which "
            f"{spec.name!r} ({spec.architecture}) does not have",
            "set `resolution: auto` to use the model's own preprocessing",
        )
