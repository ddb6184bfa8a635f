"""Model FLOPs against hardware: what the counters say beside what the model asks for."""

from collections.abc import Iterator, Mapping

from mfuscope.flops.components import (
    ATTENTION,
    COMPONENTS,
    GLOBAL_ATTENTION,
    LM_HEAD,
    ROUTED_EXPERTS,
    ROUTER,
    WINDOWED_ATTENTION,
)
from mfuscope.metrics.counted import Reconciliation, Work
from mfuscope.report.cells import Cell, Table, amount, build, figure, label, share
from mfuscope.report.data import ReportData
from mfuscope.report.flops import component_name
from mfuscope.report.formats import fixed, number, percent, plural

#: The share by which MFU may differ from a hardware baseline to count as agreeing with it.
WITHIN = 0.15
#: Padding factors closer to 1 need no reason.
_PLAIN = 0.03
_ATTENTION = (ATTENTION, GLOBAL_ATTENTION, WINDOWED_ATTENTION)
_STAGES = {"prefill": "prefill", "decode_step": "decode step"}
_UTILISATIONS = {"prefill": "prefill", "decode_step": "decode"}

NOT_COUNTED = (
    "Hardware counters were not read, so that FLOPs that the hardware pads, and bytes that it "
    "moves, are not known. `snakemake counters` reads them with Nsight Compute on a CUDA GPU."
)


def sentences(data: ReportData) -> list[str]:
    """Per resolution and stage: whether MFU is within 15 % of what the hardware executed."""
    several = len({one.counters.variant for one in data.counted}) > 1
    return [
        _sentence(data, one, stage, several)
        for one in data.counted
        for stage, work in one.stages.items()
        if work.padding is not None
    ]


def _sentence(data: ReportData, one: Reconciliation, stage: str, several: bool) -> str:
    padding = one.stages[stage].padding
    assert padding is not None
    variant = f"{one.counters.variant}, " if several else ""
    where = f"{_STAGES[stage].capitalize()} ({variant}{one.counters.resolution})"
    mfu = _mfu(data, one, stage)
    pair = "" if mfu is None else f", MFU {percent(mfu)} beside HFU {percent(mfu * padding)}"
    off = 1 / padding - 1
    verdict = "within" if abs(off) <= WITHIN else "not within"
    sign = "+" if off > 0 else "−"
    return (
        f"{where}: the tensor pipes executed {number(padding)} times the model FLOPs{pair}: MFU "
        f"differs by {sign}{percent(abs(off))} from a baseline of hardware counters, {verdict} "
        f"±{percent(WITHIN)}."
    )


def why_not(data: ReportData) -> list[str]:
    """Why counters, or what they would say, are absent."""
    found = []
    for counters in data.not_counted:
        key = f"{counters.variant} at {counters.resolution}"
        found.append(f"No hardware counters of {key}: {counters.absent['stages']}.")
    for one in data.counted:
        key = f"{one.counters.variant} at {one.counters.resolution}"
        for name, reason in one.counters.absent.items():
            found.append(f"{_ABSENT[name]} of {key} are not known: {reason}.")
    return found


_ABSENT = {
    "prefill": "Counters of prefill",
    "decode_step": "Counters of the decode step",
    "tensor_flops": "FLOPs of the tensor pipes",
    "dram_bytes": "Bytes moved in DRAM",
    "components_prefill": "Operators and components of the counted prefill",
    "components_decode_step": "Operators and components of the counted decode step",
}


def stages(data: ReportData) -> Table:
    """FLOPs of each stage, and the utilisations that follow from them."""
    return build(
        "Model FLOPs against FLOPs of the tensor pipes, and MFU against HFU, over the whole time "
        "and over the device's busy time",
        (
            *("Variant", "Resolution", "Stage", "Model GFLOPs", "Hardware GFLOPs"),
            *("Padding factor", "MFU", "HFU", "MFU busy", "HFU busy"),
        ),
        (
            (
                label(one.counters.variant),
                Cell(one.counters.resolution),
                Cell(_STAGES[stage]),
                *_flops(work),
                *_utilisations(data, one, stage, work),
            )
            for one in data.counted
            for stage, work in one.stages.items()
        ),
    )


def _flops(work: Work) -> tuple[Cell, Cell, Cell]:
    hardware = work.hardware.tensor_flops
    return (
        figure(_giga(work.model_flops), 5, "not counted by the model"),
        figure(_giga(hardware), 5, "no counter"),
        figure(work.padding, 3, "one of the two is not known"),
    )


def _utilisations(data: ReportData, one: Reconciliation, stage: str, work: Work) -> Iterator[Cell]:
    for suffix in ("", "_busy"):
        mfu = _mfu(data, one, stage, suffix)
        yield share(mfu, "the time is not known")
        hfu = None if mfu is None or work.padding is None else mfu * work.padding
        yield share(hfu, "the time or the counter is not known")


def _mfu(data: ReportData, one: Reconciliation, stage: str, suffix: str = "") -> float | None:
    """MFU over the pages of a resolution, which have the same work: total work / total time."""
    rates = [
        measured.stats[f"mfu_{_UTILISATIONS[stage]}{suffix}"].value
        for page in data.pages
        for measured in page.measured
        if (measured.variant, measured.resolution)
        == (one.counters.variant, one.counters.resolution)
    ]
    known = [rate for rate in rates if rate]
    return len(known) / sum(1 / rate for rate in known) if known else None


def traffic(data: ReportData) -> Table:
    """Bytes that must be moved, and those that were."""
    gbs = data.hardware.bandwidth_gbs
    return build(
        "DRAM traffic of one prefill and of one decode step, all copies of a batch: least against "
        "measured, and the share of the bandwidth while kernels ran",
        (
            *("Variant", "Resolution", "Stage", "Least GB", "Read GB", "Written GB"),
            *("Measured ÷ least", "GB/s", "Share of bandwidth"),
        ),
        (
            (
                label(one.counters.variant),
                Cell(one.counters.resolution),
                Cell(_STAGES[stage]),
                figure(_giga(work.least_bytes), 3, "not known for this architecture"),
                figure(_giga(work.hardware.dram_read_bytes), 3, "no counter"),
                figure(_giga(work.hardware.dram_write_bytes), 3, "no counter"),
                figure(work.traffic_factor, 3, "one of the two is not known"),
                figure(work.gbs, 3, "no counter"),
                share(None if work.gbs is None else work.gbs / gbs, "no counter"),
            )
            for one in data.counted
            for stage, work in one.stages.items()
        ),
    )


def components(one: Reconciliation) -> Table:
    """FLOPs, padding with its reason, and traffic of each component of a resolution."""
    stage_names = [stage for stage in one.components if one.components[stage]]
    return build(
        f"Components of {one.counters.variant} at {one.counters.resolution}: model FLOPs against "
        "hardware, and DRAM traffic",
        (
            *("Stage", "Component", "Model GFLOPs", "Hardware GFLOPs", "Padding factor"),
            *("Reason", "Kernels", "Device ms", "DRAM GB", "GB/s"),
        ),
        (
            (
                Cell(_STAGES[stage]),
                Cell(name),
                *_flops(work),
                Cell(reason),
                amount(f"{work.hardware.kernels:,}"),
                figure(work.hardware.device_ms),
                figure(_giga(work.hardware.dram_bytes), 3, "no counter"),
                figure(work.gbs, 3, "no counter"),
            )
            for stage in stage_names
            for name, work, reason in _rows(one, stage)
        ),
    )


def _rows(one: Reconciliation, stage: str) -> Iterator[tuple[str, Work, str]]:
    """Name, work and reason of a stage's components, and of all of them together."""
    for name, work in _ordered(one.components[stage]):
        yield component_name(name), work, padding_reason(stage, name, work, one.copies)
    yield "all", one.stages[stage], ""


def _ordered(found: Mapping[str, Work]) -> list[tuple[str, Work]]:
    order = [name for name in COMPONENTS if name in found]
    return [(name, found[name]) for name in [*order, *(n for n in found if n not in order)]]


def padding_reason(stage: str, component: str, work: Work, copies: int) -> str:
    """Why the hardware executes other FLOPs than the model asks for; empty where it does not."""
    padding = work.padding
    if padding is None or abs(padding - 1) <= _PLAIN:
        return ""
    if not work.hardware.tensor_flops:
        what = "the router computes in fp32" if component == ROUTER else "other pipes compute it"
        return f"{what}: nothing on the tensor pipes of the model's precision"
    if padding < 1 and component == ATTENTION:
        return "tiles that the causal mask hides are left out, which model FLOPs count"
    if padding < 1:
        return "a part runs outside of the tensor pipes of the model's precision"
    if stage == "decode_step" or component == LM_HEAD:
        return f"products of {plural(copies, 'row')} run on tiles of 8 rows or more"
    if component == ROUTED_EXPERTS:
        return "the rows of each expert are filled up to whole tiles"
    if component in _ATTENTION:
        return "heads and sequences are filled up to whole tiles"
    return "rows and columns are filled up to whole tiles"


def seconds(data: ReportData) -> str:
    """How the counters were read, and how long that took, in a sentence."""
    found = sorted(one.counters.seconds for one in data.counted)
    tools = sorted({str(one.counters.tool) for one in data.counted})
    took = fixed(found[0], 0) if len(found) == 1 else f"{found[0]:,.0f} to {found[-1]:,.0f}"
    return (
        f"Nsight Compute {', '.join(tools)} counted one page per resolution (application replay, "
        f"{took} s each); every page of a resolution has the same kernels."
    )


def _giga(value: float | None) -> float | None:
    return None if value is None else value / 1e9


def operators(one: Reconciliation, stage: str, top: int) -> Table:
    """The operators of a counted stage by device time, with their measured intensity."""
    rows = sorted((o for o in one.operators if o.stage == stage), key=lambda o: -o.device_ms)
    return build(
        f"Operators of the counted {_STAGES[stage]}, {one.counters.variant} at "
        f"{one.counters.resolution}",
        ("Operator", "Kernels", "Device ms", "TFLOP/s", "GB/s", "FLOP per byte"),
        (
            (
                label(row.name),
                amount(f"{row.calls:,}"),
                figure(row.device_ms),
                figure(_rate(row.tensor_flops, row.device_ms, 1e9), 3, "no FLOPs"),
                figure(_rate(row.dram_bytes, row.device_ms, 1e6), 3, "no counter"),
                figure(_intensity(row.tensor_flops, row.dram_bytes), 3, "no FLOPs"),
            )
            for row in rows[:top]
        ),
    )


def _rate(amount_: float | None, ms: float, scale: float) -> float | None:
    return amount_ / ms / scale if amount_ and ms else None


def _intensity(flops: float | None, moved: float | None) -> float | None:
    return flops / moved if flops and moved else None
