"""What a run's trace says about its device: busy time, what it waits for, what the trace lacks."""

from dataclasses import asdict

from mfuscope.core.records import Activity, Run, StageActivity

#: Where the host is while the device waits for it; see `core.records.Waiting`.
WAITS = ("python", "dispatch", "launch", "synchronisation")


def device_activity(run: Run, activity: Activity) -> dict[str, float | None]:
    """Busy time of the device, number of kernels and waiting, per stage; and the trace's faults.

    Busy times come from the traced pass: a profiler slows launches, but hardly kernels. The busy
    share is the busy time divided by the time of the timed pass. If the trace has fewer decode
    steps than the run, decode is scaled by steps.
    """
    steps = run.timed.new_tokens - 1
    prefill, decode = activity.stages["prefill"], activity.stages.get("decode")
    if decode is not None and not decode.steps:
        decode = None
    busy = {"prefill": prefill.device_busy_ms, "decode": None}
    per_step = None
    if decode is not None and decode.kernels is not None:
        per_step = decode.kernels / decode.steps
    if decode is not None and decode.device_busy_ms is not None:
        busy["decode"] = decode.device_busy_ms / decode.steps * steps
    stages = (("prefill", prefill, run.timed.prefill_ms), ("decode", decode, run.timed.decode_ms))
    found: dict[str, float | None] = {
        "prefill_kernels": prefill.kernels,
        "decode_kernels_per_step": per_step,
    }
    for stage, _, time in stages:
        at_work = busy[stage]
        found[f"{stage}_device_busy_ms"] = at_work
        found[f"{stage}_busy_share"] = None if at_work is None else at_work / time
    for stage, traced, time in stages:
        found |= _waiting(stage, traced, time, busy[stage])
    for stage, traced, _ in stages:
        found[f"{stage}_lost_launches"] = None if traced is None else traced.lost_launches
    traced_device = activity.unclaimed_share is not None or activity.repaired
    for kind in ("cut", "left_out"):
        events = activity.repaired.get(kind, 0)
        found[f"trace_{kind}_events"] = events if traced_device else None
    found["trace_unclaimed_share"] = activity.unclaimed_share
    return found


def _waiting(
    stage: str, traced: StageActivity | None, time: float, busy_ms: float | None
) -> dict[str, float | None]:
    """What the device waits for in the timed pass, in ms: parts of its idle time.

    The profiler makes the host slower, so that the device waits longer in the traced pass. Of it
    only the parts are taken, and the idle time from the timed pass: time - busy time.
    """
    names = [f"{stage}_waiting_{name}_ms" for name in WAITS]
    if traced is None or traced.waiting is None or busy_ms is None:
        return dict.fromkeys(names)
    parts = asdict(traced.waiting)
    whole, idle_ms = sum(parts.values()), max(time - busy_ms, 0.0)
    if not whole:  # the traced pass never waited
        return dict.fromkeys(names, 0.0 if not idle_ms else None)
    return {
        name: idle_ms * parts[f"{wait}_ms"] / whole for name, wait in zip(names, WAITS, strict=True)
    }
