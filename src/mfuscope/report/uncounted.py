"""What computed without being counted, so that FLOPs and MFU are lower bounds.

Operators without a FLOP formula are known from calibration. Kernels that Python launched past
torch's dispatcher (Triton, packages' extensions) are known from the traces of a GPU alone.
"""

from dataclasses import dataclass

from mfuscope.report.check import Check, capped
from mfuscope.report.data import STAGES, ReportData
from mfuscope.report.formats import listing, milliseconds, percent, shortened
from mfuscope.report.operators import Kernel
from mfuscope.report.traces import no_busy_time

_NAMED = 3  # kernels of a stage that are named


@dataclass(frozen=True, slots=True)
class Undispatched:
    """The kernels of a stage that no operator of torch launched, the longest first.

    Attributes:
        share: of the stage's device time.
    """

    variant: str
    stage: str
    share: float
    kernels: tuple[Kernel, ...]


def undispatched(data: ReportData) -> list[Undispatched]:
    """The kernels that no operator launched, by variant and stage; without stages that have none.

    A stage that is not part of a pass (`outside`) has no FLOPs that could lack theirs.
    """
    found = []
    for stage in data.kernels:
        mine = sorted(
            (one for one in stage.rows if one.undispatched_ms), key=lambda one: -one.undispatched_ms
        )
        if mine and stage.stage in STAGES:
            ms = sum(one.undispatched_ms for one in mine)
            found.append(
                Undispatched(stage.variant, stage.stage, ms / stage.device_ms, tuple(mine))
            )
    return found


def statements(data: ReportData) -> list[str]:
    """What was not counted, a sentence for each kind and place; empty where nothing is known."""
    found = [
        f"{listing(list(operators))}: no FLOP formula ({listing(list(places))})."
        for operators, places in data.uncounted.items()
    ]
    for one in undispatched(data):
        names = [
            f"{shortened(kernel.name)} ({milliseconds(kernel.undispatched_ms)})"
            for kernel in one.kernels[:_NAMED]
        ]
        if more := len(one.kernels) - len(names):
            names.append(f"{more} more")
        found.append(
            f"{listing(names)}: launched past torch's operators, {percent(one.share)} of the "
            f"device time ({one.variant}, {one.stage})."
        )
    return found


def nothing_left(data: ReportData) -> str:
    """That nothing was left uncounted, as far as calibration and traces can tell."""
    counted = "No compute-heavy operator was left uncounted."
    if unknown := _unknown(data):
        return f"{counted} {unknown}"
    return (
        f"{counted} Every kernel whose launch is known came from an operator of torch, or was "
        "compiled from some."
    )


def _unknown(data: ReportData) -> str:
    """Why it is not known whether other kernels ran; empty where it is."""
    stages = [
        f"{stage} of {variant.name}"
        for variant in data.variants
        for stage in STAGES
        if variant.stats[f"{stage}_ms"].mean
        and not data.kernels_of(variant.name, stage)
        and not (stage == "decode" and variant.stats["decode_tokens_per_s"].mean is None)
    ]
    if not stages:
        return ""
    which = "" if len(stages) == len(STAGES) * len(data.variants) else f" in {listing(stages)}"
    return f"Whether kernels ran past torch's operators{which} is not known: {no_busy_time(data)}."


def lower_bounds(data: ReportData) -> str:
    """That FLOPs and MFU are lower bounds, and of what; empty where all was counted."""
    shares = {(one.variant, one.stage): one.share for one in undispatched(data)}
    operators = bool(data.uncounted)
    if not shares and not operators:
        return ""
    reasons = ["operators without a FLOP formula"] * operators
    if shares:
        most = max(shares, key=lambda of: shares[of])
        reasons.append(
            f"kernels launched past torch's operators (up to {percent(shares[most])} of the device "
            f"time, in {most[1]} of {most[0]})"
        )
    return f"FLOPs and MFU are lower bounds: they lack the work of {listing(reasons)}."


def all_counted(data: ReportData) -> Check:
    """Whether all that computed was counted."""
    title = "All work counted"
    if found := statements(data):
        return Check(title=title, verdict="warning", text=lower_bounds(data), details=capped(found))
    return Check(
        title=title, verdict="unknown" if _unknown(data) else "ok", text=nothing_left(data)
    )
