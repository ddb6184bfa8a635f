"""Which device measures, and what it is."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mfuscope.core.errors import UserError
from mfuscope.core.records import Device, Versions
from mfuscope.hardware import nvml
from mfuscope.hardware.threads import measuring_threads

if TYPE_CHECKING:  # planning must not pay for the import
    import torch

#: Environment variable with the device of the machine that the call is on, as JSON.
HERE: Final = "MFUSCOPE_DEVICE_HERE"

_BF16_TENSOR_CORES = (8, 0)  # the compute capability that has them first
_ASKED_FOR = "the setting dtype"


def plan_device(setting: str) -> str:
    """The device kind that a run of the workflow will use, found without torch.

    Args:
        setting: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        ``cpu``, ``cuda`` or ``cuda:N``. ``cuda`` alone need not be visible here, as jobs may run
        elsewhere (`check_device_here`).

    Raises:
        UserError: a GPU of a certain number is asked for and not visible, or torch is for CPUs.
    """
    gpus, reason = nvml.visible_gpus()
    if setting == "cpu" or (setting == "auto" and not gpus):
        return "cpu"
    if ":" in setting and int(setting.partition(":")[2]) >= len(gpus):
        raise _not_there(setting, len(gpus), reason)
    version = importlib.metadata.version("torch")
    if version.endswith("+cpu"):
        raise UserError(
            f"device: a CUDA GPU shall measure, but torch {version} is a build for CPUs",
            "install a CUDA build of torch, or set `device: cpu` (DSOCR_DEVICE=cpu)",
        )
    return "cuda" if setting == "auto" else setting


@dataclass(frozen=True, slots=True)
class DeviceHere:
    """The device that measures on this machine, as far as it is known without torch.

    Attributes:
        kind: ``cpu`` or ``cuda``.
        name: its model.
        threads: that a CPU measures with.
    """

    kind: str
    name: str
    threads: int

    def __str__(self) -> str:
        return f"{self.name} ({self.threads} threads)" if self.kind == "cpu" else self.name

    def may_be(self, device: Device) -> bool:
        """Whether it may be what a record tells of."""
        if self.kind == "cpu":
            return (device.kind, device.name, device.threads) == ("cpu", self.name, self.threads)
        # torch names a slice after the GPU that it is of.
        return device.kind == "cuda" and f"{device.name} MIG ".startswith(f"{self.name} MIG ")


def handed_over(environment: Mapping[str, str]) -> DeviceHere | None:
    """What the call that this job is of found out (`HERE`)."""
    return msgspec.json.decode(environment.get(HERE, "null"), type=DeviceHere | None)


def device_here(device: str) -> DeviceHere | None:
    """What a planned device is on this machine; None where that cannot be known."""
    threads = measuring_threads()
    if device == "cpu":
        return DeviceHere("cpu", _cpu_name(), threads)
    gpus, _ = nvml.visible_gpus()
    index = int(device.partition(":")[2] or 0)  # of `cuda`, those of the first one's model
    if index >= len(gpus) or gpus[index].name == nvml.SLICE:
        return None
    return DeviceHere("cuda", gpus[index].name, threads)


def check_device_here(device: str) -> None:
    """That a planned device is visible to this process.

    Raises:
        UserError: it is not.
    """
    gpus, reason = nvml.visible_gpus()
    if device != "cpu" and not gpus:
        raise _not_there(device, 0, reason)


def _not_there(device: str, count: int, reason: str) -> UserError:
    why = f" ({reason})" if reason else ""
    return UserError(
        f"device: {device!r} is not there, {count} CUDA GPUs are visible{why}",
        "set `device` (or DSOCR_DEVICE) to cpu or auto, or check nvidia-smi and "
        "CUDA_VISIBLE_DEVICES",
    )


def check_bf16(device: str) -> None:
    """See that a GPU of this host has bf16 tensor cores, as far as NVML tells; a CPU needs none.

    Raises:
        UserError: the GPU is known to have none.
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


def device_in_words(device: str) -> str:
    """A planned device and, for the CPU, why no GPU measures."""
    if device != "cpu":
        return f"GPU ({device})"
    gpus, reason = nvml.visible_gpus()
    if gpus:
        return "CPU, as the settings ask for"
    return "CPU, as no CUDA GPU is visible" + (f" ({reason})" if reason else "")


def use_device(device: "torch.device") -> None:
    """Make a GPU the current one, so that whatever asks for "the" GPU means it."""
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)  # `cuda` alone is the first visible one


def describe_device(device: str) -> Device:
    """Facts of a torch device (``cpu``, ``cuda`` or ``cuda:N``).

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
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
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
        ``bf16``, ``fp16`` or ``fp32``, and a reason in words.

    Raises:
        UserError: the GPU lacks what the setting needs. Where jobs run elsewhere, the plan that
            submitted them could not know.
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


def describe_versions() -> Versions:
    """Versions of the software that measures."""
    import torch

    import mfuscope

    return Versions(
        mfuscope=mfuscope.__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        transformers=importlib.metadata.version("transformers"),
        cuda=torch.version.cuda,
        driver=nvml.driver_version(),
        platform=platform.platform(),
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass  # not Linux; the platform's own word is next
    return platform.processor() or platform.machine()
