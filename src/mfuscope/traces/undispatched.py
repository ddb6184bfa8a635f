"""Kernels that were launched past torch's dispatcher, which a count of FLOPs does not see.

The FLOPs of a pass are counted at the dispatch of its operators. A package that launches a Triton
kernel or a CUDA extension straight from Python dispatches nothing: its kernels are in the trace
alone.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from mfuscope.traces.activity import Launches, operator_spans
from mfuscope.traces.intervals import Bools
from mfuscope.traces.nesting import nearest, parents
from mfuscope.traces.spans import KERNEL, Trace

# An operator of the dispatcher has a namespace; an autograd function that a package defines, or a
# compiled region, has none.
_DISPATCHED: Final = re.compile(r"\w+::\w+")
# Inductor's own kernels compute what the eager model dispatches, and that is what is counted.
_INDUCTOR: Final = re.compile(r"triton_[a-z]{3}_fused_")


def undispatched(trace: Trace, found: Launches) -> Bools:
    """Which device events are kernels that no operator of torch's dispatcher launched.

    False where the trace does not say what launched a kernel: without its launching call, and in
    replays of a CUDA graph where its operator was not captured.
    """
    host, device, replays = trace.host, trace.device, found.replays
    dispatched, inductor = trace.named(_DISPATCHED), trace.named(_INDUCTOR)
    parent = parents(host)
    span = operator_spans(found, host, parent)
    within = nearest(parent, span, dispatched[host.name]) >= 0
    captured = np.append(~dispatched, False)[replays.operator]  # -1: not known
    known = (found.call >= 0) | (found.operator >= 0)
    past = np.where(replays.replayed, captured, known & ~within)
    kernels: Bools = (device.kind == KERNEL) & ~inductor[device.name] & past
    return kernels
