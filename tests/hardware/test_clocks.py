"""Clocks, on fake CUDA events."""

import pytest
import torch

from mfuscope.hardware import clocks
from mfuscope.hardware.clocks import CudaClock

CUDA = torch.device("cuda:1")


def test_an_event_goes_to_the_stream_of_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[object] = []

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: object = "the current device's") -> None:
            log.append(stream)

        def elapsed_time(self, end: object) -> float:
            assert end is not self
            return 2.5

    def current_stream(device: object = None) -> object:
        return f"stream of {device}"

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: log.append(device))
    clock = clocks.device_clock(CUDA)
    assert isinstance(clock, CudaClock)
    start, end = clock.mark(), clock.mark()
    clock.synchronise()
    assert log == ["stream of cuda:1", "stream of cuda:1", CUDA]
    assert clock.elapsed_ms(start, end) == 2.5
