"""GPUs as NVML reports them: presence, clocks, temperature, power, throttling, energy."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from mfuscope.core.records import Conditions

#: `Gpu.name` of a MIG slice; its card is not looked up.
SLICE = "MIG"

_THROTTLE_REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "hw_thermal_slowdown",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "hw_power_brake_slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "sw_thermal_slowdown",
    pynvml.nvmlClocksThrottleReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting: "applications_clocks_setting",
}


# Idle workers of other variants keep their models on the GPU, and compute nothing.
_WORKER = b"mfuscope.worker.server"


def _initialise() -> str:
    """Empty if NVML works, else the reason. Repeated calls cost nothing."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _reason(error)
    return ""


def _reason(error: Exception) -> str:
    text = str(error)
    return text if text.startswith("NVML") else f"NVML: {text}"


def _text(query: Callable[..., Any], *arguments: Any) -> str:
    """A string that NVML reports; every string is read here."""
    return str(query(*arguments))


@dataclass(frozen=True, slots=True)
class Gpu:
    """A visible GPU.

    Attributes:
        name: its model, `SLICE` for a MIG slice.
        compute_capability: None where NVML does not report it.
    """

    uuid: str
    name: str
    compute_capability: tuple[int, int] | None = None


def visible_gpus() -> tuple[list[Gpu], str]:
    """The CUDA GPUs that a process would see under CUDA_VISIBLE_DEVICES.

    Its indices are in nvidia-smi's order (``CUDA_DEVICE_ORDER=PCI_BUS_ID``).

    Returns:
        The GPUs, and the reason if there is none or one does not answer; empty if there is no more
        to report.
    """
    every, reason = _every_gpu()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or (reason and not every):
        return [gpu for gpu in every if gpu is not None], reason
    shown = _shown(visible, every)
    return shown, reason or ("" if shown else f"CUDA_VISIBLE_DEVICES is {visible!r}")


def _every_gpu() -> tuple[list[Gpu | None], str]:
    """The GPUs by index, None for one that does not answer, and the reason."""
    if reason := _initialise():
        return [], reason
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        return [], _reason(error)
    every: list[Gpu | None] = []
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID, handle)
            name = _text(pynvml.nvmlDeviceGetName, handle)
        except pynvml.NVMLError as error:
            every.append(None)
            reason = f"GPU {index}: {_reason(error)}"
        else:
            every.append(Gpu(uuid, name, _compute_capability(handle)))
    return every, reason


def _compute_capability(handle: Any) -> tuple[int, int] | None:
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    except pynvml.NVMLError:
        return None
    return int(major), int(minor)


def _shown(visible: str, every: list[Gpu | None]) -> list[Gpu]:
    # CUDA's rule: entries are indices or beginnings of UUIDs; an unknown entry hides itself and all
    # that follow.
    shown: list[Gpu] = []
    for entry in filter(None, map(str.strip, visible.split(","))):
        if entry.startswith("MIG-"):
            shown.append(Gpu(entry, SLICE))
            continue
        found = every[int(entry) : int(entry) + 1] if entry.isdecimal() else every
        matching = [g for g in found if g and (entry.isdecimal() or g.uuid.startswith(entry))]
        if len(matching) != 1:
            break
        shown += matching
    return shown


def memory_bytes(uuid: str) -> int | None:
    """A GPU's total memory in bytes, None where NVML does not report it."""
    if _initialise():
        return None
    try:
        return int(pynvml.nvmlDeviceGetMemoryInfo(_handle(uuid)).total)
    except pynvml.NVMLError:
        return None


def driver_version() -> str | None:
    """The driver's version, None where NVML does not report it."""
    if _initialise():
        return None
    try:
        return _text(pynvml.nvmlSystemGetDriverVersion)
    except pynvml.NVMLError:
        return None


def max_sm_clock_mhz(uuid: str) -> tuple[float | None, str]:
    """The highest SM clock in MHz, or None and the reason."""
    if reason := _initialise():
        return None, reason
    try:
        clock = pynvml.nvmlDeviceGetMaxClockInfo(_handle(uuid), pynvml.NVML_CLOCK_SM)
    except pynvml.NVMLError as error:
        return None, _reason(error)
    return float(clock), ""


def _handle(uuid: str) -> Any:
    return pynvml.nvmlDeviceGetHandleByUUID(uuid)


def read_conditions(uuid: str | None) -> Conditions:
    """The current state of the GPU with this UUID; on a CPU (None) everything is absent."""
    absent: dict[str, str] = {}
    reason = "not a GPU" if uuid is None else _initialise()

    def ask(name: str, query: Callable[[Any], Any]) -> Any:
        if reason:
            absent[name] = reason
            return None
        try:
            return query(_handle(str(uuid)))
        except pynvml.NVMLError as error:
            absent[name] = _reason(error)
            return None

    return Conditions(
        sm_clock_mhz=ask(
            "sm_clock_mhz", lambda h: pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_SM)
        ),
        memory_clock_mhz=ask(
            "memory_clock_mhz", lambda h: pynvml.nvmlDeviceGetClockInfo(h, pynvml.NVML_CLOCK_MEM)
        ),
        temperature_c=ask(
            "temperature_c",
            lambda h: pynvml.nvmlDeviceGetTemperature(h, pynvml.NVML_TEMPERATURE_GPU),
        ),
        power_w=ask("power_w", lambda h: pynvml.nvmlDeviceGetPowerUsage(h) / 1000),
        throttle_reasons=ask("throttle_reasons", _throttle_reasons),
        absent=absent,
    )


def _throttle_reasons(handle: Any) -> list[str]:
    bits = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return [name for bit, name in _THROTTLE_REASONS.items() if bits & bit]


def read_energy_mj(uuid: str | None) -> tuple[int | None, str]:
    """The GPU's energy counter in millijoules, or None and the reason."""
    if uuid is None:
        return None, "not a GPU"
    if reason := _initialise():
        return None, reason
    try:
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(_handle(uuid))), ""
    except pynvml.NVMLError as error:
        return None, _reason(error)


def other_processes(uuid: str | None) -> tuple[int | None, str]:
    """How many processes use the GPU, without mfuscope's workers, or None and the reason."""
    if uuid is None:
        return None, "not a GPU"
    if reason := _initialise():
        return None, reason
    try:
        handle = _handle(uuid)
        running = [
            *pynvml.nvmlDeviceGetComputeRunningProcesses(handle),
            *pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle),
        ]
    except pynvml.NVMLError as error:
        return None, _reason(error)
    pids = {process.pid for process in running}
    if os.getpid() not in pids:
        # NVML numbers processes as the host does, or shows none.
        return None, "NVML does not show this process itself, as in a container"
    return len([pid for pid in pids - {os.getpid()} if not _is_worker(pid)]), ""


def _is_worker(pid: int) -> bool:
    """Whether a process is a worker of mfuscope, which is idle while another one measures."""
    try:
        return _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
