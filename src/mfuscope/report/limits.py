"""What limits a stage: launch overhead, memory, arithmetic, or kernels that use neither well."""

from dataclasses import dataclass
from typing import Literal

from mfuscope.core.records import Ceiling, Hardware
from mfuscope.report.data import Variant
from mfuscope.report.formats import number, percent

Kind = Literal["launch", "memory", "compute", "kernels", "unknown"]
StageName = Literal["prefill", "decode"]

#: Below this busy share of a stage, launches limit it.
BUSY_LIMIT = 0.5
#: From this share of a measured ceiling on, that roof limits a stage.
ROOF_LIMIT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """Measurements of a stage in a variant: means over pages; None where not known.

    Attributes:
        ms: its time.
        busy_ms, busy_share: busy time of the device, from the trace; on a CPU not known.
        kernels: of a prefill, or of one decode step.
        tflops, busy_tflops: achieved, model FLOPs by time, and by busy time.
        intensity: model FLOPs / minimum of bytes to move: an upper bound, as activations move too.
        compute_share, memory_share: achieved / measured ceiling (matrix product, copy), over busy
            time where known, else over the whole time. The memory share is a lower bound.
        ridge: FLOP per byte at which both ceilings are reached at once.
    """

    stage: StageName
    ms: float
    busy_ms: float | None
    busy_share: float | None
    kernels: float | None
    tflops: float | None
    busy_tflops: float | None
    intensity: float | None
    compute_share: float | None
    memory_share: float | None
    ridge: float | None

    @property
    def kind(self) -> Kind:
        """What limits it."""
        if self.busy_share is not None and self.busy_share < BUSY_LIMIT:
            return "launch"
        if self.compute_share is None:
            return "unknown"
        shares = {"compute": self.compute_share, "memory": self.memory_share or 0.0}
        if max(shares.values()) < ROOF_LIMIT:
            return "kernels"
        return "compute" if shares["compute"] >= shares["memory"] else "memory"

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
        return variant.stats[metric].mean

    dtype = variant.model.dtype
    peak = hardware.peaks[dtype].tflops
    gemm = ceiling.gemm_tflops.get(dtype)
    busy_ms = mean(f"{stage}_device_busy_ms")
    mfu = mean(f"mfu_{stage}")
    at_work = mfu if busy_ms is None else mean(f"mfu_{stage}_busy")
    intensity = mean(f"{stage}_flop_per_byte")
    # GB/s that the achieved FLOP/s imply.
    moved = None if at_work is None or not intensity else at_work * peak * 1e3 / intensity
    return StageFacts(
        stage=stage,
        ms=variant.prefill_ms if stage == "prefill" else variant.decode_ms,
        busy_ms=busy_ms,
        busy_share=mean(f"{stage}_busy_share"),
        kernels=mean("prefill_kernels" if stage == "prefill" else "decode_kernels_per_step"),
        tflops=None if mfu is None else mfu * peak,
        busy_tflops=None if busy_ms is None or at_work is None else at_work * peak,
        intensity=intensity,
        compute_share=None if at_work is None or not gemm else at_work * peak / gemm,
        memory_share=None if moved is None else moved / ceiling.copy_gbs,
        ridge=None if not gemm else gemm * 1e3 / ceiling.copy_gbs,
    )


def main_stage(variant: Variant) -> StageName:
    """The stage that takes the larger part of a page's time."""
    return "decode" if variant.decode_ms > variant.prefill_ms else "prefill"


def limit_sentence(facts: StageFacts, page_ms: float) -> str:
    """A sentence on what limits a stage."""
    share = percent(facts.ms / page_ms) if page_ms else "all"
    opening = f"{facts.stage.capitalize()} takes {share} of a page's time"
    at_work = "" if facts.busy_share is None else " while the device is at work"
    compute, memory = (
        "an unknown share" if value is None else percent(value)
        for value in (facts.compute_share, facts.memory_share)
    )
    match facts.kind:
        case "launch":
            unit = "decode step" if facts.stage == "decode" else "prefill"
            kernels = f"{number(facts.kernels)} kernels a {unit}" if facts.kernels else "kernels"
            return (
                f"{opening}, and the device is at work in only {percent(facts.busy_share or 0)} of "
                f"it: launching {kernels} one by one limits this model here, not arithmetic or "
                "memory."
            )
        case "memory":
            return (
                f"{opening}, and{at_work} it moves data at {memory} of the bandwidth measured on "
                "this device: reading weights and KV cache limits this model here."
            )
        case "compute":
            return (
                f"{opening}, and{at_work} it computes at {compute} of the fastest matrix product "
                "measured on this device: arithmetic limits this model here."
            )
        case "kernels":
            return (
                f"{opening}, and{at_work} it reaches {compute} of the arithmetic and at least "
                f"{memory} of the bandwidth measured on this device: neither roof is near: the "
                "efficiency of its operators limits this model here."
            )
        case "unknown":
            return f"{opening}; too little was measured to say what limits it."
