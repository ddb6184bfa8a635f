"""The report's tables of results: times, MFU, FLOPs, operators."""

from collections.abc import Mapping

from mfuscope.report.cells import (
    Cell,
    Table,
    absent,
    amount,
    build,
    confidence,
    figure,
    label,
    mean,
)
from mfuscope.report.data import MFU_METRICS, Measured, Page, ReportData, Stat
from mfuscope.report.formats import fixed, number, percent, size
from mfuscope.report.operators import StageOperators

_MEMORY = ("Self CPU memory", "Self device memory")


def headline(data: ReportData) -> Table:
    """The numbers that a reader came for, per variant."""
    over = data.variants[0].over
    return build(
        f"Headline numbers: mean ± standard deviation between {over}s; n counts {over}s",
        (
            "Variant",
            "n",
            "Prefill, ms",
            "Decode, tokens/s",
            "MFU, %",
            "MFU of prefill, %",
            "MFU of decode, %",
        ),
        (
            (
                label(v.name),
                amount(str(v.headline["prefill_ms"].n)),
                mean(v.headline["prefill_ms"]),
                mean(v.headline["decode_tokens_per_s"]),
                mean(v.headline["mfu_model"], 100),
                mean(v.headline["mfu_prefill"], 100),
                mean(v.headline["mfu_decode"], 100),
            )
            for v in data.variants
        ),
    )


def times(data: ReportData) -> Table:
    """Where the time of every page goes."""
    several = len(data.variants) > 1

    def row(page: Page, measured: Measured) -> tuple[Cell, ...]:
        tokens = measured.tokens
        new = str(tokens.new_least)
        if tokens.new_most != tokens.new_least:
            new += f" to {tokens.new_most}"
        return (
            label(page.image, page.file),
            label(measured.variant if several else ""),
            Cell(measured.resolution),
            amount(str(tokens.prompt)),
            amount(new),
            mean(measured.stats["prefill_ms"]),
            mean(measured.stats["decode_ms"]),
            mean(measured.stats["vision_ms"]),
            mean(measured.stats["projector_ms"]),
            mean(measured.stats["language_prefill_ms"]),
            mean(measured.stats["rest_ms"]),
        )

    return build(
        "Time per page in ms: mean ± standard deviation between repeats. Prefill is the sum of the "
        "last four",
        (
            "Page",
            "Variant",
            "Resolution",
            "Prompt tokens",
            "New tokens",
            "Prefill",
            "Decode",
            "Vision",
            "Projector",
            "Language",
            "Rest of prefill",
        ),
        (row(page, measured) for page in data.pages for measured in page.measured),
    )


def mfu(data: ReportData) -> Table:
    """Model FLOPs utilisation per variant and page, and over all pages."""

    def row(page: str, variant: str, n: int, stats: Mapping[str, Stat]) -> tuple[Cell, ...]:
        cells = [label(page), label(variant), amount(str(n))]
        for metric in MFU_METRICS:
            cells += [mean(stats[metric], 100), confidence(stats[metric], 100)]
        return tuple(cells)

    rows = [row("all pages", v.name, v.stats["mfu_model"].n, v.stats) for v in data.variants]
    for page in data.pages:
        for one in page.measured:
            rows.append(row(page.image, one.variant, one.stats["mfu_model"].n, one.stats))
    return build(
        "MFU in %: mean ± standard deviation, and 95 % confidence interval of the mean. n counts "
        "a page's repeats; for all pages it counts pages, whose means are compared",
        (
            "Page",
            "Variant",
            "n",
            "Model",
            "95 % interval",
            "Prefill",
            "95 % interval",
            "Decode",
            "95 % interval",
        ),
        rows,
    )


def utilisation(data: ReportData) -> Table:
    """What else the work is held against: the measured ceiling, and the memory's bandwidth."""
    return build(
        "Against the measured ceiling and the bandwidth: mean ± standard deviation between pages",
        (
            "Variant",
            "Model, % of ceiling",
            "Prefill, % of ceiling",
            "Decode, % of ceiling",
            "MBU of decode, %",
            "Prefill, FLOP per byte",
            "Decode, FLOP per byte",
        ),
        (
            (
                label(v.name),
                mean(v.stats["mfu_model_of_ceiling"], 100),
                mean(v.stats["mfu_prefill_of_ceiling"], 100),
                mean(v.stats["mfu_decode_of_ceiling"], 100),
                mean(v.stats["mbu_decode"], 100),
                mean(v.stats["prefill_flop_per_byte"]),
                mean(v.stats["decode_flop_per_byte"]),
            )
            for v in data.variants
        ),
    )


def peaks(data: ReportData) -> Table:
    """What utilisation is held against, and what the device was measured to do."""
    hardware, ceiling = data.hardware, data.ceiling
    rows = []
    for dtype in dict.fromkeys(v.model.dtype for v in data.variants):
        peak, gemm = hardware.peaks[dtype], ceiling.gemm_tflops.get(dtype)
        rows.append(
            (
                Cell(f"{dtype} arithmetic, TFLOP/s"),
                figure(peak.tflops),
                Cell(peak.source),
                Cell(peak.detail),
                figure(gemm, reason=ceiling.absent.get(f"gemm_tflops.{dtype}", "not measured")),
            )
        )
    rows.append(
        (
            Cell("memory bandwidth, GB/s"),
            figure(hardware.bandwidth_gbs),
            Cell(hardware.bandwidth_source),
            Cell(hardware.bandwidth_detail),
            figure(ceiling.copy_gbs),
        )
    )
    return build(
        "Peaks used, and what was measured on this device: its best matrix product, and a copy "
        "(bytes read and written)",
        ("What", "Peak used", "Source", "Detail", "Measured"),
        rows,
    )


def operators(stage: StageOperators, most: int) -> Table:
    """The operators of a stage that take the longest; the others are added up in a last row."""
    shown, others = stage.rows[:most], stage.rows[most:]

    def share(value: float | None) -> Cell:
        if value is None:
            return absent("the profiler's own pauses are no part of the total")
        return amount(percent(value))

    no_device, no_memory = "the traces hold no device event", "memory was not recorded"
    rows = [
        (
            label(row.name, "" if row.kind == "operator" else row.kind),
            share(row.share),
            figure(row.device_ms, reason=no_device),
            figure(row.self_cpu_ms),
            figure(row.total_cpu_ms),
            _calls(row.calls),
            _bytes(row.self_cpu_memory_bytes, no_memory),
            _bytes(row.self_device_memory_bytes, no_memory),
        )
        for row in shown
    ]
    if others:
        device = [row.device_ms for row in others if row.device_ms is not None]
        rows.append(
            (
                Cell(f"{len(others)} others"),
                share(sum(row.share or 0 for row in others)),
                figure(sum(device) if device else None, reason=no_device),
                figure(sum(row.self_cpu_ms for row in others)),
                absent("total times nest: they do not add up"),
                _calls(sum(row.calls for row in others)),
                absent("not added up"),
                absent("not added up"),
            )
        )
    ranked = "device time" if stage.on_device else "self CPU time"
    return build(
        f"{stage.stage}, variant {stage.variant}: by {ranked}, mean of {stage.runs} traced runs",
        (
            "Operator",
            "Share",
            "Device ms",
            "Self CPU ms",
            "Total CPU ms",
            "Calls",
            *_MEMORY,
        ),
        rows,
        dropped=("Device ms", *_MEMORY),
    )


def operator_notes(data: ReportData) -> list[str]:
    """Why columns of the operator tables are missing, where they are."""
    rows = [row for stage in data.operators for row in stage.rows]
    if not rows:
        return ["The traces hold no operators."]
    notes = []
    if all(row.device_ms is None for row in rows):
        notes.append(
            "There is no device time, as the traces hold no device event: on a CPU, self CPU "
            "time is the time of the work itself."
        )
    if all(row.self_cpu_memory_bytes is None for row in rows):
        notes.append("Memory was not recorded (setting profiler.profile_memory).")
    return notes


def _calls(value: float) -> Cell:
    """Calls per run: whole where every run has as many."""
    return amount(fixed(value, 0) if value.is_integer() else number(value))


def _bytes(value: float | None, reason: str) -> Cell:
    return absent(reason) if value is None else amount(size(value))
