"""One measurement at a time on a device: a lock that every workflow of a user respects."""

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mfuscope.core.errors import UserError
from mfuscope.worker.runtime import Runtime

_PAUSE_S = 0.02  # between two attempts while all devices are taken


@dataclass(frozen=True, slots=True)
class MeasuringDevice:
    """A device that can be leased.

    Attributes:
        id: ``cpu``, or the GPU's UUID: the same card whatever a process's numbering.
        torch_name: what torch calls it in a process that is shown this device alone.
    """

    id: str
    torch_name: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables that show a process this device alone."""
        return {"CUDA_VISIBLE_DEVICES": "" if self.id == "cpu" else self.id}

    def show_alone(self) -> None:
        """Show this process this device alone; to be called before torch looks for GPUs."""
        os.environ.update(self.environment)


@dataclass(frozen=True, slots=True)
class Lease:
    """A device that is held, and the open lock: the worker gets the same one."""

    device: MeasuringDevice
    file: int


def candidates(device: str) -> list[MeasuringDevice]:
    """The devices that a planned device may mean.

    Args:
        device: ``cpu``, ``cuda:N``, or ``cuda``: any visible GPU of the first one's model.

    Raises:
        UserError: the job sees no such GPU, though planning did.
    """
    if device == "cpu":
        return [MeasuringDevice("cpu", "cpu")]
    from mfuscope.hardware import nvml  # not for the CPU: jobs pay for every import

    gpus, reason = nvml.visible_gpus()
    if device != "cuda":
        index = int(device.partition(":")[2])
        gpus = gpus[index : index + 1]
    if not gpus:
        raise UserError(
            f"device: {device!r} is not visible to this job{f' ({reason})' if reason else ''}",
            "check nvidia-smi and CUDA_VISIBLE_DEVICES where the job runs",
        )
    return [MeasuringDevice(gpu.uuid, "cuda") for gpu in gpus if gpu.name == gpus[0].name]


@contextmanager
def lease(
    runtime: Runtime,
    devices: Sequence[MeasuringDevice],
    prefer: Callable[[MeasuringDevice], bool] = lambda device: False,
) -> Iterator[Lease]:
    """Hold one of the devices as soon as one is free, a preferred one if there is a choice.

    The lock belongs to the open file: it lasts until no process has that open any more.
    """
    ordered = sorted(devices, key=lambda device: not prefer(device))
    held = _try(runtime, ordered)
    if held is None:
        names = ", ".join(device.id for device in devices)
        print(f"waiting for another measurement on {names} to end ...", file=sys.stderr)
    while held is None:
        time.sleep(_PAUSE_S)
        held = _try(runtime, ordered)
    try:
        yield held
    finally:
        os.close(held.file)


def _try(runtime: Runtime, devices: Sequence[MeasuringDevice]) -> Lease | None:
    for device in devices:
        file = os.open(runtime.lock_file(device.id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
        else:
            return Lease(device, file)
    return None
