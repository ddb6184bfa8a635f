"""The kernels of a short traced pass in the order of their launches, each with who launched it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from mfuscope.traces.activity import Launches, launches, operator_spans
from mfuscope.traces.intervals import Ints
from mfuscope.traces.nesting import enclosing, parents
from mfuscope.traces.spans import COPY_NAME, KERNEL, Trace

#: Prefix of the annotations around components of the model.
COMPONENT: Final = "component:"
#: The component of what runs in none, and of compiled code, which runs several as one.
OTHER: Final = "other"
COMPILED: Final = "compiled"
_STEP: Final = "decode_step[0]"
_UNNAMED: Final = re.compile(r"(\(anonymous namespace\)|<unnamed>)::")
_ARGUMENTS: Final = re.compile(r"[<(]")


@dataclass(frozen=True, slots=True)
class TracedLaunch:
    """A kernel launch.

    Attributes:
        stage: ``prefill`` or ``decode_step``.
        operator: empty where the trace does not say.
        component: of the model, or `OTHER` or `COMPILED`.
    """

    stage: str
    kernel: str
    operator: str
    component: str


def launch_sequence(trace: Trace) -> list[TracedLaunch]:
    """The kernels of prefill and of the first decode step, in the order of their launches.

    A replayed graph is one launch; its kernels follow in the order in which they ran. Copies and
    memsets are left out.
    """
    found, device, host = launches(trace), trace.device, trace.host
    started = np.where(found.call >= 0, host.start[found.call], device.start)
    windows = {"prefill": trace.windows["prefill"]} | _step_window(trace)
    order = np.lexsort((device.start, started))
    operators = _operators(trace, found)
    components = _components(trace, found.call)
    sequence = []
    for i in order.tolist():
        if device.kind[i] != KERNEL:
            continue
        stage = next((s for s, (a, b) in windows.items() if a <= started[i] < b), None)
        if stage is None:
            continue
        replayed = bool(found.replays.replayed[i])
        operator = operators[i]
        sequence.append(
            TracedLaunch(
                stage=stage,
                kernel=trace.names[device.name[i]],
                operator=trace.names[operator] if operator >= 0 else "",
                component=COMPILED if replayed else components.get(i, OTHER),
            )
        )
    return sequence


def function_name(kernel: str) -> str:
    """The name of a kernel's function, without its scope, arguments and type.

    CUPTI and Nsight Compute demangle the same kernel in different ways.
    """
    if kernel.startswith("_Z"):
        return _mangled_name(kernel)
    head = _ARGUMENTS.split(_UNNAMED.sub("", kernel), maxsplit=1)[0].rstrip(": ")
    return re.split(r"::|\s", head)[-1] or kernel


def _mangled_name(symbol: str) -> str:
    """The function's name in a symbol of the Itanium C++ ABI, which CUPTI leaves where it is long.

    Such a symbol begins with the lengths and names of its scopes and of the function.
    """
    at, name = 2 + symbol.startswith("_ZN"), symbol
    while length := re.match(r"\d+", symbol[at:]):
        at += length.end()
        name = symbol[at : at + int(length[0])]
        at += int(length[0])
    return name


def is_copy(kernel: str) -> bool:
    """Whether a kernel is a copy or a memset of the driver."""
    return COPY_NAME.match(kernel) is not None


def _step_window(trace: Trace) -> dict[str, tuple[int, int]]:
    annotations = trace.annotations
    for i, name in enumerate(annotations.name.tolist()):
        if trace.names[name] == _STEP:
            return {"decode_step": (int(annotations.start[i]), int(annotations.end[i]))}
    return {}


def _operators(trace: Trace, found: Launches) -> Ints:
    """For each device event the name (index into ``Trace.names``) of its operator, else -1."""
    host = trace.host
    span = operator_spans(found, host, parents(host))
    own = np.where(span >= 0, host.name[span], -1)
    return np.where(found.replays.replayed, found.replays.operator, own)


def _components(trace: Trace, call: Ints) -> dict[int, str]:
    """The innermost component around the launch of each device event that has one."""
    annotations, names = trace.annotations, trace.names
    mine = [i for i, n in enumerate(annotations.name.tolist()) if names[n].startswith(COMPONENT)]
    if not mine:
        return {}
    spans = annotations.take(np.array(mine, dtype=np.int64))
    spans = spans.take(np.lexsort((-spans.end, spans.start, spans.thread)))
    launched = np.flatnonzero(call >= 0)
    at = trace.host.take(call[launched])
    inner = enclosing(spans, parents(spans), at.thread, at.start, at.start)
    return {
        int(event): names[spans.name[span]].removeprefix(COMPONENT)
        for event, span in zip(launched.tolist(), inner.tolist(), strict=True)
        if span >= 0
    }
