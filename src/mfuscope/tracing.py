"""torch.profiler around a pass, without anything that it leaves in the process."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from mfuscope.printable import one_line
from mfuscope.settings import ProfilerSettings

# By default CUPTI stays attached to a process that has traced once, and slows every pass after it
# by half (benchmarks/README.md): the timed passes of all later runs. Kineto reads this at the end
# of a trace; torch itself sets it to 0 where CUDA graphs would not bear it.
os.environ["TEARDOWN_CUPTI"] = "1"


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
