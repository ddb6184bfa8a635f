"""The operators of the counted stages, with times from the traces where these are known."""

from dataclasses import dataclass

from mfuscope.metrics.counted import STAGES, CountedOperator, Reconciliation
from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing, percent

_NAMED = 3  # operators that are named because they are not drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An operator in one prefill or one decode step.

    Attributes:
        ms: its time on the device.
        traced: whether the traces tell `ms`; else the counters do, under which kernels take longer.
        tensor_flops, dram_bytes: of the counters; None without one.
    """

    stage: str
    name: str
    ms: float
    traced: bool
    tensor_flops: float | None
    dram_bytes: float | None

    @property
    def on_roofline(self) -> bool:
        """Whether it computed on the tensor pipes, and moved bytes."""
        return bool(self.tensor_flops and self.dram_bytes and self.ms)

    @property
    def intensity(self) -> float:
        """FLOPs of the tensor pipes per byte of DRAM."""
        return (self.tensor_flops or 0.0) / (self.dram_bytes or 1.0)

    @property
    def tflops(self) -> float:
        """FLOPs of the tensor pipes by time, in TFLOP/s."""
        return (self.tensor_flops or 0.0) / self.ms / 1e9


def drawn(data: ReportData) -> Reconciliation | None:
    """The counters that are drawn; None where none has FLOPs and bytes of operators.

    The reference's if it has any, else the first variant's; of these where prefill takes longest.
    """
    found = [one for one in data.counted if any(p.on_roofline for p in points(data, one))]
    variants = [one.counters.variant for one in found]
    if not variants:
        return None
    name = data.reference.name if data.reference.name in variants else variants[0]
    return max((one for one in found if one.counters.variant == name), key=_prefill_ms)


def _prefill_ms(one: Reconciliation) -> float:
    prefill = one.stages.get("prefill")
    return prefill.hardware.device_ms if prefill else 0.0


def points(data: ReportData, one: Reconciliation) -> list[Point]:
    """The operators of both stages, the longest first."""
    found = []
    for operator in one.operators:
        traced = _traced_ms(data, one, operator)
        found.append(
            Point(
                stage=operator.stage,
                name=operator.name.removeprefix("aten::"),
                ms=operator.device_ms if traced is None else traced,
                traced=traced is not None,
                tensor_flops=operator.tensor_flops,
                dram_bytes=operator.dram_bytes,
            )
        )
    return sorted(found, key=lambda point: -point.ms)


def _traced_ms(data: ReportData, one: Reconciliation, operator: CountedOperator) -> float | None:
    """The operator's time in the traces, of one prefill or one decode step.

    Traces are added up over resolutions: with more than one, they tell nothing of this one. A
    trace's bytes are the counted ones times its steps (`metrics.operator_work`).
    """
    variant = one.counters.variant
    resolutions = {
        m.resolution for page in data.pages for m in page.measured if m.variant == variant
    }
    stage = data.operators_of(variant, STAGES[operator.stage])
    if len(resolutions) > 1 or stage is None or not operator.dram_bytes:
        return None
    row = next((row for row in stage.rows if row.name == operator.name), None)
    if row is None or not row.device_ms or not row.dram_bytes:
        return None
    return row.device_ms * operator.dram_bytes / row.dram_bytes


def sentence(data: ReportData) -> str:
    """What the roofline of operators shows, and what it leaves out; empty where there is none."""
    one = drawn(data)
    if one is None:
        return ""
    found = points(data, one)
    shares: list[str] = []
    left_out: list[Point] = []
    for stage in STAGES:
        mine = [point for point in found if point.stage == stage]
        shown = [point for point in mine if point.on_roofline]
        whole = sum(point.ms for point in mine)
        if whole:
            part = percent(sum(point.ms for point in shown) / whole)
            of = "" if shares else " of the device time"
            shares.append(f"{part}{of} in a {stage.replace('_', ' ')}")
        left_out += [point for point in mine if not point.on_roofline]
    names = list(dict.fromkeys(p.name for p in sorted(left_out, key=lambda p: -p.ms)))[:_NAMED]
    others = (
        f" The others do not use the tensor cores and are not drawn; the longest: {listing(names)}."
        if names
        else ""
    )
    shown = [point for point in found if point.on_roofline]
    source = (
        "the traces"
        if all(point.traced for point in shown)
        else (
            "the traces, or from the counters where the traces lack them"
            if any(point.traced for point in shown)
            else "the counters"
        )
    )
    return (
        f"The operator roofline shows {one.counters.variant} at {one.counters.resolution}, with "
        f"times from {source}. Its operators take {listing(shares)}.{others}"
    )
