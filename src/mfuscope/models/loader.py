"""Building a model on its device: from a checkpoint's safetensors, or with dummy weights."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from mfuscope.dtypes import torch_dtype
from mfuscope.errors import UserError
from mfuscope.models.hub import fetch_weights
from mfuscope.models.published import map_published_config
from mfuscope.models.spec import Family, ModelSpec, read_json

DUMMY_SEED = 0
DUMMY_STD = 0.02

_ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode on its device, and what is known of it.

    Attributes:
        model: a transformers model with ``generate``.
        folder: where its config, tokenizer and processor lie.
        parameters: number of parameters.
        weight_bytes: their size in bytes.
    """

    model: Any
    folder: Path
    parameters: int
    weight_bytes: int


def load_model(spec: ModelSpec, dtype: str, attention: str, device: torch.device) -> LoadedModel:
    """Build or load a model.

    Args:
        dtype: ``bf16``, ``fp16`` or ``fp32``.
        attention: ``sdpa``, ``eager`` or ``flash``.

    Raises:
        UserError: the checkpoint does not fit the architecture, or its files cannot be read.
    """
    folder = spec.path
    if spec.source == "hub" and spec.weights == "checkpoint":
        folder = fetch_weights(spec.name, folder)
    model_class, config = model_class_and_config(spec, folder)
    implementation = _attention_implementation(spec.family, attention)
    if spec.weights == "dummy":
        model = _build_dummy(model_class, config, torch_dtype(dtype), implementation, device)
    else:
        model = _load_checkpoint(
            model_class, config, folder, torch_dtype(dtype), implementation, device
        )
    model.eval().requires_grad_(False)
    parameters = list(model.parameters())
    return LoadedModel(
        model=model,
        folder=folder,
        parameters=sum(p.numel() for p in parameters),
        weight_bytes=sum(p.numel() * p.element_size() for p in parameters),
    )


def model_class_and_config(spec: ModelSpec, folder: Path) -> tuple[Any, Any]:
    """The transformers class of a model and its config.

    Raises:
        UserError: the config does not follow the layout that its architecture promises.
    """
    if spec.family is Family.DEEPSEEK_OCR:
        from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

        try:
            mapped = map_published_config(read_json(folder / "config.json"))
        except (KeyError, ValueError) as error:
            raise UserError(
                f"model: the config of {spec.name!r} is not DeepSeek-OCR's ({error})",
                "name a checkpoint whose config.json follows the published layout",
            ) from error
        return UnlimitedOcrForConditionalGeneration, UnlimitedOcrConfig(**mapped)
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model_class = AutoModelForImageTextToText._model_mapping[type(config)]
    return model_class, config


def _attention_implementation(family: Family, attention: str) -> Any:
    implementation = _ATTENTION[attention]
    if attention == "flash" and family is not Family.GENERIC:
        # SAM adds relative positions to its scores, which flash attention cannot: language only.
        return {"": "sdpa", "text_config": implementation}
    return implementation


def _build_dummy(
    model_class: Any, config: Any, dtype: torch.dtype, attention: Any, device: torch.device
) -> Any:
    from transformers.initialization import no_init_weights

    with torch.device(device), no_init_weights():
        model = model_class._from_config(config, dtype=dtype, attn_implementation=attention)
    fill_with_dummy_weights(model, DUMMY_SEED)
    model.tie_weights()
    return model


@torch.no_grad()
def fill_with_dummy_weights(model: nn.Module, seed: int) -> None:
    """Fill all parameters in place: matrices N(0, 0.02²), norm scales one, biases zero.

    Values of ordinary size matter: with the zeros or 1e-10s of some default initialisations every
    token would take the same experts and arithmetic would meet denormal numbers. The same seed
    gives the same weights on the same kind of device.
    """
    generators: dict[torch.device, torch.Generator] = {}
    for name, parameter in model.named_parameters():
        if parameter.device not in generators:
            generators[parameter.device] = torch.Generator(parameter.device).manual_seed(seed)
        if parameter.ndim == 1 and name.endswith(".weight"):
            parameter.fill_(1.0)
        elif name.endswith(".bias"):
            parameter.zero_()
        else:
            parameter.normal_(std=DUMMY_STD, generator=generators[parameter.device])


def _load_checkpoint(
    model_class: Any,
    config: Any,
    folder: Path,
    dtype: torch.dtype,
    attention: Any,
    device: torch.device,
) -> Any:
    try:
        model, info = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"model: cannot load the checkpoint {str(folder)!r} ({reason})",
            "restore its files",
        ) from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            names = sorted(map(str, info[kind]))
            raise UserError(
                f"model: the checkpoint {str(folder)!r} does not fit its config: "
                f"{len(names)} {kind.replace('_', ' ')}, first {names[0]}",
                "name a complete checkpoint of this architecture",
            )
    return model.to(device)
