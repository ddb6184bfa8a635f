"""The operator table of one run: calls, host time, device time and memory per operator.

The definitions follow ``torch.profiler``'s ``key_averages()``, so that a reader can compare both;
this module takes a second where ``key_averages()`` takes half a minute. The intended differences:

- Annotations are no operators: they get no rows. An annotation inside an operator takes no time
  from it, and does not separate it from an inner call of the same name.
- A runtime call belongs to the operator that encloses it on its thread, even if the profiler
  recorded no link between them (``key_averages()`` then leaves its time with the operator).
- Memory belongs to the innermost operator on the allocating thread. ``key_averages()`` compares
  only times, so that it counts one record under operators of several threads.
- The profiler's own pauses (a few ms each) name no thread in a trace. Their time is subtracted from
  the enclosing operator or runtime call if only one thread has one; ``key_averages()`` does so for
  some threads.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mfuscope.traces.activity import launches, operator_spans
from mfuscope.traces.intervals import Bools, Ints
from mfuscope.traces.losses import find_losses
from mfuscope.traces.nesting import enclosing, nearest, parents
from mfuscope.traces.spans import ANNOTATION, OPERATOR, OVERHEAD, RUNTIME, STAGES, Spans, Trace

#: Name of the row for device time and memory without an operator.
UNATTRIBUTED: Final = "[unattributed]"

# This table has no annotations, so that their code is free for events without an operator.
_NO_OPERATOR: Final = ANNOTATION
_KIND_NAMES: Final = {
    _NO_OPERATOR: "unattributed",
    OPERATOR: "operator",
    RUNTIME: "runtime",
    OVERHEAD: "overhead",
}


def operator_table(trace: Trace) -> dict[str, list[Any]]:
    """Add up a trace, one row per stage, kind and operator; returns the columns.

    ``kind`` is ``operator``; ``runtime`` for calls of the CUDA runtime or driver; ``overhead`` for
    the profiler's own pauses; ``unattributed`` for the row ``[unattributed]`` of device time and
    memory without an operator, which has no calls. Columns:

    - ``stage``: ``prefill``, ``decode`` or ``outside``, by the start of the event on any thread;
      for device time by the start of the launching call, or where none is known of the event.
    - ``calls``: as in ``key_averages()``, which counts an operator that only wraps another of the
      same name once.
    - ``self_cpu_ms``: host time without child operators, child runtime calls and overhead. Adds up
      to the time of the outermost spans, plus overhead that no operator or call encloses.
    - ``total_cpu_ms``: host time with children, added up over calls; recursive calls count again.
    - ``device_ms``: summed duration of the kernels, copies and memsets that the operator itself
      launched, also through its runtime calls, or that were captured under it and replayed as part
      of a CUDA graph (`traces.replays`); a replay calls no operator. Adds up to the duration of all
      device events. None in every row if the trace holds no device event, and in the rows of a
      stage of which it lost a part (`traces.losses`).
    - ``self_cpu_memory_bytes``, ``self_device_memory_bytes``: allocated minus freed by the
      operator itself. None in every row if the trace holds no memory record.

    Rows are sorted by stage, falling device time, falling self time, and name.
    """
    host, overhead, device, memory = trace.host, trace.overhead, trace.device, trace.memory
    parent = parents(host)

    # A number encodes each row (stage, kind, name); sums cover all numbers, then only rows in use.
    names = (*trace.names, UNATTRIBUTED)
    size = len(STAGES) * len(_KIND_NAMES) * len(names)

    def row(stage: Ints, kind: Ints, name: Ints) -> Ints:
        return (stage * len(_KIND_NAMES) + kind) * len(names) + name

    def row_of(stage: Ints, span: Ints) -> Ints:
        """Rows of the host spans with these indices; -1 is no operator."""
        kind = np.append(host.kind, _NO_OPERATOR)[span]
        return row(stage, kind, np.append(host.name, len(trace.names))[span])

    def sums(rows: Ints, amount: Ints) -> Ints:
        # Doubles hold integers exactly up to 2^53: 104 days in ns, 8 PiB.
        total: Ints = np.bincount(rows, weights=amount, minlength=size).astype(np.int64)[used]
        return total

    # A repeat's time goes to the row of the call that it repeats, even in an earlier stage.
    counts = ~_repeats(host, parent)
    counting = nearest(parent, np.arange(len(host)), counts)
    pause = overhead.end - overhead.start
    cpu_rows = np.concatenate(
        [
            row_of(trace.stage_at(host.start[counting]), counting),
            row(trace.stage_at(overhead.start), overhead.kind, overhead.name),
        ]
    )
    self_ns = np.concatenate([_self_time(host, parent, overhead), pause])
    total_ns = np.concatenate([host.end - host.start, pause])
    counted = np.concatenate([counts, np.ones(len(overhead), dtype=np.bool_)])

    launch, is_operator = launches(trace), host.kind == OPERATOR
    device_rows = row_of(launch.stage, operator_spans(launch, host, parent))
    replays = launch.replays  # captured under operators that this trace need not hold
    captured = np.where(replays.operator >= 0, replays.operator, len(trace.names))
    captured_kind = np.where(replays.operator >= 0, OPERATOR, _NO_OPERATOR)
    captured_rows = row(launch.stage, captured_kind, captured)
    device_rows = np.where(replays.replayed, captured_rows, device_rows)

    running = enclosing(host, parent, memory.thread, memory.time, memory.time)
    memory_rows = row_of(trace.stage_at(memory.time), nearest(parent, running, is_operator))

    used = np.unique(np.concatenate([cpu_rows, device_rows, memory_rows]))
    stage_and_kind, name = np.divmod(used, len(names))
    stage, kind = np.divmod(stage_and_kind, len(_KIND_NAMES))
    device_ns = sums(device_rows, device.end - device.start)

    self_cpu_ns = sums(cpu_rows, self_ns)
    label = np.array([names[i] for i in name], dtype=np.str_)
    order = np.lexsort((label, -self_cpu_ns, -device_ns, stage))

    lost = [bool(find_losses(trace, replays).reason(name)) for name in STAGES]
    whole = np.array([len(device) > 0 and not one for one in lost], dtype=np.bool_)[stage]
    device_ms = np.where(whole, device_ns / 1e6, np.nan)[order]

    def memory_column(nbytes: Ints) -> list[int | None]:
        held = sums(memory_rows, nbytes)[order].tolist()
        return held if len(memory) else [None] * len(held)

    return {
        "stage": [STAGES[i] for i in stage[order]],
        "kind": [_KIND_NAMES[i] for i in kind[order]],
        "operator": [names[i] for i in name[order]],
        "calls": np.bincount(cpu_rows[counted], minlength=size)[used][order].tolist(),
        "self_cpu_ms": (self_cpu_ns / 1e6)[order].tolist(),
        "total_cpu_ms": (sums(cpu_rows[counted], total_ns[counted]) / 1e6)[order].tolist(),
        "device_ms": [None if np.isnan(ms) else ms for ms in device_ms.tolist()],
        "self_cpu_memory_bytes": memory_column(memory.cpu_bytes),
        "self_device_memory_bytes": memory_column(memory.device_bytes),
    }


def _self_time(host: Spans, parent: Ints, overhead: Spans) -> Ints:
    """Nanoseconds of each span, without its children and overhead."""
    duration = host.end - host.start
    owner = np.concatenate([parent, _interrupted(host, parent, overhead)])
    taken = np.concatenate([duration, overhead.end - overhead.start])
    owned = owner >= 0
    spent = np.bincount(owner[owned], weights=taken[owned], minlength=len(host))
    return duration - spent.astype(np.int64)


def _interrupted(host: Spans, parent: Ints, overhead: Spans) -> Ints:
    """Innermost span around each pause; -1 if there is none, or on several threads."""
    found = np.full(len(overhead), -1, dtype=np.int64)
    threads = np.zeros(len(overhead), dtype=np.int64)
    for thread in np.unique(host.thread) if len(overhead) else ():
        here = np.full(len(overhead), thread)
        span = enclosing(host, parent, here, overhead.start, overhead.end)
        found = np.where(span >= 0, span, found)
        threads += span >= 0
    return np.where(threads == 1, found, -1)


def _repeats(host: Spans, parent: Ints) -> Bools:
    """Whether a span is the only child of a span of its name: the same call, recorded twice."""
    nested = parent >= 0
    only: Bools = np.bincount(parent[nested], minlength=len(host)) == 1
    same: Bools = host.name[parent] == host.name
    return nested & only[parent] & same
