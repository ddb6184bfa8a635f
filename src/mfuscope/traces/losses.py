"""Launches whose device events a trace lacks.

CUPTI drops events when its buffers run out, and some versions of CUDA lose those at the start of a
trace. What remains looks like a device that waits. In a whole trace every launch has its event:
the launches without one tell how much is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mfuscope.traces.columns import read_launches
from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.replays import BEGIN, END, Replays, find_replays
from mfuscope.traces.spans import RUNTIME, STAGES, Trace

#: Share of a stage's launches that may lack their event: more, and its device times are absent.
LOST_LIMIT: Final = 0.005

# Launches of kernels, copies and graphs. Functions of the host are none: they run there. Nor are
# memsets: cuBLAS sets workspaces of no bytes to zero before some products, which runs nothing, and
# a trace does not say how many bytes a memset has.
_LAUNCHING: Final = re.compile(r"(cu|cuda)(Launch(Cooperative)?Kernel|Memcpy|GraphLaunch)")
_MEMSET: Final = re.compile("memset", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Launches and lost launches, one number per stage (see ``STAGES``).

    ``lost_replays``: launches of graphs that lack some of their kernels, which `lost` has too.
    """

    launches: Ints
    lost: Ints
    lost_replays: Ints

    def reason(self, stage: str) -> str:
        """Why the device events of a stage must not be taken for the whole; empty if they may."""
        code = STAGES.index(stage)
        launches, lost, replays = (
            int(one[code]) for one in (self.launches, self.lost, self.lost_replays)
        )
        if replays and replays == lost:
            return f"the trace lost kernels of {replays} launches of CUDA graphs in {stage}"
        if replays or lost > LOST_LIMIT * launches:
            return f"the trace lost the device events of {lost} of {launches} launches in {stage}"
        return ""

    def reasons(self, stages: Iterable[str]) -> str:
        """The reasons of several stages in one text."""
        return "; ".join(filter(None, map(self.reason, stages)))


def lost_events(path: Path) -> str:
    """Which device events a trace lost, stage by stage; empty if it is whole.

    Reads launches and device events only: half a second for 400,000 events.

    Raises:
        TraceError, OSError: see `columns.read_trace`.
    """
    trace = read_launches(path)
    return find_losses(trace).reasons(trace.windows)


def find_losses(trace: Trace, replays: Replays | None = None) -> Losses:
    """Count the launches of each stage, and those whose device events the trace lacks.

    What is captured into a graph runs with its replay and is no launch. Device events that name no
    launch of the trace may be those of launches without one: only what is missing beyond them is
    lost. In which stage is then unknown, so that each stage counts all that it may have lost.

    Args:
        replays: those of the trace, if they are known already.
    """
    host, device = trace.host, trace.device
    replays = find_replays(trace) if replays is None else replays
    is_call = host.kind == RUNTIME
    is_launch = is_call & trace.named(_LAUNCHING)[host.name]
    has_event = np.isin(host.correlation, device.correlation) & (host.correlation != 0)
    is_launch &= has_event | ~_capturing(trace)
    stage = trace.stage_at(host.start)
    bare = is_launch & ~has_event
    # A replay without kernels stands for as many events as the smallest graph has.
    stands_for = np.ones(len(host), dtype=np.int64)
    stands_for[replays.call] = min((len(graph.kernels) for graph in trace.graphs), default=1)
    is_memset = trace.named(_MEMSET)[device.name]
    claimed = np.isin(device.correlation, host.correlation[is_call])
    unclaimed = np.count_nonzero(~claimed & ~is_memset)
    missing = max(int(stands_for[bare].sum()) - int(unclaimed), 0)
    in_part = np.zeros(len(host), dtype=np.bool_)
    in_part[replays.call] = replays.partial & (replays.events > 0)
    is_replay = np.zeros(len(host), dtype=np.bool_)
    is_replay[replays.call] = True

    def by_stage(wanted: Bools) -> Ints:
        return np.bincount(stage[wanted], minlength=len(STAGES)).astype(np.int64)

    return Losses(
        launches=by_stage(is_launch),
        lost=np.minimum(by_stage(bare), missing) + by_stage(in_part),
        lost_replays=np.minimum(by_stage(bare & is_replay), missing) + by_stage(in_part),
    )


def _capturing(trace: Trace) -> Bools:
    """Which host events lie between the begin and the end of a capture, on its thread."""
    host = trace.host
    call = host.kind == RUNTIME
    begins, ends = (call & trace.named(pattern)[host.name] for pattern in (BEGIN, END))
    inside = np.zeros(len(host), dtype=np.bool_)
    for thread in np.unique(host.thread[begins]):
        mine = host.thread == thread
        depth = np.cumsum(begins[mine].astype(np.int64) - ends[mine])
        inside[mine] = depth > 0
    return inside
