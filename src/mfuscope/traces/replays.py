"""The operators of replayed CUDA graphs.

Between ``cudaStreamBeginCapture`` and ``cudaStreamEndCapture`` the host makes every launch under
its operator, but nothing runs. A replay runs the same launches in the same order, as one call. So
a trace around a capture and its first replay gives the operator of each kernel, and later replays
are recognised by the names of their kernels, in order. Where counts, kinds or names differ, the
operators are unknown: nothing is guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mfuscope.traces.columns import read_window
from mfuscope.traces.graphs import CapturedGraph
from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.nesting import nearest, parents
from mfuscope.traces.spans import COPY_NAME, KERNEL, OPERATOR, RUNTIME, Trace

#: Calls that begin and end a capture, and that replay what was captured.
BEGIN: Final = re.compile(r"(cu|cuda)StreamBeginCapture")
END: Final = re.compile(r"(cu|cuda)StreamEndCapture")
REPLAY: Final = re.compile(r"(cu|cuda)GraphLaunch")
_KERNEL_LAUNCH: Final = re.compile(r"(cu|cuda)Launch(Cooperative)?Kernel")
_COPY: Final = re.compile(r"(cu|cuda)(Memcpy|Memset)")
# Inductor's kernels run under an operator of the same name.
_TRITON: Final = "triton_"


def read_capture(path: Path) -> CapturedGraph | str:
    """The graph that was captured and replayed once in a trace, or why it is not known.

    Raises:
        TraceError: see `columns.read_trace`.
    """
    trace = read_window(path)
    begin, end = _calls(trace, BEGIN), _calls(trace, END)
    replays = _calls(trace, REPLAY)
    if len(begin) != 1 or len(end) != 1 or len(replays) != 1:
        return (
            f"its trace holds {len(begin)} begins and {len(end)} ends of a capture and "
            f"{len(replays)} replays instead of one of each"
        )
    launches = _captured_launches(trace, int(begin[0]), int(end[0]))
    nodes = _nodes(trace, int(replays[0]))
    if len(launches) != len(nodes):
        return f"{len(launches)} launches were captured, and {len(nodes)} kernels replayed"
    host, device = trace.host, trace.device
    is_kernel = [bool(_KERNEL_LAUNCH.match(trace.names[i])) for i in host.name[launches]]
    if is_kernel != (device.kind[nodes] == KERNEL).tolist():
        return "captured launches and replayed kernels are of different kinds"
    within = nearest(parents(host), launches, host.kind == OPERATOR)
    operators = [trace.names[host.name[i]] if i >= 0 else "" for i in within]
    kernels = [trace.names[i] for i in device.name[nodes]]
    # A second look at the order: Inductor names a kernel and the operator that launches it alike.
    for operator, kernel in zip(operators, kernels, strict=True):
        if operator.startswith(_TRITON) and operator != kernel:
            return f"{operator} was captured where {kernel} was replayed"
    return CapturedGraph(tuple(kernels), tuple(operators))


@dataclass(frozen=True, slots=True, eq=False)
class Replays:
    """The replays of graphs in a trace, and the operators of their kernels.

    ``call``: index into ``Trace.host`` of each launch of a graph. ``events``: how many kernels,
    copies and memsets each one ran. ``known``: whether it runs what a captured graph holds.
    ``partial``: whether the trace lost events of it: it runs nothing, or a part of a known graph.
    ``operator``: for each device event the name (index into ``Trace.names``) of the operator that
    was captured; -1 outside of replays and where the operator is not known. ``replayed``: whether
    the event belongs to a replay.
    """

    call: Ints
    events: Ints
    known: Bools
    partial: Bools
    operator: Ints
    replayed: Bools


def find_replays(trace: Trace) -> Replays:
    """Find the replays of a trace and recognise the graphs by the names of their kernels."""
    number = {name: i for i, name in enumerate(trace.names)}
    graphs: dict[tuple[str, ...], Ints] = {}
    for graph in trace.graphs:
        own = np.array([number[name] if name else -1 for name in graph.operators], dtype=np.int64)
        # Of graphs with the same kernels, operators are known where they agree.
        kernels = _canonical(graph.kernels)
        graphs[kernels] = np.where(own == graphs.get(kernels, own), own, -1)
    sizes = [Counter(kernels) for kernels in graphs]
    calls = _calls(trace, REPLAY)
    operator = np.full(len(trace.device), -1, dtype=np.int64)
    belongs = np.zeros(len(trace.device), dtype=np.bool_)
    events = np.zeros(len(calls), dtype=np.int64)
    known, partial = (np.zeros(len(calls), dtype=np.bool_) for _ in range(2))
    for place, call in enumerate(calls.tolist()):
        nodes = _nodes(trace, call)
        events[place], belongs[nodes] = len(nodes), True
        kernels = _canonical([trace.names[i] for i in trace.device.name[nodes]])
        found = graphs.get(kernels)
        if len(nodes) and found is not None:
            known[place], operator[nodes] = True, found
        else:
            ran = Counter(kernels)
            partial[place] = not ran or any(ran < whole for whole in sizes)
    return Replays(calls, events, known, partial, operator, belongs)


def _canonical(kernels: Sequence[str]) -> tuple[str, ...]:
    """Names of kernels, with one name for all copies and one for all memsets.

    The driver may run a captured copy as a kernel of its own, and a trace may not know the kind of
    a memset's memory.
    """
    return tuple(match[1].lower() if (match := COPY_NAME.match(name)) else name for name in kernels)


def _nodes(trace: Trace, call: int) -> Ints:
    """Indices of the device events of a graph launch, in the order in which they started."""
    mine = np.flatnonzero(trace.device.correlation == trace.host.correlation[call])
    return mine[np.argsort(trace.device.start[mine], kind="stable")]


def _calls(trace: Trace, pattern: re.Pattern[str]) -> Ints:
    host = trace.host
    return np.flatnonzero((host.kind == RUNTIME) & trace.named(pattern)[host.name])


def _captured_launches(trace: Trace, begin: int, end: int) -> Ints:
    """Launches, copies and memsets between two calls, on their thread, that ran nothing."""
    host = trace.host
    launching = trace.named(_KERNEL_LAUNCH) | trace.named(_COPY)
    return np.flatnonzero(
        (host.kind == RUNTIME)
        & launching[host.name]
        & (host.thread == host.thread[begin])
        & (host.start > host.end[begin])
        & (host.end < host.start[end])
        & ~np.isin(host.correlation, trace.device.correlation)
    )
