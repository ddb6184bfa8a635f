"""The kernel table of one run: device time by stage and kernel.

The operator table gives device time to the torch operator that launched it, this table to the
kernel that ran. Both add up to the duration of all device events of the trace, but for stages of
which the trace lost a part (`traces.losses`): these have no device time there and no rows here.
"""

from typing import Any, Final

import numpy as np

from mfuscope.traces.activity import launches
from mfuscope.traces.losses import find_losses
from mfuscope.traces.spans import COPY, KERNEL, STAGES, Trace
from mfuscope.traces.undispatched import undispatched

_KIND_NAMES: Final = {KERNEL: "kernel", COPY: "copy"}


def kernel_table(trace: Trace) -> dict[str, list[Any]]:
    """Add up a trace's device events, one row per stage, kind and name; returns the columns.

    - ``stage``: ``prefill``, ``decode`` or ``outside``, by the start of the launching call, or
      where none is known of the event.
    - ``kind``: ``kernel``, or ``copy`` for copies and memsets.
    - ``kernel``: its name, demangled as in the trace.
    - ``calls``: how often it ran.
    - ``device_ms``: its summed duration; overlapping kernels all count in full.
    - ``undispatched_ms``: the part of it that no operator of torch launched
      (`traces.undispatched`).

    Rows are sorted by stage, falling device time, and name. The trace of a CPU gives no rows.
    """
    found = launches(trace)
    losses = find_losses(trace, found.replays)
    whole = np.array([not losses.reason(stage) for stage in STAGES])[found.stage]
    device, stage = trace.device.take(np.flatnonzero(whole)), found.stage[whole]
    past = undispatched(trace, found)[whole]
    place = stage * len(trace.names) + device.name
    keys, row = np.unique(np.stack([place, device.kind]), axis=1, return_inverse=True)
    row = row.reshape(-1)  # only NumPy 2.0 returns another shape
    (places, kinds), size = keys, keys.shape[1]
    stages, names = np.divmod(places, max(len(trace.names), 1))
    # Doubles hold integers exactly up to 2^53 ns: 104 days.
    ran = device.end - device.start
    device_ns = np.bincount(row, weights=ran, minlength=size)
    past_ns = np.bincount(row, weights=np.where(past, ran, 0), minlength=size)
    calls = np.bincount(row, minlength=size)
    label = np.array([trace.names[i] for i in names], dtype=np.str_)
    order = np.lexsort((label, -device_ns, stages))
    return {
        "stage": [STAGES[i] for i in stages[order]],
        "kind": [_KIND_NAMES[i] for i in kinds[order].tolist()],
        "kernel": label[order].tolist(),
        "calls": calls[order].tolist(),
        "device_ms": (device_ns[order] / 1e6).tolist(),
        "undispatched_ms": (past_ns[order] / 1e6).tolist(),
    }
