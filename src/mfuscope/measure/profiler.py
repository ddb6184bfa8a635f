"""Traces a pass with torch.profiler, and detaches the profiler afterwards."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core.text import one_line

# By default CUPTI stays attached to a process after its first trace, and slows every later pass by
# half (benchmarks/README.md), the timed passes of later runs included. Kineto reads this variable
# at the end of a trace; torch itself sets it to 0 where CUDA graphs would fail.
os.environ["TEARDOWN_CUPTI"] = "1"

# How far the time of day may drift from the monotonic clock during a trace:
_DRIFT = 1e-3  # of the trace's length, as time synchronisation adjusts the rate
_JITTER = 1e-4  # seconds, between two clock reads on a busy machine


@contextmanager
def recording(settings: ProfilerSettings, device: torch.device) -> Iterator[torch.profiler.profile]:
    """Trace the body; afterwards the process runs as fast as before its first trace."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(
        activities=activities,
        record_shapes=settings.record_shapes,
        profile_memory=settings.profile_memory,
        with_stack=settings.with_stack,
    ) as profile:
        yield profile
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # the first runtime call after a trace detaches CUPTI


def attach_once(device: torch.device) -> None:
    """Trace the GPU once, before any other trace.

    A process whose first trace covers only the CPU may miss the kernels of its next trace.
    """
    if device.type == "cuda":
        with recording(ProfilerSettings(None, False, False, False), device):
            torch.ones(1, device=device).sum().item()


def trace_label(values: Mapping[str, str]) -> str:
    """Texts as JSON for a profile's ``add_metadata_json``, without any JSON escape.

    ``add_metadata_json`` turns backslashes into slashes, so that an escaped quote would end its
    string and make the trace invalid.
    """
    plain = {key: one_line(text).replace("\\", "/") for key, text in values.items()}
    texts = {key: text.replace('"', "'") for key, text in plain.items()}
    return json.dumps(texts, ensure_ascii=False)


class WallClock:
    """Detects whether the time of day was set since the object was created.

    Kineto converts ticks of the processor by the time of day at the start and the end of a trace.
    If the time of day was set in between, every duration in the trace is wrong, by any factor.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lead = _lead()

    def was_set(self) -> bool:
        """Whether the time of day moved by more than drift explains."""
        allowed = _DRIFT * (time.monotonic() - self._started) + _JITTER
        return abs(_lead() - self._lead) > allowed


def _lead() -> float:
    """Time of day minus monotonic clock, in seconds."""
    reads = []
    for _ in range(5):
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        wall = time.clock_gettime(time.CLOCK_REALTIME)
        reads.append((time.clock_gettime(time.CLOCK_MONOTONIC) - before, wall - before))
    return min(reads)[1]  # of the read that took the shortest time
