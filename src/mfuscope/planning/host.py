"""What the settings need of the host that measures: a compiler, and memory for a batch."""

import importlib.util
import os
import shutil
from typing import Final

from mfuscope.config.settings import InferenceSettings
from mfuscope.core.dtypes import BYTES_PER_VALUE
from mfuscope.core.errors import UserError
from mfuscope.flops.architecture import kv_bytes
from mfuscope.hardware.devices import planned_memory_bytes
from mfuscope.models.geometry import parse_resolution
from mfuscope.models.spec import ModelSpec

# Where torch.compile looks for the compiler that it calls: a variable of the environment, then
# names. Inductor compiles C++ for the CPU, and Triton compiles the launchers of its kernels as C.
_COMPILERS: Final = {"cpu": ("C++", "CXX", ("g++",)), "cuda": ("C", "CC", ("gcc", "clang"))}

# Implementations that are part of transformers; it loads the others from a hub of kernels.
_OWN_EXPERTS: Final = ("auto", "eager", "batched_mm", "grouped_mm")


def has_compiler(kind: str) -> bool:
    """Whether this host has the compiler that torch.compile needs for a kind of device."""
    _, variable, names = _COMPILERS[kind]
    named = os.environ.get(variable)
    return any(map(shutil.which, [named] if named else names))


def check_compiler(inference: InferenceSettings, device: str) -> None:
    """Check that this host has the compiler that `compile` needs.

    Raises:
        UserError: it has not.
    """
    if inference.compile == "none":
        return
    kind = device.partition(":")[0]
    language, variable, names = _COMPILERS[kind]
    if not has_compiler(kind):
        named = os.environ.get(variable)
        missing = f"{named!r} ({variable})" if named else " or ".join(names)
        raise UserError(
            f"compile: {inference.compile!r} calls a {language} compiler: there is no {missing}",
            f"install {names[0]}, name another one in the variable {variable}, or set "
            "`compile: none`",
        )


def check_experts_package(inference: InferenceSettings) -> None:
    """Check that the package is there from which transformers takes kernels for experts.

    Raises:
        UserError: it is not.
    """
    if inference.experts in _OWN_EXPERTS or importlib.util.find_spec("kernels") is not None:
        return
    raise UserError(
        f"experts: {inference.experts!r} needs the package kernels, which is not installed",
        "install it, or set `experts: auto`",
    )


def check_batch(
    inference: InferenceSettings, spec: ModelSpec, resolution: str, device: str
) -> None:
    """Check that a batch of a page at a canonical resolution may fit into the device's memory.

    What it takes at least is known: the language model's weights, and the keys and values of every
    copy. Encoders, activations and what else the device holds are left out.

    Raises:
        UserError: that alone exceeds the memory, with the figures.
    """
    language = spec.language
    if inference.batch_size == 1 or language is None:
        return
    if (memory := planned_memory_bytes(device)) is None:
        return
    value = BYTES_PER_VALUE.get(inference.dtype, 4 if device == "cpu" else 2)  # auto is no key
    prompt = 1 + spec.image_tokens(parse_resolution(resolution))  # 1: the begin of sequence
    copy = kv_bytes(language, prompt + inference.max_new_tokens, prompt, value)
    weights = language.parameters * value
    if weights + inference.batch_size * copy <= memory:
        return
    most = (memory - weights) // copy
    less = f"set `batch_size` to {most} at most, or " if most > 0 else "set "
    raise UserError(
        f"batch_size: {inference.batch_size} copies of a page at {resolution} do not fit: their KV "
        f"cache takes {_gb(inference.batch_size * copy)} and the language model {_gb(weights)}, "
        f"and the {'host' if device == 'cpu' else 'GPU'} has {_gb(memory)}",
        f"{less}a smaller `max_new_tokens` or `resolution`, or a shorter `dtype`",
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
