"""What the hardware did in a stage, an operator and a component: counters joined with a trace.

Nsight Compute counts the kernels of a pass, and names the stage of each by its NVTX ranges. Which
operator and which component launched it, the trace of an equal pass says: both hold the same
kernels in the same order. Where they do not, operators and components are unknown.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import msgspec

from mfuscope.core.counters import CounterTotals
from mfuscope.measure.ncu import DRAM, TIME, KernelCount, Metrics
from mfuscope.traces.sequence import OTHER, TracedLaunch, function_name, is_copy

# Increase this number with every change to what is counted, or how: counters of another one are
# counted again.
COUNTING: Final = 2

#: Most new tokens of the passes before the counted one, which makes two: CUDA graphs are captured
#: in the second call of a step.
COUNTED_TOKENS: Final = 6

#: The stages that are counted: prefill, and its first decode step.
PREFILL, STEP = "prefill", "decode_step"
_STEP_RANGE: Final = "decode_step[0]"
#: Parts of prefill, in the order of the forward pass; ranges of these names lie in prefill's.
PARTS: Final = ("vision", "projector", "language_prefill")


class CountedJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to count.

    Attributes:
        settings: see `planning.parameters.counter_parameters`.
        bundled: the folder of the bundled models.
        page: path of the page.
        max_megapixels: the page is refused if it has more.
    """

    settings: dict[str, Any]
    bundled: str
    page: str
    max_megapixels: float


@dataclass(frozen=True, slots=True)
class CountedLaunch:
    """One row of the table: a kernel launch, who made it, and what it did.

    Attributes:
        stage: `PREFILL` or `STEP`.
        part: one of `PARTS`, the innermost; empty for the rest of prefill and for decode.
        operator, component: empty where they are not known.
        tensor_flops: FLOPs of the tensor pipes; None where there is no such counter.
        dram_read_bytes, dram_write_bytes: None where there is no such counter.
    """

    stage: str
    part: str
    kernel: str
    operator: str
    component: str
    device_ns: int
    tensor_flops: int | None
    dram_read_bytes: int | None
    dram_write_bytes: int | None


def join(
    counts: Sequence[KernelCount], traced: Sequence[TracedLaunch], metrics: Metrics
) -> tuple[list[CountedLaunch], dict[str, str], dict[str, str]]:
    """The launches of both stages with their operators and components.

    A stage of which ncu counted fewer kernels than were traced is left out: a part is no stage.

    Args:
        counts: what ncu counted, in order.
        traced: the launches of the trace, in order.

    Returns:
        The rows; by stage why its operators and components are not known; and by stage why it is
        left out.
    """
    rows: list[CountedLaunch] = []
    mismatches, partial = {}, {}
    for stage in (PREFILL, STEP):
        counted = [count for count in counts if _stage(count) == stage]
        known = [launch for launch in traced if launch.stage == stage]
        owners: Iterator[TracedLaunch | None]
        # ncu counts copies that run as kernels; a trace calls them copies.
        kernels = [count for count in counted if not is_copy(count.kernel)]
        if len(kernels) < len(known):
            if counts:
                partial[stage] = f"ncu counted {len(kernels)} of its {len(known)} kernels"
            continue
        if difference := _difference(kernels, known):
            mismatches[stage] = difference
            owners = iter([None] * len(kernels))
        else:
            owners = iter(known)
        for count in counted:
            owner = None if is_copy(count.kernel) else next(owners)
            rows.append(_row(stage, count, owner, metrics))
    return rows, mismatches, partial


def _stage(count: KernelCount) -> str:
    if _STEP_RANGE in count.ranges:
        return STEP
    return PREFILL if PREFILL in count.ranges else ""


def _difference(counted: Sequence[KernelCount], traced: Sequence[TracedLaunch]) -> str:
    """Where two sequences of kernels differ first; empty where they do not."""
    for place, (one, other) in enumerate(zip_longest(counted, traced), 1):
        names = [function_name(launch.kernel) if launch else "none" for launch in (one, other)]
        if names[0] != names[1]:
            return (
                f"of {len(counted)} counted and {len(traced)} traced kernels, number {place} is "
                f"{names[0]} where it was counted, and {names[1]} in the trace"
            )
    return ""


def _row(
    stage: str, count: KernelCount, owner: TracedLaunch | None, metrics: Metrics
) -> CountedLaunch:
    values = count.values
    read, written = (round(values[name]) for name in DRAM) if metrics.dram else (None, None)
    return CountedLaunch(
        stage=stage,
        part=next((name for name in reversed(count.ranges) if name in PARTS), ""),
        kernel=count.kernel,
        operator=owner.operator if owner else "",
        component=owner.component if owner else OTHER if is_copy(count.kernel) else "",
        device_ns=round(values[TIME]),
        tensor_flops=round(sum(values[name] for name in metrics.tensor))
        if metrics.tensor
        else None,
        dram_read_bytes=read,
        dram_write_bytes=written,
    )


def totals(rows: Sequence[CountedLaunch]) -> CounterTotals:
    """The sums over launches."""

    def total(name: str) -> int | None:
        values = [getattr(row, name) for row in rows]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    return CounterTotals(
        kernels=len(rows),
        device_ms=sum(row.device_ns for row in rows) / 1e6,
        tensor_flops=total("tensor_flops"),
        dram_read_bytes=total("dram_read_bytes"),
        dram_write_bytes=total("dram_write_bytes"),
    )


def by_stage(rows: Sequence[CountedLaunch]) -> dict[str, CounterTotals]:
    """Totals of prefill, of its parts that ran, and of the decode step."""
    found = {}
    for stage in (PREFILL, STEP):
        if of_stage := [row for row in rows if row.stage == stage]:
            found[stage] = totals(of_stage)
    for part in PARTS:
        if of_part := [row for row in rows if row.part == part and row.stage == PREFILL]:
            found[part] = totals(of_part)
    return found


def by_component(
    rows: Sequence[CountedLaunch], mismatches: Mapping[str, str]
) -> dict[str, dict[str, CounterTotals]]:
    """Totals by stage and component, in the order of the launches; stages that match alone."""
    groups: dict[str, dict[str, list[CountedLaunch]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.stage not in mismatches:
            groups[row.stage][row.component].append(row)
    return {
        stage: {component: totals(launches) for component, launches in components.items()}
        for stage, components in groups.items()
    }
