"""torch.profiler around a pass, without anything that it leaves in the process."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from mfuscope.config.settings import ProfilerSettings
from mfuscope.core.text import one_line

# By default CUPTI stays attached to a process that has traced once, and slows every pass after it
# by half (benchmarks/README.md): the timed passes of all later runs. Kineto reads this at the end
# of a trace; torch itself sets it to 0 where CUDA graphs would not bear it.
os.environ["TEARDOWN_CUPTI"] = "1"

# What the time of day may gain or lose meanwhile:
_DRIFT = 1e-3  # of a trace's length, as clocks that are being disciplined do
_JITTER = 1e-4  # seconds, between two reads of a busy machine's clocks


@contextmanager
def recording(settings: ProfilerSettings, device: torch.device) -> Iterator[torch.profiler.profile]:
    """Trace what runs within; afterwards the process runs as if it had never traced."""
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
    """Have the profiler find the GPU before anything else is traced, and let it go again.

    A process whose first trace is of the CPU alone may miss the kernels of its next one.
    """
    if device.type == "cuda":
        with recording(ProfilerSettings(None, False, False, False), device):
            torch.ones(1, device=device).sum().item()


def trace_label(values: Mapping[str, str]) -> str:
    """Texts as JSON for a profile's ``add_metadata_json``, which makes slashes of backslashes.

    An escaped quote would thereby end its string, and spoil the trace: no escape is left here.
    """
    plain = {key: one_line(text).replace("\\", "/") for key, text in values.items()}
    texts = {key: text.replace('"', "'") for key, text in plain.items()}
    return json.dumps(texts, ensure_ascii=False)


class WallClock:
    """Tells whether the time of day was set since this was made.

    Kineto counts ticks of the processor, and converts them by the time of day at the start and at
    the end of a trace: where that was set in between, every duration in the trace is wrong, by any
    factor.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lead = _lead()

    def was_set(self) -> bool:
        """Whether it is off by more than clocks drift."""
        allowed = _DRIFT * (time.monotonic() - self._started) + _JITTER
        return abs(_lead() - self._lead) > allowed


def _lead() -> float:
    """By how much the time of day is ahead of the monotonic clock, in seconds."""
    reads = []
    for _ in range(5):
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        wall = time.clock_gettime(time.CLOCK_REALTIME)
        reads.append((time.clock_gettime(time.CLOCK_MONOTONIC) - before, wall - before))
    return min(reads)[1]  # of the read that the least came between
