"""The report's tables, cell by cell: every column shows its own metric, in its own unit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from builders import conditions
from report_data import distinct, kernel_rows, operator_rows, repeats, tables

from mfuscope.core import records
from mfuscope.metrics.statistics import ALL
from mfuscope.report import metric_tables as made
from mfuscope.report import operator_tables
from mfuscope.report.cells import Table, confidence, rate_with_interval
from mfuscope.report.formats import interval, number, percent, spread
from mfuscope.report.headline import tpot_cell

RUNS, TABLES = distinct()
VARIANTS = {"baseline": (1000.0, 650.0), "half": (830.0, 620.0)}  # peak and best product, TFLOP/s
COPY_GBS = 2600.0
STAGES = ("prefill", "decode")


def rows(table: Table) -> list[dict[str, str]]:
    """The texts of every row, by column."""
    return [
        dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows
    ]


def row_of(table: Table, *first: str) -> dict[str, str]:
    """The row that begins with these cells."""
    found = [row for row in rows(table) if tuple(row.values())[: len(first)] == first]
    assert len(found) == 1
    return found[0]


def of(metric: str, variant: str, image: str = ALL, column: str = "mean") -> float:
    """A value of summary.csv."""
    table = TABLES.summary
    mine = (table["variant"] == variant) & (table["image"] == image) & (table["metric"] == metric)
    return float(table.loc[mine, column].item())


def mean_std(metric: str, variant: str, image: str = ALL, scale: float = 1.0) -> str:
    mean, std = (of(metric, variant, image, column) for column in ("mean", "std"))
    return spread(mean, std, scale)


def total(metric: str, variant: str, image: str = ALL) -> str:
    """A rate in percent: total work / total time."""
    return number(100 * of(metric, variant, image, "total"))


def between(metric: str, variant: str, image: str = ALL, scale: float = 100.0) -> str:
    """The 95 % interval of a rate."""
    low, high = (of(metric, variant, image, f"total_ci95_{end}") for end in ("low", "high"))
    return interval(low, high, scale)


def raw(variant: str, value: Callable[[records.Run], float]) -> tuple[float, float, float]:
    """Mean over pages, spread between pages, and spread between repeats, from the runs."""
    values = np.array([value(run) for run in RUNS if run.variant == variant]).reshape(3, 3)
    between = np.sqrt(values.var(axis=1, ddof=1).mean())
    pages = values.mean(axis=1)
    return float(pages.mean()), float(pages.std(ddof=1)), float(between)


@pytest.mark.parametrize(("wide", "shown"), [(9.9, False), (10.1, True), (1e5, True)])
def test_an_interval_beyond_tenfold_is_too_few_to_tell(wide: float, shown: bool) -> None:
    baseline = TABLES.data.variants[0]
    rate = baseline.headline["decode_tokens_per_s"]
    stat = replace(rate, total=50.0, total_ci95_low=20.0, total_ci95_high=20.0 * wide)
    says = "too few to tell"
    assert (confidence(stat).text == says) is shown
    assert (confidence(stat, 100).text == says) is shown
    variant = replace(baseline, headline={**baseline.headline, "decode_tokens_per_s": stat})
    below = [rate_with_interval(stat), tpot_cell(replace(variant, stats=variant.headline))]
    assert [(cell.sub.replace("\N{NO-BREAK SPACE}", " ") == says) for cell in below] == [shown] * 2
    assert [cell.text for cell in below] == ["50.0", "20.0"], "the rate itself stays"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("page", range(3))
def test_times_of_a_page(variant: str, page: int) -> None:
    image = f"{page}.png"
    runs = [run.timed for run in RUNS if run.variant == variant and run.image == image]

    def shown(value: Callable[[records.Pass], float | None]) -> str:
        values = np.array([value(one) for one in runs], dtype=float)
        return spread(float(values.mean()), float(values.std(ddof=1)))

    def rest(one: records.Pass) -> float:
        parts = (one.vision_ms, one.projector_ms, one.language_prefill_ms)
        return one.prefill_ms - sum(part or 0.0 for part in parts)

    assert row_of(made.times(TABLES.data), image, variant) == {
        "Page": image,
        "Variant": variant,
        "Resolution": "1024",
        "Prompt tokens": "278",
        "New tokens": str(10 + 2 * page),
        "Prefill": shown(lambda one: one.prefill_ms),
        "Decode": shown(lambda one: one.decode_ms),
        "Vision": shown(lambda one: one.vision_ms),
        "Projector": shown(lambda one: one.projector_ms),
        "Language": shown(lambda one: one.language_prefill_ms),
        "Rest of prefill": shown(rest),
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stage", ["page", "prefill", "decode"])
@pytest.mark.parametrize("image", [ALL, "0.png", "1.png", "2.png"])
def test_mfu_of_a_stage(variant: str, stage: str, image: str) -> None:
    metric = f"mfu_{'model' if stage == 'page' else stage}"
    page = "all pages" if image == ALL else image
    row = row_of(made.mfu(TABLES.data), page, variant, stage)
    assert row == {
        "Page": page,
        "Variant": variant,
        "Stage": stage,
        "n": "3",
        "MFU, %": total(metric, variant, image),
        "95 % interval": between(metric, variant, image),
        "Variation": percent(of(metric, variant, image, "cv")),
        "Std between repeats, %": number(100 * of(metric, variant, image, "std_repeats"), 2),
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stage", STAGES)
def test_wall_and_busy_of_a_stage(variant: str, stage: str) -> None:
    kernels = {"prefill": "prefill_kernels", "decode": "decode_kernels_per_step"}[stage]
    assert row_of(made.wall_and_busy(TABLES.data), variant, stage) == {
        "Variant": variant,
        "Stage": stage,
        "Wall, ms": mean_std(f"{stage}_ms", variant),
        "Busy, ms": number(of(f"{stage}_device_busy_ms", variant)),
        "Busy share": percent(of(f"{stage}_busy_share", variant, column="total")),
        "Kernels a prefill or step": number(of(kernels, variant)),
        "MFU over wall, %": total(f"mfu_{stage}", variant),
        "MFU over busy, %": total(f"mfu_{stage}_busy", variant),
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_utilisation_of_ceiling_and_bandwidth(variant: str) -> None:
    assert row_of(made.utilisation(TABLES.data), variant) == {
        "Variant": variant,
        "Page, % of ceiling": total("mfu_model_of_ceiling", variant),
        "Prefill, % of ceiling": total("mfu_prefill_of_ceiling", variant),
        "Decode, % of ceiling": total("mfu_decode_of_ceiling", variant),
        "MBU of decode, %": total("mbu_decode", variant),
        "Prefill, FLOP per byte": mean_std("prefill_flop_per_byte", variant),
        "Decode, FLOP per byte": mean_std("decode_flop_per_byte", variant),
    }


def test_peaks_and_what_was_measured() -> None:
    assert [tuple(row.values()) for row in rows(made.peaks(TABLES.data))] == [
        ("bf16 arithmetic, TFLOP/s", "1,000", "table", "a data sheet", "650"),
        ("fp16 arithmetic, TFLOP/s", "830", "override", "by hand", "620"),
        ("memory bandwidth, GB/s", "3,350", "table", "a data sheet", "2,600"),
    ]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stage", STAGES)
def test_roofline_in_numbers(variant: str, stage: str) -> None:
    peak, gemm = VARIANTS[variant]
    wall, busy = (peak * of(f"mfu_{stage}{end}", variant, column="total") for end in ("", "_busy"))
    intensity = of(f"{stage}_flop_per_byte", variant)
    assert row_of(made.roofline(TABLES.data), variant, stage) == {
        "Variant": variant,
        "Stage": stage,
        "FLOP per byte, at most": number(intensity),
        "Ridge, FLOP per byte": number(gemm * 1e3 / COPY_GBS),
        "TFLOP/s": number(wall),
        "TFLOP/s while busy": number(busy),
        "Share of matrix product": percent(busy / gemm),
        "Share of copy bandwidth": "≥\N{NO-BREAK SPACE}"
        + percent(busy * 1e3 / intensity / COPY_GBS),
        "Limited by": "kernels",
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_percentiles_of_decode_steps(variant: str) -> None:
    runs = [run.timed.step_ms for run in RUNS if run.variant == variant]
    every = np.concatenate(runs).astype(np.float32)

    def of_runs(q: int) -> str:
        mean, std, _ = raw(variant, lambda run: float(np.percentile(run.timed.step_ms, q)))
        return spread(mean, std)

    expected = {
        "Variant": variant,
        "Steps": "99",
        "p50": number(float(np.percentile(every, 50))),
        "p95": number(float(np.percentile(every, 95))),
        "p99": number(float(np.percentile(every, 99))),
        "Longest": number(float(every.max())),
        "Mean": number(float(every.mean())),
        "p50 per run": of_runs(50),
        "p95 per run": of_runs(95),
        "p99 per run": of_runs(99),
    }
    assert row_of(made.steps(TABLES.data), variant) == expected
    assert len(set(expected.values())) == len(expected)


def test_operators_of_a_stage() -> None:
    one = operator_rows(("decode", "aten::mm", 3.0, 40.0), ("decode", "aten::mul", 5.0, 10.0))
    one["total_cpu_ms"] = [11.0, 7.0]
    one["calls"] = [8, 2]
    (stage,) = tables(repeats(), operators=[("baseline", one)]).data.operators
    assert rows(operator_tables.operators(stage, 10, "device")) == [
        operator_row("aten::mm", "80", "40.0", "3.00", "11.0", "8", "5,000"),
        operator_row("aten::mul", "20", "10.0", "5.00", "7.00", "2", "5,000"),
    ]
    assert rows(operator_tables.operators(stage, 10, "cpu")) == [
        operator_row("aten::mul", "62", "10.0", "5.00", "7.00", "2", "2,500"),
        operator_row("aten::mm", "38", "40.0", "3.00", "11.0", "8", "375"),
    ]


def operator_row(name: str, share: str, *values: str) -> dict[str, str]:
    columns = ("Device ms", "Self CPU ms", "Total CPU ms", "Calls", "µs a call")
    return {"Operator": name, "Share": f"{share}\u00a0%"} | dict(zip(columns, values, strict=True))


def test_conditions_are_the_least_and_the_most_of_all_runs() -> None:
    clocks = ((1500, 1700), (1400, 1980), (1600, 1900))
    runs = [
        run
        for page, (before, after) in enumerate(clocks)
        for run in repeats(
            1,
            image=f"{page}.png",
            timed={
                "conditions_before": conditions(sm_clock_mhz=before),
                "conditions_after": conditions(sm_clock_mhz=after),
            },
        )
    ]
    assert tables(runs).data.survey.conditions["sm_clock_mhz"] == (1400, 1980)


def test_kernels_of_a_stage_are_the_longest_first() -> None:
    first = kernel_rows(("decode", "small", 1.0), ("decode", "gemm", 9.0), ("prefill", "conv", 8.0))
    second = kernel_rows(("decode", "gemm", 7.0), ("decode", "copy", 3.0))
    made = tables(repeats(), kernels=[("baseline", first), ("baseline", second)]).data.kernels
    assert [stage.stage for stage in made] == ["prefill", "decode"]
    table = operator_tables.kernels(made[1], 9)
    assert table.columns == ("Kernel", "Share", "Device ms", "Calls", "µs a call")
    assert [tuple(row.values()) for row in rows(table)] == [
        ("gemm", "80\u00a0%", "8.00", "4", "2,000"),
        ("copy", "15\u00a0%", "1.50", "2", "750"),
        ("small", "5.0\u00a0%", "0.500", "2", "250"),
    ]
