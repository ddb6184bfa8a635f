"""From the artefacts to the report's data object.

Means and spreads come from summary.csv. Only the rest of prefill, which that table lacks, is
computed here, by the same function.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mfuscope.compare.variants import COMPARED, images_of, samples
from mfuscope.core.counters import Counters
from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import Calibration, Ceiling, Hardware, MissingRun, SkippedPage
from mfuscope.core.runs import RunKey
from mfuscope.metrics.counted import reconcile
from mfuscope.metrics.precision import precisions
from mfuscope.metrics.repeats import excesses
from mfuscope.metrics.statistics import ALL, NO_TOTALS, SUMMARISED, describe, describe_pages
from mfuscope.metrics.workload import decode_flops
from mfuscope.pages.categories import original
from mfuscope.report.answers import answer
from mfuscope.report.data import (
    NEEDED_PARTS,
    PARTS,
    TIMES,
    Flops,
    Measured,
    Page,
    ReportData,
    Stat,
    Variant,
)
from mfuscope.report.faults import faults
from mfuscope.report.host_record import stage_records, starved
from mfuscope.report.operators import StageKernels, StageOperators
from mfuscope.report.outliers import outliers
from mfuscope.report.page_endings import page_endings
from mfuscope.report.sessions import neighbours, overlaps, sessions
from mfuscope.report.survey import Survey
from mfuscope.report.traced_steps import TracedStep
from mfuscope.report.tried import what_was_tried
from mfuscope.storage.tables import number_in

_NO_STEPS = "one new token: no decode step"
_NO_PARTS = "the model's parts are not known separately"
# Metrics of decode steps: a run of one new token has none.
_OF_STEPS = ("decode_tokens_per_s", "mfu_decode", "step_p50_ms", "step_p95_ms", "step_p99_ms")
# Fields of the runs whose absence explains that of a metric with another name.
_FIELDS = {"peak_memory_gb": "peak_memory_bytes", "energy_per_page_j": "energy_j"}


def gather(
    *,
    inputs: pd.DataFrame,
    hardware: Hardware,
    ceiling: Ceiling,
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    comparison: pd.DataFrame,
    calibrations: Iterable[Calibration],
    survey: Survey,
    operators: Iterable[StageOperators],
    kernels: Iterable[StageKernels],
    settings: Mapping[str, Any],
    command: str,
    commit: str | None,
    skipped: Sequence[SkippedPage] = (),
    missing: Sequence[MissingRun] = (),
    counters: Sequence[tuple[Counters, pd.DataFrame]] = (),
    traced_steps: Iterable[TracedStep] = (),
    results: Path = Path("results"),
) -> ReportData:
    """Put the artefacts together.

    Args:
        command: the command that measures the same again.
        commit: of the checkout that renders.
        skipped: pages that could not be read.
        missing: runs without results.
        counters: hardware counters, each with the table of its launches.
        traced_steps: a decode step of each variant, event by event.
        results: the folder of the tables, for messages.

    Raises:
        InvalidFileError: a table does not hold the runs or pages of this report.
    """
    _check_tables(results, inputs, metrics, summary, survey.keys)
    _check_comparison(results, metrics, comparison)
    stats = _statistics(summary, metrics, survey)
    calibrations = list(calibrations)
    absent_flops: dict[tuple[str, str], int] = {}
    for calibration in calibrations:
        for key in calibration.absent.items():
            absent_flops[key] = absent_flops.get(key, 0) + 1
    pages = tuple(_pages(results, inputs, stats, survey, missing))
    host = tuple(stage_records(metrics))
    variants = tuple(_variants(stats, survey, pages, metrics, calibrations, starved(host)))
    found = excesses(metrics)
    counted = {(one.variant, one.resolution): one for one in calibrations}
    return ReportData(
        pages=pages,
        variants=variants,
        tried=what_was_tried(comparison, variants, settings.get("variants", {})),
        samples=samples(metrics, TIMES),
        hardware=hardware,
        ceiling=ceiling,
        flops=tuple(row for calibration in calibrations for row in _flops(calibration, survey)),
        uncounted=_uncounted(calibrations),
        absent_flops=absent_flops,
        operators=tuple(operators),
        kernels=tuple(kernels),
        survey=survey,
        outliers=tuple(outliers(metrics, found)),
        excesses=tuple(found),
        precisions=tuple(precisions(metrics)),
        host_records=host,
        sessions=tuple(sessions(metrics)),
        overlaps=tuple(overlaps(metrics)),
        neighbours=neighbours(metrics),
        counted=tuple(
            reconcile(one, counted[one.variant, one.resolution], launches)
            for one, launches in counters
            if one.stages
        ),
        not_counted=tuple(one for one, _ in counters if not one.stages),
        traced_steps=tuple(traced_steps),
        endings=tuple(page_endings(metrics)),
        settings=settings,
        command=command,
        commit=commit,
        skipped=tuple(skipped),
        missing=tuple(missing),
        faults=tuple(faults(metrics)) if hardware.device.kind == "cuda" else (),
    )


def _check_tables(
    results: Path,
    inputs: pd.DataFrame,
    metrics: pd.DataFrame,
    summary: pd.DataFrame,
    runs: set[RunKey],
) -> None:
    """Check the tables' rows against the runs: a table truncated at a line's end is readable."""
    rows = Counter(map(RunKey, metrics["variant"], metrics["image"], metrics["repeat"]))
    if rows != Counter(runs):
        raise InvalidFileError(results / "metrics.csv", "does not hold the runs of this report")
    groups = {(run.variant, image) for run in runs for image in (run.image, ALL)}
    statistics = zip(summary["variant"], summary["image"], summary["metric"], strict=True)
    if Counter(statistics) != Counter((*of, metric) for of in groups for metric in SUMMARISED):
        raise InvalidFileError(results / "summary.csv", "does not hold the pages of metrics.csv")
    if not {run.image for run in runs} <= set(inputs["image"]):
        raise InvalidFileError(results / "inputs.csv", "does not hold the pages of metrics.csv")


def _check_comparison(results: Path, metrics: pd.DataFrame, comparison: pd.DataFrame) -> None:
    """Check that each variant after the first one has a row for every page and metric."""
    images: dict[str, dict[str, None]] = {}
    for variant, image in zip(metrics["variant"], metrics["image"], strict=True):
        images.setdefault(variant, {})[image] = None
    reference, *others = images
    wanted = Counter(
        (variant, image, metric)
        for variant in others
        for image in images_of(images[reference], images[variant])
        for metric in COMPARED
    )
    rows = zip(comparison["variant"], comparison["image"], comparison["metric"], strict=True)
    if Counter(rows) != wanted:
        raise InvalidFileError(
            results / "comparison.csv", "does not hold the variants of metrics.csv"
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
    parts = metrics.reindex(columns=list(PARTS.values()))
    rest = metrics["prefill_ms"] - parts.sum(axis="columns", skipna=True)
    rest = rest.where(parts[list(NEEDED_PARTS)].notna().all(axis="columns"))
    rest = pd.to_numeric(rest).astype("float64")
    of_pages: dict[str, list[dict[str, float]]] = {}
    groups = rest.groupby([metrics["variant"], metrics["image"]], sort=False)
    for (variant, image), values in groups:
        page = (str(variant), str(image))
        found = describe(np.array(values, dtype=np.float64))
        stats[page]["rest_ms"] = Stat.of(found | NO_TOTALS, _NO_PARTS)
        of_pages.setdefault(page[0], []).append(found)
    for variant, pages in of_pages.items():
        stats[variant, ALL]["rest_ms"] = Stat.of(describe_pages(pages) | NO_TOTALS, _NO_PARTS)
    return stats


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _pages(
    results: Path,
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
                raise InvalidFileError(
                    results / "inputs.csv",
                    f"lists the page {image}, which has no run in the variant {variant}",
                )
        if not variants:
            continue
        category, frames = row.get("category"), row.get("frames")
        yield Page(
            image=image,
            path=original(str(row["path"])),
            sha256=str(row["sha256"]),
            width=int(row["width"]),
            height=int(row["height"]),
            category="" if category is None or pd.isna(category) else original(str(category)),
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
    stats: Mapping[tuple[str, str], Mapping[str, Stat]],
    survey: Survey,
    pages: tuple[Page, ...],
    metrics: pd.DataFrame,
    calibrations: Sequence[Calibration],
    waited: Collection[RunKey],
) -> Iterable[Variant]:
    most = metrics.groupby("variant")[["batch_size", "compile_s"]].max().to_dict("index")
    for name, models in survey.models.items():
        overall = stats[name, ALL]
        single = len(pages) == 1
        yield Variant(
            name=name,
            model=models[0],
            stats=overall,
            headline=stats[name, pages[0].image] if single else overall,
            over="repeat" if single else "page",
            answer=answer(metrics[metrics["variant"] == name], models, survey, calibrations),
            batch_size=int(most[name]["batch_size"]),
            compile_s=number_in(most[name]["compile_s"]),
            starved=2 * sum(run.variant == name for run in waited) > survey.runs[name],
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
    """Places (variant at resolution), by the operators that were not counted there."""
    places: dict[tuple[str, ...], tuple[str, ...]] = {}
    for calibration in calibrations:
        if calibration.uncounted_operators:
            key = tuple(calibration.uncounted_operators)
            place = f"{calibration.variant} at {calibration.resolution}"
            places[key] = (*places.get(key, ()), place)
    return places
