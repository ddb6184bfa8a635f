"""Model FLOPs against hardware: what the counters say beside what the model asks for."""

from collections.abc import Iterator, Mapping

from mfuscope.flops.components import COMPONENTS
from mfuscope.metrics.counted import STAGES, Reconciliation, Work
from mfuscope.report.cells import Cell, Table, absent, amount, build, figure, label, share
from mfuscope.report.data import Measured, ReportData
from mfuscope.report.flops import component_name
from mfuscope.report.formats import fixed, listing, number, percent
from mfuscope.report.padding import padding_reason

#: The share by which MFU may differ from a hardware baseline to count as agreeing with it.
WITHIN = 0.15

NOT_COUNTED = (
    "No hardware counters were read: padded FLOPs and moved bytes are not known. The command "
    "snakemake counters reads them with Nsight Compute on a CUDA GPU."
)


def stage_name(stage: str) -> str:
    """A counted stage in words."""
    return stage.replace("_", " ")


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
    of = f" of {one.counters.variant}" if several else ""
    where = (
        f"{stage_name(stage).capitalize()}{of} at {one.counters.resolution}, counted on "
        f"{_page(data, one)}"
    )
    if not padding:
        return f"{where}: the tensor cores executed nothing in the model's precision."
    mfu = _mfu(data, one, stage)
    mine, other = (
        ("", "") if mfu is None else (f" ({percent(mfu)})", f" ({percent(mfu * padding)})")
    )
    off = 1 / padding - 1
    verdict = "within" if abs(off) <= WITHIN else "outside"
    side = "above" if off > 0 else "below"
    return (
        f"{where}: MFU{mine} is {percent(abs(off))} {side} HFU{other}, {verdict} "
        f"±{percent(WITHIN)}.{_cancelling(one, stage)}"
    )


def _page(data: ReportData, one: Reconciliation) -> str:
    path = one.counters.counted.page.path
    return next((page.image for page in data.pages if page.path == path), path)


def _cancelling(one: Reconciliation, stage: str) -> str:
    """What the padding of the whole stage hides; empty where components are not known."""
    found = one.components.get(stage, {})
    model = one.stages[stage].model_flops
    padded = sorted(
        (work.padding, component_name(name)) for name, work in found.items() if work.padding
    )
    if not padded or not model:
        return ""
    elsewhere = sum(work.model_flops or 0 for work in found.values() if work.padding == 0)
    (low, lowest), (high, highest) = padded[0], padded[-1]
    span = (
        f"Padding factors range from {number(low)} ({lowest}) to {number(high)} ({highest})"
        if lowest != highest
        else f"The padding factor of {lowest} is {number(low)}"
    )
    return f" {span}; {percent(elsewhere / model)} of the model FLOPs ran outside the tensor cores."


def why_not(data: ReportData) -> list[str]:
    """Why counters, or what they would say, are absent."""
    found = []
    for counters in data.not_counted:
        key = f"{counters.variant} at {counters.resolution}"
        found.append(
            f"No hardware counters of {key}: {counters.absent.get('stages', 'none was read')}."
        )
    for one in data.counted:
        key = f"{one.counters.variant} at {one.counters.resolution}"
        for name, reason in one.counters.absent.items():
            found.append(f"{_ABSENT.get(name, name)} of {key} are not known: {reason}.")
    return found


_ABSENT = {
    "prefill": "Counters of prefill",
    "decode_step": "Counters of the decode step",
    "tensor_flops": "FLOPs of the tensor cores",
    "dram_bytes": "Bytes moved in DRAM",
    "components_prefill": "Operators and components of the counted prefill",
    "components_decode_step": "Operators and components of the counted decode step",
}


def stages(data: ReportData) -> Table:
    """FLOPs of each stage, and the utilisations that follow from them."""
    return build(
        "Model FLOPs against those of the tensor cores, and MFU against HFU, over wall time and "
        "over the device's busy time",
        (
            *("Variant", "Resolution", "Stage", "Model GFLOPs", "Hardware GFLOPs"),
            *("Padding factor", "MFU", "HFU", "MFU busy", "HFU busy"),
        ),
        (
            (
                label(one.counters.variant),
                Cell(one.counters.resolution),
                Cell(stage_name(stage)),
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
        _padding(work),
    )


def _padding(work: Work) -> Cell:
    if work.padding == 0:
        return absent("nothing ran on the tensor cores in the model's precision")
    return figure(work.padding, 3, "one of the two is not known")


def _utilisations(data: ReportData, one: Reconciliation, stage: str, work: Work) -> Iterator[Cell]:
    for suffix in ("", "_busy"):
        mfu = _mfu(data, one, stage, suffix)
        yield share(mfu, "the time is not known")
        hfu = None if mfu is None or work.padding is None else mfu * work.padding
        yield share(hfu, "the time or the counter is not known")


def _mfu(data: ReportData, one: Reconciliation, stage: str, suffix: str = "") -> float | None:
    """MFU over the pages of a resolution, which have the same work: total work / total time."""
    metric = f"mfu_{STAGES[stage]}{suffix}"
    rates = [measured.stats[metric].value for measured in _measured(data, one)]
    known = [rate for rate in rates if rate]
    return len(known) / sum(1 / rate for rate in known) if known else None


def _measured(data: ReportData, one: Reconciliation) -> list[Measured]:
    """The pages of a resolution."""
    key = (one.counters.variant, one.counters.resolution)
    return [
        measured
        for page in data.pages
        for measured in page.measured
        if (measured.variant, measured.resolution) == key
    ]


def _busy_ms(data: ReportData, one: Reconciliation, stage: str) -> float | None:
    """The device's busy time of a prefill, or of a decode step, by the traces: mean over pages."""
    busy_ms, passes = 0.0, 0.0
    for measured in _measured(data, one):
        mean = measured.stats[f"{STAGES[stage]}_device_busy_ms"].mean
        if mean is not None:
            tokens = measured.tokens
            steps = (tokens.new_least + tokens.new_most) / 2 - 1
            busy_ms += mean
            passes += 1 if stage == "prefill" else steps
    return busy_ms / passes if busy_ms and passes else None


def traffic(data: ReportData) -> Table:
    """Bytes that must be moved, and those that were."""
    return build(
        "DRAM traffic of one prefill and one decode step (all copies of a batch), and its rate "
        "while the device was busy",
        (
            *("Variant", "Resolution", "Stage", "Least GB", "Read GB", "Written GB"),
            *("Measured ÷ least", "Busy ms", "Busy time from", "GB/s"),
            *("Share of peak bandwidth", "Share of copy bandwidth"),
        ),
        (
            (
                label(one.counters.variant),
                Cell(one.counters.resolution),
                Cell(stage_name(stage)),
                figure(_giga(work.least_bytes), 3, "not known for this architecture"),
                figure(_giga(work.hardware.dram_read_bytes), 3, "no counter"),
                figure(_giga(work.hardware.dram_write_bytes), 3, "no counter"),
                figure(work.traffic_factor, 3, "one of the two is not known"),
                *_bandwidth(data, work, _busy_ms(data, one, stage)),
            )
            for one in data.counted
            for stage, work in one.stages.items()
        ),
    )


def _bandwidth(data: ReportData, work: Work, busy_ms: float | None) -> tuple[Cell, ...]:
    """Busy time and its source, GB/s in it, and its shares of the peak and of a copy."""
    moved = _giga(work.hardware.dram_bytes)
    ms = busy_ms or work.hardware.device_ms
    gbs = None if moved is None or not ms else moved / (ms / 1e3)
    return (
        figure(ms),
        Cell("counters, kernel by kernel" if busy_ms is None else "traces"),
        figure(gbs, 3, "no counter"),
        *(
            share(None if gbs is None else gbs / roof, "no counter")
            for roof in (data.hardware.bandwidth_gbs, data.ceiling.copy_gbs)
        ),
    )


def timing(data: ReportData, one: Reconciliation) -> str:
    """How the times of components relate to the busy times of the traces."""
    parts: list[str] = []
    for stage, work in one.stages.items():
        busy_ms, hardware = _busy_ms(data, one, stage), work.hardware
        if busy_ms is not None and hardware.kernels:
            apart = (hardware.device_ms - busy_ms) * 1e3 / hardware.kernels
            what = "" if parts else "the traces' busy time "
            parts.append(
                f"{number(hardware.device_ms / busy_ms)} times {what}in the {stage_name(stage)} "
                f"({'+' if apart > 0 else ''}{fixed(apart, 1)} µs a kernel)"
            )
    told = f" Their sum is {listing(parts)}." if parts else ""
    return f"Component times come from the counters, which run kernels one by one and slower.{told}"


def components(one: Reconciliation) -> Table:
    """FLOPs, padding with its reason, and traffic of each component of a resolution."""
    stage_names = [stage for stage in one.components if one.components[stage]]
    return build(
        f"Components of {one.counters.variant} at {one.counters.resolution}: FLOPs and DRAM "
        "traffic",
        (
            *("Stage", "Component", "Model GFLOPs", "Hardware GFLOPs", "Padding factor"),
            *("Reason", "Kernels", "Device ms", "DRAM GB", "GB/s"),
        ),
        (
            (
                Cell(stage_name(stage)),
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


def seconds(data: ReportData) -> str:
    """How the counters were read, and how long that took, in a sentence."""
    found = sorted(one.counters.seconds for one in data.counted)
    tools = sorted({str(one.counters.tool) for one in data.counted})
    took = fixed(found[0], 0) if len(found) == 1 else f"{found[0]:,.0f} to {found[-1]:,.0f}"
    return (
        f"Nsight Compute {', '.join(tools)} counted one page per resolution (application replay, "
        f"{took} s each)."
    )


def _giga(value: float | None) -> float | None:
    return None if value is None else value / 1e9
