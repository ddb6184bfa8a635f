"""What limits a stage: the host, memory, arithmetic, or kernels that use neither well."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mfuscope.core.records import Ceiling, Hardware
from mfuscope.metrics.device import WAITS
from mfuscope.report.data import Variant
from mfuscope.report.formats import listing, number, percent

Kind = Literal["host", "memory", "compute", "kernels", "unknown"]
StageName = Literal["prefill", "decode"]

#: Below this busy share of a stage, the host limits it: the device waits for it.
BUSY_LIMIT = 0.5
#: From this share of a measured ceiling on, that roof limits a stage.
ROOF_LIMIT = 0.6

#: Where the host is while the device waits for it, in words; by the names of `metrics.device`.
PLACES: Mapping[str, str] = {
    "python": "Python and the framework between operators",
    "dispatch": "dispatch within operators",
    "launch": "launches and other CUDA calls",
    "synchronisation": "synchronisation",
}

_LOST = "no trace of this stage is whole, so its busy time is unknown"
_STARVED = "the measuring thread waited for a CPU in most runs, so the times hold other work, too"
_NO_BYTES = "the bytes that it reads are unknown, so its share of the bandwidth is, too"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """Measurements of a stage in a variant over all pages; None where not known.

    Times and counts are means over pages, rates total work / total time.

    Attributes:
        ms: its time.
        on_cpu: whether the device is a CPU, which waits for no host.
        starved: whether its thread waited for a CPU in most runs.
        busy_ms, busy_share: busy time of the device, from the trace; not known on a CPU, and where
            traces lost kernels.
        waiting: time in ms in which the device waits for the host, by what that does (`PLACES`).
        kernels: of a prefill, or of one decode step.
        tflops, busy_tflops: achieved, model FLOPs by time, and by busy time.
        intensity: model FLOPs / minimum of bytes to move: an upper bound, as activations move too.
        compute_share, memory_share: achieved / measured ceiling (matrix product, copy), over busy
            time where known, else over the whole time.
        traffic_counted: whether hardware counters tell the memory share; else it is a lower bound.
        ridge: FLOP per byte at which both ceilings are reached at once.
    """

    stage: StageName
    ms: float
    on_cpu: bool
    busy_ms: float | None
    busy_share: float | None
    waiting: Mapping[str, float] | None
    kernels: float | None
    tflops: float | None
    busy_tflops: float | None
    intensity: float | None
    compute_share: float | None
    memory_share: float | None
    ridge: float | None
    traffic_counted: bool = False
    starved: bool = False

    @property
    def kind(self) -> Kind:
        """What limits it.

        Over the whole time of a GPU's stage a roof that is near is near while it is at work, too.
        A roof that is far may be so because the device waits: without busy time that is not known.
        Nor is it known of a roof whose share is unknown, and on a CPU that did other work as well.
        """
        if self.on_cpu and self.starved:
            return "unknown"
        if self.busy_share is not None and self.busy_share < BUSY_LIMIT:
            return "host"
        if self.compute_share is None:
            return "unknown"
        memory = self.memory_share
        if self.compute_share >= max(ROOF_LIMIT, memory or ROOF_LIMIT):
            return "compute"
        if memory is None:
            return "unknown"
        if memory >= ROOF_LIMIT:
            return "memory"
        return "kernels" if self.on_cpu or self.busy_share is not None else "unknown"

    @property
    def at_work_ms(self) -> float:
        """Busy time, at most the stage's time; the stage's time where busy time is not known."""
        return self.ms if self.busy_ms is None else min(self.busy_ms, self.ms)

    @property
    def idle_ms(self) -> float | None:
        """Time in which the device was idle."""
        return None if self.busy_ms is None else max(self.ms - self.busy_ms, 0.0)


def stage_facts(
    variant: Variant, stage: StageName, hardware: Hardware, ceiling: Ceiling
) -> StageFacts:
    """Collect the measurements of a stage."""

    def mean(metric: str) -> float | None:
        return variant.stats[metric].value

    dtype = variant.model.dtype
    peak = hardware.peaks[dtype].tflops
    gemm = ceiling.gemm_tflops.get(dtype)
    busy_ms = mean(f"{stage}_device_busy_ms")
    mfu = mean(f"mfu_{stage}")
    at_work = mfu if busy_ms is None else mean(f"mfu_{stage}_busy")
    intensity = mean(f"{stage}_flop_per_byte")
    waits = {wait: mean(f"{stage}_waiting_{wait}_ms") for wait in WAITS}
    # GB/s that the achieved FLOP/s imply at least, unless hardware counters tell them.
    least = None if at_work is None or not intensity else at_work * peak * 1e3 / intensity
    counted = _counted_gbs(variant, stage, busy_ms)
    moved = least if counted is None else counted
    return StageFacts(
        stage=stage,
        ms=variant.prefill_ms if stage == "prefill" else variant.decode_ms,
        on_cpu=hardware.device.kind == "cpu",
        busy_ms=busy_ms,
        busy_share=mean(f"{stage}_busy_share"),
        waiting={wait: ms for wait, ms in waits.items() if ms is not None} or None,
        kernels=mean("prefill_kernels" if stage == "prefill" else "decode_kernels_per_step"),
        tflops=None if mfu is None else mfu * peak,
        busy_tflops=None if busy_ms is None or at_work is None else at_work * peak,
        intensity=intensity,
        compute_share=None if at_work is None or not gemm else at_work * peak / gemm,
        memory_share=None if moved is None else moved / ceiling.copy_gbs,
        traffic_counted=counted is not None,
        ridge=None if not gemm else gemm * 1e3 / ceiling.copy_gbs,
        starved=variant.starved,
    )


def _counted_gbs(variant: Variant, stage: StageName, busy_ms: float | None) -> float | None:
    """DRAM traffic of a stage by hardware counters in GB/s, over busy time where it is known."""
    if stage == "prefill":
        moved, ms = variant.stats["dram_gb_prefill"].value, busy_ms or variant.prefill_ms
    else:
        per_token, ms = variant.stats["dram_gb_per_token"].value, busy_ms or variant.decode_ms
        steps = variant.batch_size * (variant.answer.mean - 1)
        moved = None if per_token is None else per_token * steps
    return None if moved is None or not ms else moved / (ms / 1e3)


def main_stage(variant: Variant) -> StageName:
    """The stage that takes the larger part of a page's time."""
    return "decode" if variant.decode_ms > variant.prefill_ms else "prefill"


def limit_sentence(facts: StageFacts, page_ms: float, page: str) -> str:
    """A sentence on what limits a stage.

    Args:
        page_ms: the time of a page.
        page: what that is the time of, with the length of its answer (`wording.a_page`).
    """
    share = percent(facts.ms / page_ms) if page_ms else "all"
    opening = f"{facts.stage.capitalize()} takes {share} of the time for {page}"
    at_work = "" if facts.busy_share is None else "while the device is busy, "
    compute, memory = (
        "an unknown share" if value is None else percent(value)
        for value in (facts.compute_share, facts.memory_share)
    )
    match facts.kind:
        case "host":
            unit = "decode step" if facts.stage == "decode" else "prefill"
            launches = (
                f", which launches {number(facts.kernels)} kernels a {unit}"
                if facts.kernels
                else ""
            )
            waits = waiting_words(facts)
            return (
                f"{opening} and is host-bound: the device is busy for only "
                f"{percent(facts.busy_share or 0)} of it. The rest of the time it waits for the "
                f"host{launches}.{f' Of that wait, {waits}.' if waits else ''}"
            )
        case "memory":
            return (
                f"{opening} and is memory-bound: {at_work}it reads weights and KV cache at "
                f"{memory} of the bandwidth measured on this device."
            )
        case "compute":
            return (
                f"{opening} and is compute-bound: {at_work}it reaches {compute} of the best matrix "
                "product measured on this device."
            )
        case "kernels":
            return (
                f"{opening} and is limited by inefficient kernels: {at_work}they reach {compute} "
                f"of the arithmetic and {'' if facts.traffic_counted else 'at least '}{memory} of "
                "the bandwidth measured on this device."
            )
        case "unknown":
            reasons = [] if facts.on_cpu or facts.busy_share is not None else [_LOST]
            if facts.on_cpu and facts.starved:
                reasons.append(_STARVED)
            if facts.memory_share is None:
                reasons.append(_NO_BYTES)
            if not reasons:
                return f"{opening}. Too little was measured to say what limits it."
            return f"{opening}. What limits it is not known: {'; '.join(reasons)}."


def waiting_words(facts: StageFacts) -> str:
    """What the host does while the device waits, the longest first; empty where it is not known."""
    whole = sum((facts.waiting or {}).values())
    if facts.waiting is None or not whole:
        return ""
    ranked = sorted(facts.waiting.items(), key=lambda one: -one[1])
    parts = [
        f"{percent(ms / whole)} is {PLACES[wait]}" for wait, ms in ranked if ms >= 0.01 * whole
    ]
    return listing(parts)
