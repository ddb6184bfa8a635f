"""Building a model on its device: from a checkpoint's safetensors, or with dummy weights."""

import copy
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn

from mfuscope.core.dtypes import torch_dtype
from mfuscope.core.errors import UserError
from mfuscope.core.text import reason
from mfuscope.hardware.memory import check_fits, report_out_of_memory
from mfuscope.models.families import Family
from mfuscope.models.files import check_weights, read_json
from mfuscope.models.generation import clean_generation_config
from mfuscope.models.hub import fetch_weights
from mfuscope.models.packages import missing_package
from mfuscope.models.parts import has_experts
from mfuscope.models.published import map_published_config, published_architecture
from mfuscope.models.quantisation import storage_bytes
from mfuscope.models.spec import ModelSpec

DUMMY_SEED = 0
DUMMY_STD = 0.02

# What transformers was observed to raise for invalid configs and files.
_INVALID_FILES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
)

_ATTENTION = {"sdpa": "sdpa", "eager": "eager", "flash": "flash_attention_2"}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode on its device.

    Attributes:
        model: a transformers model with ``generate``.
        folder: the folder of its config, tokenizer and processor.
        parameters: number of parameters, packed ones counted unpacked.
        weight_bytes: their size in bytes, of packed ones as they are.
    """

    model: Any
    folder: Path
    parameters: int
    weight_bytes: int


def load_model(
    spec: ModelSpec, dtype: str, attention: str, device: torch.device, experts: str = "auto"
) -> LoadedModel:
    """Build or load a model.

    Args:
        dtype: ``bf16``, ``fp16`` or ``fp32``.
        attention: ``sdpa``, ``eager`` or ``flash``.
        experts: how routed experts compute: a name of transformers', or ``auto`` for its choice.

    Raises:
        UserError: the checkpoint does not fit the architecture, its files cannot be read, or the
            model does not fit into the device's memory.
    """
    folder = spec.path
    model_class, config = model_class_and_config(spec, folder)
    implementation = _attention_implementation(spec.family, attention)
    with _report_invalid_files(*_building(spec)):
        size = _planned_bytes(model_class, config, torch_dtype(dtype), "eager")
    if spec.quantisation is None:
        check_fits(spec.name, size, dtype, device)
    generation = clean_generation_config(config, folder)
    if spec.source == "hub" and spec.weights == "checkpoint":
        folder = fetch_weights(spec.name, folder)
        check_weights(folder)
    if spec.quantisation is not None:  # packed weights are as large as their files
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        check_fits(spec.name, size, dtype, device)
    with (
        _report_invalid_files(*_building(spec)),
        report_out_of_memory(f"loading {spec.name!r}", size, device),
    ):
        if spec.weights == "dummy":
            model = _build_empty(model_class, config, torch_dtype(dtype), implementation, device)
            fill_with_dummy_weights(model, DUMMY_SEED)
            model.tie_weights()
        else:
            model = _load_checkpoint(
                model_class, config, folder, torch_dtype(dtype), implementation, device, generation
            )
    model.generation_config = generation
    model.eval().requires_grad_(False)
    if experts != "auto":
        _set_experts(model, spec, experts)
    return LoadedModel(
        model=model,
        folder=folder,
        parameters=sum(p.numel() for p in model.parameters()),
        weight_bytes=_weight_bytes(model),
    )


def model_class_and_config(spec: ModelSpec, folder: Path) -> tuple[Any, Any]:
    """The transformers class of a model and its config.

    Raises:
        UserError: the config does not fit its architecture.
    """
    with _report_invalid_files(
        spec.name, "use the config of {}", "correct or restore its config.json"
    ):
        from transformers import AutoConfig, AutoModelForImageTextToText

        content = read_json(folder / "config.json")
        if published_architecture(content):
            config = AutoConfig.for_model(**map_published_config(content))
        else:
            config = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        return AutoModelForImageTextToText._model_mapping[type(config)], config


def check_builds(spec: ModelSpec, model_class: Any, config: Any, attention: str) -> None:
    """Check that a model can be built with an attention, without its weights.

    Raises:
        UserError: it cannot.
    """
    with _report_invalid_files(*_building(spec)):
        implementation = _attention_implementation(spec.family, attention)
        _planned_bytes(model_class, config, torch.float32, implementation)


def _building(spec: ModelSpec) -> tuple[str, str, str]:
    return spec.name, "build {} from its files", "correct or restore the files"


@contextmanager
def _report_invalid_files(name: str, what: str, remedy: str) -> Iterator[None]:
    """Turn an error of transformers into a user error: cannot do `what`, and the remedy.

    The traceback is printed for the job's log, as the cause may be another one.

    Args:
        name: the model as the user named it, which takes the place of ``{}`` in `what`.
    """
    try:
        yield
    except ImportError as error:
        raise missing_package(repr(name), error) from error
    except _INVALID_FILES as error:
        traceback.print_exc()
        raise UserError(
            f"model: cannot {what.format(repr(name))} ({reason(error)})", remedy
        ) from error


def _attention_implementation(family: Family, attention: str) -> Any:
    implementation = _ATTENTION[attention]
    if attention == "flash" and family is not Family.GENERIC:
        # Flash attention cannot add relative positions to scores, as SAM does: language only.
        return {"": "sdpa", "text_config": implementation}
    return implementation


def _build_empty(
    model_class: Any, config: Any, dtype: torch.dtype, attention: Any, device: torch.device
) -> Any:
    """A model whose weights are not initialised."""
    from transformers.initialization import no_init_weights

    with torch.device(device), no_init_weights():
        return model_class._from_config(config, dtype=dtype, attn_implementation=attention)


def _planned_bytes(model_class: Any, config: Any, dtype: torch.dtype, attention: Any) -> int:
    """Bytes that a model's weights will take, from a model on the meta device."""
    meta, own = torch.device("meta"), copy.deepcopy(config)  # building writes to the config
    model = _build_empty(model_class, own, dtype, attention, meta)
    model.tie_weights()
    return _weight_bytes(model)


def _weight_bytes(model: nn.Module) -> int:
    return sum(map(storage_bytes, model.parameters()))


def _set_experts(model: Any, spec: ModelSpec, experts: str) -> None:
    if not has_experts(model):
        raise UserError(
            f"experts: {spec.name!r} ({spec.architecture}) has no mixture-of-experts layers",
            "leave `experts` at auto",
        )
    try:
        model.set_experts_implementation(experts)
    except (ImportError, RuntimeError, ValueError) as error:
        raise experts_unusable(experts, error) from error


def experts_unusable(experts: str, error: Exception) -> UserError:
    """What an implementation of experts lacks, which transformers says when it is first used."""
    problem = f"experts: {experts!r} cannot be used here ({reason(error)})"
    return UserError(problem, "set `experts: auto`")


@torch.no_grad()
def fill_with_dummy_weights(model: nn.Module, seed: int) -> None:
    """Fill all parameters in place: matrices N(0, 0.02²), norm scales one, biases zero.

    Values must be of ordinary size: with the zeros or 1e-10s of some default initialisations every
    token would be routed to the same experts, and products would be denormal. A seed always gives
    the same weights on the same kind of device.
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
    generation: Any,
) -> Any:
    model, info = model_class.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        attn_implementation=attention,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # reported below in one line
        output_loading_info=True,
        generation_config=generation,  # its own file is not read
    )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            names = sorted(map(_describe_key, info[kind]))
            raise UserError(
                f"model: the checkpoint {str(folder)!r} does not fit its config: "
                f"{len(names)} {kind.replace('_', ' ')}, first {names[0]}",
                "name a complete checkpoint of this architecture",
            )
    return model.to(device)


def _describe_key(key: Any) -> str:
    """A tensor's name, with both shapes where they differ."""
    if isinstance(key, str):
        return key
    name, found, wanted = key
    return f"{name} with shape {tuple(found)} for {tuple(wanted)}"
