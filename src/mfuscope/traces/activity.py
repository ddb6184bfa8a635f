"""Launches, kernels and the device's busy time in each stage of a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mfuscope.core.errors import TraceError
from mfuscope.core.records import Activity, StageActivity
from mfuscope.core.runs import RunKey
from mfuscope.traces.intervals import Bools, Ints, union
from mfuscope.traces.losses import find_losses
from mfuscope.traces.nesting import nearest
from mfuscope.traces.replays import Replays, find_replays
from mfuscope.traces.spans import (
    KERNEL,
    OPERATOR,
    RUNTIME,
    STAGES,
    STEP_PREFIX,
    Spans,
    Trace,
)
from mfuscope.traces.waiting import waiting

# Values of a stage that need all of its device events, and those that need any.
_WHOLE = ("kernels", "device_busy_ms", "waiting")
_COUNTED = ("graph_launches", "launches", "lost_launches")


@dataclass(frozen=True, slots=True, eq=False)
class Launches:
    """The launching call, operator and stage of each device event of a trace.

    ``call``: index into ``Trace.host`` of the launching call, by correlation number.
    ``operator``: index of the operator that the profiler names as running at the launch, as in
    ``key_averages()``. Both are -1 where the trace does not say, and ``operator`` for all events of
    ``replays``, whose operators were captured earlier. ``stage``: code of the stage in which the
    call started, or without a call the operator; the event itself may run in a later stage. If
    neither is known, the stage in which the event itself started, or the last one before it.
    """

    call: Ints
    operator: Ints
    stage: Ints
    replays: Replays

    @property
    def unclaimed(self) -> Bools:
        """Which events no call of the trace launched."""
        return self.call < 0


def launches(trace: Trace) -> Launches:
    """Find the call, the operator and the stage that launched each device event."""
    host, device = trace.host, trace.device
    call = _find(device.correlation, host.correlation, host.kind == RUNTIME)
    operator = _find(device.external_id, host.external_id, host.kind == OPERATOR)
    replays = find_replays(trace)
    operator[replays.replayed] = -1  # what encloses the launch of a graph is none of its operators
    origin = np.where(call >= 0, call, operator)
    # The device works off its launches after the host has left the last stage.
    last = max(end for _, end in trace.windows.values()) - 1
    started = np.minimum(device.start, last)
    started[origin >= 0] = host.start[origin[origin >= 0]]
    return Launches(call, operator, trace.stage_at(started), replays)


def operator_spans(found: Launches, host: Spans, parent: Ints) -> Ints:
    """For each device event the span (index into ``Trace.host``) of its operator, else -1.

    The one that the profiler names, else the innermost around the launching call. Events of replays
    have none here: see `Launches`.

    Args:
        parent: see `nesting.parents`.
    """
    caller = nearest(parent, found.call, host.kind == OPERATOR)
    return np.where(found.operator >= 0, found.operator, caller)


def activity(trace: Trace, key: RunKey, weights: str, steps: int) -> Activity:
    """Wall time, device time and kernels of ``prefill`` and, if the run had one, ``decode``.

    ``wall_ms``: length of the stage's annotation. ``steps``: decode steps in it. ``launches``:
    calls in it that launch a kernel, a copy or a graph; ``lost_launches``: those whose
    device events the trace lacks. ``kernels``: kernels launched in it, those of replayed CUDA
    graphs included, without copies and memsets. ``device_busy_ms``: time in which at least one
    device event launched in it was running, on any stream, also after the stage's end.
    ``graph_launches``: replays of CUDA graphs. ``waiting``: see `traces.waiting`. All but the first
    two are None if the trace holds no device event; kernels, busy time and waiting are None too if
    the trace lost a part of the stage (`traces.losses`).

    Args:
        key: the run that the trace is of.
        weights: kind of the model's weights, such as ``dummy``; every artefact records it.
        steps: decode steps that the traced pass made.

    Raises:
        TraceError: the trace holds another number of decode steps.
    """
    annotations, device = trace.annotations, trace.device
    is_step = np.array([name.startswith(STEP_PREFIX) for name in trace.names], dtype=np.bool_)
    annotated = int(np.count_nonzero(is_step[annotations.name]))
    # A pass that ends early, at an end-of-sequence token, has opened a step that it never makes.
    if annotated not in (steps, steps + 1):
        raise TraceError(
            trace.path, f"holds {annotated} decode steps, and its run made {steps} of them"
        )
    found = launches(trace)
    replays, losses = found.replays, find_losses(trace, found.replays)
    replayed_in = trace.stage_at(trace.host.start[replays.call])
    absent = {}
    if lacking := losses.reasons(trace.windows):
        absent = dict.fromkeys(_WHOLE, lacking)
    if not len(device):
        no_device = "the trace holds no device event"
        absent = dict.fromkeys((*_WHOLE, *_COUNTED, "unclaimed_share"), no_device)
    elif not replays.known.all():
        absent["graph_operators"] = (
            f"{np.count_nonzero(~replays.known)} of {len(replays.call)} launches of CUDA graphs "
            "run other kernels than the graphs whose capture was traced"
        )
    stages = {}
    for stage, (start, end) in trace.windows.items():
        code = STAGES.index(stage)
        mine = found.stage == code
        traced = StageActivity(
            wall_ms=(end - start) / 1e6,
            steps=steps if stage == "decode" else 0,
            kernels=None,
            device_busy_ms=None,
        )
        if len(device):
            traced = replace(
                traced,
                graph_launches=int(np.count_nonzero(replayed_in == code)),
                launches=int(losses.launches[code]),
                lost_launches=int(losses.lost[code]),
            )
        if len(device) and not losses.reason(stage):
            traced = replace(
                traced,
                kernels=int(np.count_nonzero(device.kind[mine] == KERNEL)),
                device_busy_ms=union(device.start[mine], device.end[mine]).length / 1e6,
                waiting=waiting(trace, stage),
            )
        stages[stage] = traced
    ran = device.end - device.start
    return Activity(
        variant=key.variant,
        image=key.image,
        repeat=key.repeat,
        weights=weights,
        trace_events=trace.events,
        stages=stages,
        repaired=trace.repaired,
        unclaimed_share=float(ran[found.unclaimed].sum() / ran.sum()) if ran.any() else None,
        absent=absent,
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
