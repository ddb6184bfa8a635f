"""Launches, kernels and the device's busy time in each stage of a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfuscope.core.records import Activity, StageActivity
from mfuscope.core.runs import RunKey
from mfuscope.traces.columns import (
    KERNEL,
    OPERATOR,
    OUTSIDE,
    RUNTIME,
    STAGES,
    STEP_PREFIX,
    Bools,
    Ints,
    Trace,
)


@dataclass(frozen=True, slots=True, eq=False)
class Launches:
    """The launching call, operator and stage of each device event of a trace.

    ``call``: index into ``Trace.host`` of the launching call, by correlation number.
    ``operator``: index of the operator that the profiler names as running at the launch, as in
    ``key_averages()``. Both are -1 where the trace does not say; a CUDA graph launch, for example,
    has a call but no operator. ``stage``: code of the stage in which the call started, or without
    a call the operator; the event itself may run in a later stage. ``outside`` if neither is known.
    """

    call: Ints
    operator: Ints
    stage: Ints


def launches(trace: Trace) -> Launches:
    """Find the call, the operator and the stage that launched each device event."""
    host, device = trace.host, trace.device
    call = _find(device.correlation, host.correlation, host.kind == RUNTIME)
    operator = _find(device.external_id, host.external_id, host.kind == OPERATOR)
    origin = np.where(call >= 0, call, operator)
    stage = np.full(len(device), OUTSIDE, dtype=np.int64)
    stage[origin >= 0] = trace.stage_at(host.start[origin[origin >= 0]])
    return Launches(call, operator, stage)


def activity(trace: Trace, key: RunKey, weights: str) -> Activity:
    """Wall time, device time and kernels of ``prefill`` and, if the run had one, ``decode``.

    ``wall_ms``: length of the stage's annotation. ``steps``: decode steps in it. ``kernels``:
    kernels launched in it, without copies and memsets. ``device_busy_ms``: time in which at least
    one device event launched in it was running, on any stream, also after the stage's end. The last
    two are None if the trace holds no device event.

    Args:
        key: the run that the trace is of.
        weights: kind of the model's weights, such as ``dummy``; every artefact records it.
    """
    annotations, device = trace.annotations, trace.device
    is_step = np.array([name.startswith(STEP_PREFIX) for name in trace.names], dtype=np.bool_)
    step_stage = trace.stage_at(annotations.start[is_step[annotations.name]])
    launched_in = launches(trace).stage
    stages = {}
    for stage, (start, end) in trace.windows.items():
        code = STAGES.index(stage)
        mine = launched_in == code
        busy_ns = _union(device.start[mine], device.end[mine])
        stages[stage] = StageActivity(
            wall_ms=(end - start) / 1e6,
            steps=int(np.count_nonzero(step_stage == code)),
            kernels=int(np.count_nonzero(device.kind[mine] == KERNEL)) if len(device) else None,
            device_busy_ms=busy_ns / 1e6 if len(device) else None,
        )
    no_device = "the trace holds no device event"
    return Activity(
        variant=key.variant,
        image=key.image,
        repeat=key.repeat,
        weights=weights,
        trace_events=trace.events,
        stages=stages,
        absent={} if len(device) else dict.fromkeys(("kernels", "device_busy_ms"), no_device),
    )


def _find(wanted: Ints, keys: Ints, eligible: Bools) -> Ints:
    """Index of the first eligible key equal to each wanted number, else -1; keys of 0 are unset."""
    candidates = np.flatnonzero(eligible & (keys != 0))
    if not candidates.size:
        return np.full(len(wanted), -1, dtype=np.int64)
    candidates = candidates[np.argsort(keys[candidates], kind="stable")]
    sorted_keys = keys[candidates]
    place = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[place] == wanted, candidates[place], -1)


def _union(start: Ints, end: Ints) -> int:
    """Nanoseconds covered by at least one of the intervals."""
    if not start.size:
        return 0
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    reached = np.maximum.accumulate(end)
    begin = start.copy()
    begin[1:] = np.maximum(start[1:], reached[:-1])
    return int(np.maximum(end - begin, 0).sum())
