"""Combinations of valid settings that do not work together, or not with a model or a device."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mfuscope.config.settings import InferenceSettings
from mfuscope.core.errors import Findings, UserError
from mfuscope.models.families import Family
from mfuscope.models.prompt import IMAGE_MARK
from mfuscope.models.spec import ModelSpec, resolve_model

# What every transformers that mfuscope works with offers. Asking it for others takes seconds.
_USUAL_EXPERTS: Final = ("eager", "batched_mm", "grouped_mm")


def check_flops(models: Sequence[str], bundled_models: Path) -> None:
    """Check that every model of the FLOP budget can be found, and counted without a measurement.

    Raises:
        UserErrors: names each model that cannot.
    """
    findings = Findings()
    for name in models:
        try:
            spec = resolve_model(name, "dummy", bundled_models)
        except UserError as error:
            problem = f"flops.models: {error.problem.removeprefix('model: ')}"
            findings.add(UserError(problem, "correct the name in `flops.models`"))
            continue
        if spec.tiling is None:
            findings.add(
                UserError(
                    f"flops.models: {name!r} ({spec.architecture}) has no architecture that can be "
                    "counted part by part",
                    "remove it from `flops.models`; a run of the workflow counts it on its device",
                )
            )
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
    for problem in _compile_problems(inference, device):
        findings.add(problem)
    if inference.experts != "auto":
        with findings.collect():
            _check_experts(inference.experts, spec)
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


def _compile_problems(inference: InferenceSettings, device: str) -> Iterator[UserError]:
    """Why the decode step cannot be compiled whole, as settings and installed packages tell."""
    if inference.compile == "none":
        return
    asked, off = f"compile: {inference.compile!r}", "`compile: none`"
    if inference.cache != "static":
        yield UserError(
            f"{asked} needs a KV cache of fixed size, and `cache` is {inference.cache!r}",
            f"set `cache: static`, or {off}",
        )
    if inference.attention == "flash":
        # transformers (`_valid_auto_compile_criteria`) compiles around it, layer by layer.
        yield UserError(
            f"{asked} makes one graph of a decode step, which attention 'flash' breaks in every "
            "layer",
            f"set `attention: sdpa`, or {off}",
        )
    if inference.experts == "eager":
        yield UserError(
            f"{asked} makes one graph of a decode step, which the loop over experts of 'eager' "
            "breaks in every layer",
            f"set `experts: auto`, or {off}",
        )
    if device != "cpu" and importlib.util.find_spec("triton") is None:
        yield UserError(
            f"{asked} needs the package triton on a GPU, which is not installed",
            f"install triton, or set {off}",
        )


def _check_experts(experts: str, spec: ModelSpec) -> None:
    """Check that a model has experts, as far as planning can know, and transformers the name."""
    if spec.language is not None and not spec.language.sparse_layers:
        raise UserError(
            f"experts: {experts!r} is a way to compute mixture-of-experts layers, which "
            f"{spec.name!r} does not have",
            "set `experts: auto`",
        )
    if experts in _USUAL_EXPERTS:
        return
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    offered = sorted({*_USUAL_EXPERTS, *ALL_EXPERTS_FUNCTIONS.keys()})
    if experts not in offered:
        version = importlib.metadata.version("transformers")
        raise UserError(
            f"experts: {experts!r} is nothing that transformers {version} offers",
            f"use one of auto, {', '.join(offered)}",
        )
