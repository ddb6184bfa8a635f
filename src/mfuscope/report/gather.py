"""From the artefacts to the report's data object.

Means and spreads are those of summary.csv. Only the rest of prefill, which that table lacks, is
described here, with the same function.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mfuscope.core.records import Calibration, Ceiling, Hardware, MissingRun, SkippedPage
from mfuscope.metrics.statistics import ALL, describe, describe_pages
from mfuscope.metrics.workload import decode_flops
from mfuscope.report.data import PARTS, Flops, Measured, Page, ReportData, Stat, Variant
from mfuscope.report.operators import StageKernels, StageOperators
from mfuscope.report.outliers import outliers, slow_causes
from mfuscope.report.survey import Survey

_NO_STEPS = "one new token: no decode step"
_NO_PARTS = "the model's parts are not told apart"
# Metrics of decode steps, which a run of one new token has none of.
_OF_STEPS = ("decode_tokens_per_s", "mfu_decode", "step_p50_ms", "step_p95_ms", "step_p99_ms")
# Where a metric's absence is explained in the runs, under another name.
_FIELDS = {"peak_memory_gb": "peak_memory_bytes"}


def gather(
    *,
    inputs: pd.DataFrame,
    hardware: Hardware,
    ceiling: Ceiling,
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    calibrations: Iterable[Calibration],
    survey: Survey,
    operators: Iterable[StageOperators],
    kernels: Iterable[StageKernels],
    settings: Mapping[str, Any],
    command: str,
    commit: str | None,
    skipped: Sequence[SkippedPage] = (),
    missing: Sequence[MissingRun] = (),
) -> ReportData:
    """Put the artefacts together.

    Args:
        command: what measures the same again.
        commit: of the checkout that renders.
        skipped: pages that could not be read.
        missing: runs that there are no results of.

    Raises:
        ValueError: a table lacks a page or variant that the runs have, or the other way round,
            though nothing is missing.
    """
    stats = _statistics(summary, metrics, survey)
    calibrations = list(calibrations)
    absent_flops: dict[tuple[str, str], int] = {}
    for calibration in calibrations:
        for key in calibration.absent.items():
            absent_flops[key] = absent_flops.get(key, 0) + 1
    pages = tuple(_pages(inputs, stats, survey, missing))
    return ReportData(
        pages=pages,
        variants=tuple(_variants(stats, survey, pages)),
        hardware=hardware,
        ceiling=ceiling,
        flops=tuple(row for calibration in calibrations for row in _flops(calibration, survey)),
        uncounted=_uncounted(calibrations),
        absent_flops=absent_flops,
        operators=tuple(operators),
        kernels=tuple(kernels),
        survey=survey,
        outliers=tuple(outliers(metrics)),
        causes=slow_causes(metrics),
        settings=settings,
        command=command,
        commit=commit,
        skipped=tuple(skipped),
        missing=tuple(missing),
    )


def _statistics(
    summary: pd.DataFrame, metrics: pd.DataFrame, survey: Survey
) -> dict[tuple[str, str], dict[str, Stat]]:
    """Statistics by (variant, image) and metric, the rest of prefill included."""
    stats: dict[tuple[str, str], dict[str, Stat]] = {}
    one_token = {page for page, tokens in survey.tokens.items() if tokens.new_most == 1}
    for row in _rows(summary):
        page, metric = (str(row["variant"]), str(row["image"])), str(row["metric"])
        reasons = survey.reasons(_FIELDS.get(metric, metric))
        if metric in _OF_STEPS and (page in one_token or page[1] == ALL):
            reasons = [_NO_STEPS]
        stats.setdefault(page, {})[metric] = Stat.of(row, "; ".join(reasons))
    known = [metric for metric in PARTS.values() if metric in metrics]
    rest = metrics["prefill_ms"] - metrics[known].sum(axis="columns", skipna=True)
    rest = rest.where(metrics[known].notna().any(axis="columns"))
    rest = pd.to_numeric(rest).astype("float64")
    of_pages: dict[str, list[dict[str, float]]] = {}
    groups = rest.groupby([metrics["variant"], metrics["image"]], sort=False)
    for (variant, image), values in groups:
        page = (str(variant), str(image))
        if page not in stats:
            raise ValueError(f"summary.csv lacks the page {image} of the variant {variant}")
        found = describe(np.array(values, dtype=np.float64))
        stats[page]["rest_ms"] = Stat.of(found, _NO_PARTS)
        of_pages.setdefault(page[0], []).append(found)
    for variant, pages in of_pages.items():
        stats[variant, ALL]["rest_ms"] = Stat.of(describe_pages(pages), _NO_PARTS)
    return stats


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _pages(
    inputs: pd.DataFrame,
    stats: Mapping[tuple[str, str], Mapping[str, Stat]],
    survey: Survey,
    missing: Iterable[MissingRun],
) -> Iterable[Page]:
    lacking = {(run.variant, run.image) for run in missing}
    for row in _rows(inputs):
        image, variants = str(row["image"]), []
        for variant in survey.runs:
            if (variant, image) in stats and (variant, image) in survey.tokens:
                variants.append(variant)
            elif (variant, image) not in lacking:
                raise ValueError(f"the page {image} was not measured in the variant {variant}")
        if not variants:
            continue
        category, frames = row.get("category"), row.get("frames")
        yield Page(
            image=image,
            path=str(row["path"]),
            sha256=str(row["sha256"]),
            width=int(row["width"]),
            height=int(row["height"]),
            category="" if category is None or pd.isna(category) else str(category),
            frames=1 if frames is None or pd.isna(frames) else int(frames),
            measured=tuple(
                Measured(
                    variant=variant,
                    resolution=survey.resolution[variant, image],
                    tokens=survey.tokens[variant, image],
                    stats=stats[variant, image],
                )
                for variant in variants
            ),
        )


def _variants(
    stats: Mapping[tuple[str, str], Mapping[str, Stat]], survey: Survey, pages: tuple[Page, ...]
) -> Iterable[Variant]:
    for name, models in survey.models.items():
        overall = stats[name, ALL]
        single = len(pages) == 1
        yield Variant(
            name=name,
            model=models[0],
            stats=overall,
            headline=stats[name, pages[0].image] if single else overall,
            over="repeat" if single else "page",
        )


def _flops(calibration: Calibration, survey: Survey) -> Iterable[Flops]:
    total, runs = survey.contexts.get((calibration.variant, calibration.resolution), (0.0, 0))
    context = total / runs if runs else None
    for flop_model, prefill in calibration.prefill_total.items():
        yield Flops(
            variant=calibration.variant,
            resolution=calibration.resolution,
            flop_model=flop_model,
            prompt_tokens=calibration.prompt_tokens,
            image_tokens=calibration.image_tokens,
            components={
                name: flops[flop_model]
                for name, flops in calibration.prefill_flops.items()
                if flop_model in flops
            },
            total=prefill,
            context_tokens=context,
            per_token=None if context is None else decode_flops(calibration, flop_model, context),
        )


def _uncounted(calibrations: list[Calibration]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Where (variant and resolution) by the operators that were left uncounted there."""
    places: dict[tuple[str, ...], tuple[str, ...]] = {}
    for calibration in calibrations:
        if calibration.uncounted_operators:
            key = tuple(calibration.uncounted_operators)
            place = f"{calibration.variant} at {calibration.resolution}"
            places[key] = (*places.get(key, ()), place)
    return places
