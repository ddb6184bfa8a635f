"""The report's tables of results: times, MFU, decode steps, peaks."""

import numpy as np

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
    rate,
    rate_with_interval,
    share,
)
from mfuscope.report.data import Measured, Page, ReportData, Stat, Variant
from mfuscope.report.formats import percent
from mfuscope.report.limits import StageFacts, StageName, stage_facts
from mfuscope.report.traces import no_busy_time
from mfuscope.report.wording import answers

_MFU_STAGES = {"page": "mfu_model", "prefill": "mfu_prefill", "decode": "mfu_decode"}


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
        "last four columns, where its rest is known",
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
    """Model FLOPs utilisation per stage, variant and page, and over all pages."""

    def row(page: str, variant: str, stage: str, stat: Stat) -> tuple[Cell, ...]:
        return (
            label(page),
            label(variant if several else ""),
            Cell(stage),
            amount(str(stat.n)),
            rate(stat, 100),
            confidence(stat, 100),
            share(stat.cv, stat.reason or "a single value has no spread"),
            figure(
                None if stat.std_repeats is None else 100 * stat.std_repeats,
                2,
                "no page was repeated",
            ),
        )

    several = len(data.variants) > 1
    everything = [("all pages", v.name, v.stats) for v in data.variants]
    everything += [(page.image, m.variant, m.stats) for page in data.pages for m in page.measured]
    return build(
        "MFU in %, by page and stage: total work ÷ total time. Interval and variation (standard "
        "deviation ÷ mean) are over the n repeats of a page; for all pages, over the n pages",
        (
            "Page",
            "Variant",
            "Stage",
            "n",
            "MFU, %",
            "95 % interval",
            "Variation",
            "Std between repeats, %",
        ),
        (
            row(page, variant, stage, stats[metric])
            for page, variant, stats in everything
            for stage, metric in _MFU_STAGES.items()
        ),
    )


def wall_and_busy(data: ReportData) -> Table:
    """MFU over wall time beside MFU over the device's busy time."""
    reason = no_busy_time(data)

    def row(variant: Variant, stage: str) -> tuple[Cell, ...]:
        stats = variant.stats
        kernels = "prefill_kernels" if stage == "prefill" else "decode_kernels_per_step"
        busy = stats[f"{stage}_device_busy_ms"]
        return (
            label(variant.name),
            Cell(stage),
            mean(stats[f"{stage}_ms"]),
            figure(busy.mean, reason=reason),
            share(stats[f"{stage}_busy_share"].value, reason),
            figure(stats[kernels].mean, reason=reason),
            rate(stats[f"mfu_{stage}"], 100),
            figure(_percent(stats[f"mfu_{stage}_busy"].value), reason=reason),
        )

    return build(
        f"MFU over wall time and over the device's busy time ({answers(data)} a page). Wall times "
        "come from the timed passes, busy times and kernels from the traced ones",
        (
            "Variant",
            "Stage",
            "Wall, ms",
            "Busy, ms",
            "Busy share",
            "Kernels a prefill or step",
            "MFU over wall, %",
            "MFU over busy, %",
        ),
        (row(variant, stage) for variant in data.variants for stage in ("prefill", "decode")),
    )


def utilisation(data: ReportData) -> Table:
    """Utilisation of the measured ceiling and of the memory's bandwidth."""
    return build(
        "Shares of the measured ceiling and of the peak bandwidth, with the 95 % interval. FLOP "
        "per byte: mean ± standard deviation between pages",
        (
            "Variant",
            "Page, % of ceiling",
            "Prefill, % of ceiling",
            "Decode, % of ceiling",
            "MBU of decode, %",
            "Prefill, FLOP per byte",
            "Decode, FLOP per byte",
        ),
        (
            (
                label(v.name),
                rate_with_interval(v.stats["mfu_model_of_ceiling"], 100),
                rate_with_interval(v.stats["mfu_prefill_of_ceiling"], 100),
                rate_with_interval(v.stats["mfu_decode_of_ceiling"], 100),
                rate_with_interval(v.stats["mbu_decode"], 100),
                mean(v.stats["prefill_flop_per_byte"]),
                mean(v.stats["decode_flop_per_byte"]),
            )
            for v in data.variants
        ),
    )


def peaks(data: ReportData) -> Table:
    """The peaks that utilisation refers to, and the measured ceilings."""
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


def roofline(data: ReportData) -> Table:
    """The numbers of the roofline figure, over all pages."""

    def row(variant: Variant, stage: StageName) -> tuple[Cell, ...]:
        facts = stage_facts(variant, stage, data.hardware, data.ceiling)
        why = "the bytes or the ceiling are not known"
        return (
            label(variant.name),
            Cell(stage),
            figure(facts.intensity, reason=why),
            figure(facts.ridge, reason=why),
            figure(facts.tflops),
            figure(facts.busy_tflops, reason=no_busy_time(data)),
            share(facts.compute_share, why),
            _of_bandwidth(facts, why),
            Cell(facts.kind),
        )

    return build(
        "Roofline in numbers. FLOP per byte counts the least bytes (an upper bound); shares are of "
        "the measured ceilings, over busy time where it is known, and ≥ marks a lower bound",
        (
            "Variant",
            "Stage",
            "FLOP per byte, at most",
            "Ridge, FLOP per byte",
            "TFLOP/s",
            "TFLOP/s while busy",
            "Share of matrix product",
            "Share of copy bandwidth",
            "Limited by",
        ),
        (row(variant, stage) for variant in data.variants for stage in ("prefill", "decode")),
    )


def _of_bandwidth(facts: StageFacts, why: str) -> Cell:
    if facts.memory_share is None:
        return absent(why)
    least = "" if facts.traffic_counted else "≥\N{NO-BREAK SPACE}"
    return amount(f"{least}{percent(facts.memory_share)}")


def steps(data: ReportData) -> Table:
    """Percentiles of the decode steps: of all steps, and of each run."""
    rows = []
    for variant in data.variants:
        runs = [run for run in data.survey.steps.get(variant.name, []) if len(run)]
        if not runs:
            continue
        every = np.concatenate(runs)
        rows.append(
            (
                label(variant.name),
                amount(f"{len(every):,}"),
                *(figure(float(np.percentile(every, q))) for q in (50, 95, 99)),
                figure(float(every.max())),
                figure(float(every.mean())),
                mean(variant.stats["step_p50_ms"]),
                mean(variant.stats["step_p95_ms"]),
                mean(variant.stats["step_p99_ms"]),
            )
        )
    return build(
        "Decode steps in ms: percentiles over all steps, and percentiles per run (mean ± standard "
        "deviation between pages)",
        (
            "Variant",
            "Steps",
            "p50",
            "p95",
            "p99",
            "Longest",
            "Mean",
            "p50 per run",
            "p95 per run",
            "p99 per run",
        ),
        rows,
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
