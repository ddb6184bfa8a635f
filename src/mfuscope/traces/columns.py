"""Reads the Chrome trace of one run into columns, and times its stages.

torch.profiler (Kineto) exports the trace of one ``generate()`` call, whose stages are
``record_function`` annotations. This module classifies the events (host or device, and which kind)
and finds the times of the stages; :mod:`mfuscope.traces.activity` finds the launching calls, and
:mod:`mfuscope.traces.operators` builds the operator table. None of them imports torch, as they run
on machines without an accelerator.

All times are integer nanoseconds since the trace's own epoch. Kineto writes microseconds with
three decimals, so the conversion is exact, and comparing integers decides nesting.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

import numpy as np

from mfuscope.core.errors import TraceError
from mfuscope.traces.file import Event, read_document
from mfuscope.traces.graphs import CapturedGraph, from_metadata
from mfuscope.traces.intervals import Ints
from mfuscope.traces.repairs import repaired
from mfuscope.traces.spans import (
    ANNOTATION,
    COPY,
    COPY_NAME,
    KERNEL,
    OPERATOR,
    OUTSIDE,
    OVERHEAD,
    RUNTIME,
    STAGES,
    STEP_PREFIX,
    MemoryRecords,
    Spans,
    Trace,
)

_ANNOTATION_KINDS: Final = {"user_annotation": ANNOTATION}
_HOST_KINDS: Final = {"cpu_op": OPERATOR, "cuda_runtime": RUNTIME, "cuda_driver": RUNTIME}
# The profiler's own pauses happen on host threads, but Kineto does not say on which.
_OVERHEAD_KINDS: Final = {"overhead": OVERHEAD}
# Without `gpu_user_annotation`, which spans kernels that are counted themselves.
_DEVICE_KINDS: Final = {"kernel": KERNEL, "gpu_memcpy": COPY, "gpu_memset": COPY}
# All that `read_launches` reads.
_LAUNCH_CATEGORIES: Final = frozenset(
    {*_ANNOTATION_KINDS, "cuda_runtime", "cuda_driver", *_DEVICE_KINDS}
)
_MEMORY_CATEGORY: Final = "cpu_instant_event"
_MEMORY_NAME: Final = "[memory]"

# The profiler's own operators, which key_averages() hides too; their time stays with the parent.
_HIDDEN: Final = frozenset(
    {
        "profiler::_record_function_enter",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "aten::is_leaf",
        "aten::output_nr",
        "aten::_version",
    }
)

# c10::DeviceType, in the groups of key_averages().
_CPU_DEVICE_TYPES: Final = (0, 2, 5)  # CPU, MKLDNN, IDEEP
_ACCELERATOR_DEVICE_TYPES: Final = (1, 6, 12, 20)  # CUDA, HIP, XPU, PrivateUse1

# More microseconds than this would overflow an int64 of nanoseconds.
_MAX_US: Final = 9e15


def read_trace(path: str | Path) -> Trace:
    """Read a trace, gzipped or plain; its first bytes decide, not its name.

    Peak memory is about the text's size plus 0.5 kB per event.

    Raises:
        TraceError: the file is empty, damaged, truncated or no Chrome trace, does not hold
            exactly one ``prefill`` annotation, or holds decode steps without a ``decode``
            annotation. The trace of a run of one token has neither steps nor ``decode``.
        OSError: the file cannot be opened.
    """
    return _with_stages(read_window(path))


def read_launches(path: str | Path) -> Trace:
    """Read only stages, runtime calls and device events: no operators, no memory.

    Raises:
        TraceError, OSError: see `read_trace`.
    """
    return _with_stages(read_window(path, _LAUNCH_CATEGORIES))


def _with_stages(trace: Trace) -> Trace:
    windows = _windows(trace.path, trace.names, trace.annotations)
    return repaired(replace(trace, windows=windows))


def read_window(path: str | Path, categories: Container[str] | None = None) -> Trace:
    """Read a trace without stages: ``windows`` is empty, and no time is repaired.

    Args:
        path: gzipped or plain.
        categories: of the events to read; None reads all that are known.

    Raises:
        TraceError, OSError: see `read_trace`; annotations are not checked.
    """
    path = Path(path)
    document = read_document(path)
    try:
        graphs = from_metadata(document.graphs) if document.graphs else ()
    except (LookupError, TypeError, ValueError) as error:
        raise TraceError(path, f"has damaged metadata of CUDA graphs ({error})") from error
    try:
        return _columns(path, document.events, graphs, categories)
    except OverflowError as error:
        raise TraceError(path, "holds a number that does not fit 64 bits") from error


def _columns(
    path: Path,
    events: list[Event],
    graphs: tuple[CapturedGraph, ...],
    categories: Container[str] | None,
) -> Trace:
    kinds = _ANNOTATION_KINDS | _HOST_KINDS | _OVERHEAD_KINDS | _DEVICE_KINDS
    by_category: dict[str, list[Event]] = {c: [] for c in (*kinds, _MEMORY_CATEGORY)}
    wanted = {c: found for c, found in by_category.items() if not categories or c in categories}
    for event in events:
        copy = event.cat == "kernel" and COPY_NAME.match(event.name)
        bucket = wanted.get("gpu_memcpy" if copy else event.cat)
        if bucket is not None:
            bucket.append(event)
    by_category["cpu_op"] = [e for e in by_category["cpu_op"] if e.name not in _HIDDEN]
    memory = [e for e in by_category[_MEMORY_CATEGORY] if e.name == _MEMORY_NAME]

    names, threads = _numbering(), _numbering()

    def spans(kinds: dict[str, int]) -> Spans:
        return _spans(path, by_category, kinds, names, threads)

    annotations, host = _forward(spans(_ANNOTATION_KINDS)), _forward(spans(_HOST_KINDS))
    # Parents before children: of equal starts the longer span, of equal spans the lower kind.
    host = host.take(np.lexsort((host.kind, -host.end, host.start, host.thread)))
    overhead, device = _forward(spans(_OVERHEAD_KINDS)), spans(_DEVICE_KINDS)
    nbytes = _ints([e.args.nbytes for e in memory])
    device_type = _ints([e.args.device_type for e in memory])
    for graph in graphs:
        for operator in graph.operators:
            names[operator]
    all_names = tuple(str(name) for name in names)
    return Trace(
        path=path,
        names=all_names,
        annotations=annotations,
        host=host,
        overhead=overhead,
        device=device,
        memory=MemoryRecords(
            thread=_ints([threads[e.pid, e.tid] for e in memory]),
            time=_nanoseconds(path, [e.ts for e in memory]),
            cpu_bytes=np.where(np.isin(device_type, _CPU_DEVICE_TYPES), nbytes, 0),
            device_bytes=np.where(np.isin(device_type, _ACCELERATOR_DEVICE_TYPES), nbytes, 0),
        ),
        windows={},
        events=len(events),
        graphs=graphs,
    )


def _spans(
    path: Path,
    by_category: dict[str, list[Event]],
    kinds: dict[str, int],
    names: dict[object, int],
    threads: dict[object, int],
) -> Spans:
    events = [event for category in kinds for event in by_category[category]]
    start = _nanoseconds(path, [e.ts for e in events])
    return Spans(
        kind=np.repeat(_ints(list(kinds.values())), [len(by_category[c]) for c in kinds]),
        name=_ints([names[e.name] for e in events]),
        thread=_ints([threads[e.pid, e.tid] for e in events]),
        start=start,
        end=start + _nanoseconds(path, [e.dur for e in events]),
        external_id=_ints([e.args.external_id for e in events]),
        correlation=_ints([e.args.correlation for e in events]),
    )


def _forward(spans: Spans) -> Spans:
    """The spans, none of which ends before it starts."""
    return replace(spans, end=np.maximum(spans.end, spans.start))


def _windows(path: Path, names: tuple[str, ...], annotations: Spans) -> dict[str, tuple[int, int]]:
    windows: dict[str, tuple[int, int]] = {}
    for stage in STAGES[:OUTSIDE]:
        mine = [i for i, name in enumerate(annotations.name.tolist()) if names[name] == stage]
        if len(mine) > 1:
            raise TraceError(path, f"holds {len(mine)} `{stage}` annotations instead of one")
        if mine:
            windows[stage] = (int(annotations.start[mine[0]]), int(annotations.end[mine[0]]))
    if "prefill" not in windows:
        raise TraceError(path, "holds no `prefill` annotation")
    if "decode" not in windows and any(name.startswith(STEP_PREFIX) for name in names):
        raise TraceError(path, "holds decode steps but no `decode` annotation")
    return windows


def _numbering() -> dict[object, int]:
    """A mapping that numbers new keys in the order of their first look-up."""
    return defaultdict(count().__next__)


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _nanoseconds(path: Path, microseconds: list[float]) -> Ints:
    us = np.array(microseconds, dtype=np.float64)
    if us.size and float(np.abs(us).max()) > _MAX_US:
        raise TraceError(path, "holds a time that does not fit 64 bits")
    # Multiplying the sum would lose the last digit of 16-digit timestamps.
    whole = np.floor(us)
    return whole.astype(np.int64) * 1000 + np.rint((us - whole) * 1000).astype(np.int64)
