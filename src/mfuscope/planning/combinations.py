"""Combinations of valid settings that do not work together, or not with a model or a device."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from mfuscope.config.settings import InferenceSettings
from mfuscope.core.errors import Findings, UserError
from mfuscope.models.families import Family
from mfuscope.models.prompt import IMAGE_MARK
from mfuscope.models.spec import ModelSpec, resolve_model


def check_flops(models: Sequence[str], bundled_models: Path) -> None:
    """Check that every model of the FLOP budget can be found.

    Raises:
        UserErrors: names each model that cannot.
    """
    findings = Findings()
    for name in models:
        try:
            resolve_model(name, "dummy", bundled_models)
        except UserError as error:
            problem = f"flops.models: {error.problem.removeprefix('model: ')}"
            findings.add(UserError(problem, "correct the name in `flops.models`"))
    findings.raise_any()


def check_combination(inference: InferenceSettings, spec: ModelSpec, device: str) -> None:
    """Check that a variant's settings suit its model and the kind of device.

    Raises:
        UserErrors: every combination that does not work.
    """
    findings = Findings()
    if inference.attention == "flash":
        with findings.collect():
            _check_flash(inference.dtype, device)
    if IMAGE_MARK in inference.prompt:
        findings.add(
            UserError(
                f"prompt: it holds {IMAGE_MARK!r}, and the image is put before it automatically",
                f"remove {IMAGE_MARK!r} from `prompt`",
            )
        )
    if spec.family is Family.GENERIC and inference.resolution != "auto":
        findings.add(
            UserError(
                f"resolution: {inference.resolution!r} is a mode of the DeepSeek-OCR family, which "
                f"{spec.name!r} ({spec.architecture}) does not have",
                "set `resolution: auto` to use the model's own preprocessing",
            )
        )
    findings.raise_any()


def _check_flash(dtype: str, device: str) -> None:
    remedy = "set `attention: sdpa` (DSOCR_USE_FLASH_ATTN=0)"
    if device == "cpu" or dtype == "fp32":
        where = "on the CPU" if device == "cpu" else "in fp32"
        raise UserError(
            f"attention: 'flash' runs in bf16 or fp16 on a GPU only, not {where}", remedy
        )
    if importlib.util.find_spec("flash_attn") is None:
        raise UserError(
            "attention: 'flash' needs the package flash-attn, which is not installed",
            f"install flash-attn, or {remedy}",
        )
