"""Time marks of a device: CUDA events on a GPU, the host's clock on a CPU."""

import time
from typing import Any, Protocol

import torch


class Clock(Protocol):
    """Marks instants in a device's order of work."""

    def mark(self) -> Any:
        """A mark behind the work that was given to the device so far."""
        ...

    def synchronise(self) -> None:
        """Wait until the device has passed every mark."""
        ...

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Milliseconds between two marks, after `synchronise`."""
        ...


class HostClock:
    """The host's clock, for measurements on the CPU."""

    def mark(self) -> int:
        """See `Clock`."""
        return time.perf_counter_ns()

    def synchronise(self) -> None:
        """See `Clock`."""

    def elapsed_ms(self, start: int, end: int) -> float:
        """See `Clock`."""
        return (end - start) / 1e6


class CudaClock:
    """CUDA events on the device's current stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        """See `Clock`."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        # The stream is named, as an event goes to the current device's stream otherwise.
        event.record(torch.cuda.current_stream(self._device))
        return event

    def synchronise(self) -> None:
        """See `Clock`."""
        torch.cuda.synchronize(self._device)

    def elapsed_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """See `Clock`."""
        return float(start.elapsed_time(end))


def device_clock(device: torch.device) -> Clock:
    """The clock of a device."""
    return CudaClock(device) if device.type == "cuda" else HostClock()
