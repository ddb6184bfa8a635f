"""Which device measures, and its description."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from mfuscope.core.errors import UserError
from mfuscope.core.records import Device
from mfuscope.hardware import nvml

if TYPE_CHECKING:  # planning does not import torch, which takes seconds
    import torch

_BF16_TENSOR_CORES = (8, 0)  # the lowest compute capability with bf16 tensor cores
_ASKED_FOR = "the setting dtype"


def plan_device(setting: str) -> str:
    """The device that the workflow will use, found without torch.

    Args:
        setting: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        ``cpu``, ``cuda`` or ``cuda:N``. ``cuda`` need not be visible on this machine, as jobs may
        run on others (`check_device_visible`).

    Raises:
        UserError: ``cuda:N`` is not visible, or torch is a build for CPUs.
    """
    gpus, reason = nvml.visible_gpus()
    if setting == "cpu" or (setting == "auto" and not gpus):
        return "cpu"
    if ":" in setting and int(setting.partition(":")[2]) >= len(gpus):
        raise _not_visible(setting, len(gpus), reason)
    version = importlib.metadata.version("torch")
    if version.endswith("+cpu"):
        raise UserError(
            f"device: a CUDA GPU shall measure, but torch {version} is a build for CPUs",
            "install a CUDA build of torch, or set `device: cpu` (DSOCR_DEVICE=cpu)",
        )
    return "cuda" if setting == "auto" else setting


def check_device_visible(device: str) -> None:
    """Check that a planned device is visible to this process.

    Raises:
        UserError: it is not, with NVML's reason.
    """
    gpus, reason = nvml.visible_gpus()
    if device != "cpu" and not gpus:
        raise _not_visible(device, 0, reason)


def _not_visible(device: str, count: int, reason: str) -> UserError:
    why = f" ({reason})" if reason else ""
    return UserError(
        f"device: {device!r} is not there, {count} CUDA GPUs are visible{why}",
        "set `device` (or DSOCR_DEVICE) to cpu or auto, or check nvidia-smi and "
        "CUDA_VISIBLE_DEVICES",
    )


def check_bf16(device: str) -> None:
    """Check that a visible GPU has bf16 tensor cores. A CPU needs none.

    Raises:
        UserError: NVML reports a compute capability without them.
    """
    gpus, _ = nvml.visible_gpus()
    if device == "cpu" or not gpus:
        return
    gpu = gpus[int(device.partition(":")[2] or 0)]
    if gpu.compute_capability is not None:
        _refuse_bf16_without(gpu.name, gpu.compute_capability)


def _refuse_bf16_without(name: str, capability: tuple[int, ...]) -> None:
    if capability < _BF16_TENSOR_CORES:
        raise UserError(
            f"dtype: 'bf16' needs tensor cores that the {name} lacks (its compute capability "
            f"is {'.'.join(map(str, capability))}, they came with {_BF16_TENSOR_CORES[0]}.0)",
            "set `dtype: fp16` (or auto)",
        )


def planned_memory_bytes(device: str) -> int | None:
    """Total memory of a planned device on this host, None if it cannot be known."""
    if device == "cpu":
        return _host_memory_bytes()
    gpus, _ = nvml.visible_gpus()
    index = int(device.partition(":")[2] or 0)
    return nvml.memory_bytes(gpus[index].uuid) if index < len(gpus) else None


def describe_planned_device(device: str) -> str:
    """A planned device in words: a GPU by its model, a CPU with the reason why no GPU measures.

    Of several visible GPUs the one that is meant is named, or that runs take any of them.
    """
    gpus, reason = nvml.visible_gpus()
    index = device.partition(":")[2]
    if device != "cpu":
        if not gpus or int(index or 0) >= len(gpus):  # that of another machine
            return f"GPU ({device})"
        if len(gpus) == 1:
            return gpus[0].name
        if index:
            gpu = gpus[int(index)]
            return f"{gpu.name} ({device} of {len(gpus)}, {gpu.uuid})"
        models = ", ".join(dict.fromkeys(gpu.name for gpu in gpus))
        return f"{len(gpus)} visible GPUs ({models}; each run takes a free one)"
    if gpus:
        return "CPU, as the settings ask for"
    return "CPU, as no CUDA GPU is visible" + (f" ({reason})" if reason else "")


def use_device(device: "torch.device") -> None:
    """Make a GPU the current one, for libraries that use the current GPU."""
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # `cuda` alone is the first visible one


def describe_device(device: str) -> Device:
    """The description of a torch device (``cpu``, ``cuda`` or ``cuda:N``).

    Raises:
        UserError: torch was built without CUDA, or sees no such GPU.
    """
    import torch

    if not device.startswith("cuda"):
        return Device(
            kind="cpu",
            name=_cpu_name(),
            compute_capability=None,
            sm_count=None,
            memory_bytes=_host_memory_bytes(),
            sm_clock_max_mhz=None,
            uuid=None,
            threads=torch.get_num_threads(),
            absent=dict.fromkeys(
                ("compute_capability", "sm_count", "sm_clock_max_mhz", "uuid"), "a CPU has none"
            ),
        )
    if not torch.cuda.is_available():
        raise UserError(
            f"device: torch {torch.__version__} cannot use the GPU",
            "install a CUDA build of torch that suits the driver, or set `device: cpu`",
        )
    properties = torch.cuda.get_device_properties(torch.device(device))
    uuid = f"GPU-{properties.uuid}"
    clock, reason = nvml.max_sm_clock_mhz(uuid)
    return Device(
        kind="cuda",
        name=properties.name,
        compute_capability=f"{properties.major}.{properties.minor}",
        sm_count=properties.multi_processor_count,
        memory_bytes=properties.total_memory,
        sm_clock_max_mhz=clock,
        uuid=uuid,
        threads=torch.get_num_threads(),
        absent={} if clock is not None else {"sm_clock_max_mhz": reason},
    )


def pick_precision(setting: str, device: Device) -> tuple[str, str]:
    """The precision that a dtype setting means on a device, and why.

    Returns:
        ``bf16``, ``fp16`` or ``fp32``, and the reason in words.

    Raises:
        UserError: the GPU has no tensor cores for it. (Planning checks this only where jobs run on
            the same machine.)
    """
    if device.kind == "cpu":
        asked = setting != "auto"
        return (setting, _ASKED_FOR) if asked else ("fp32", "auto: the CPU measures in fp32")
    capability = tuple(map(int, str(device.compute_capability).split(".")))
    if setting == "bf16":
        _refuse_bf16_without(device.name, capability)
    if setting != "auto":
        return setting, _ASKED_FOR
    if capability >= _BF16_TENSOR_CORES:
        return "bf16", "auto: the GPU has bf16 tensor cores"
    return "fp16", "auto: the GPU has no bf16 tensor cores"


def _host_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
