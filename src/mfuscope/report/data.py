"""The report's one data object, gathered from the artefacts; every text is rendered from it.

Means and spreads are those of summary.csv. Only the rest of prefill, which that table lacks, is
described here, with the same function.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from mfuscope.metrics import flops_per_step
from mfuscope.records import Calibration, Ceiling, Hardware, Model
from mfuscope.report.operators import StageOperators
from mfuscope.report.survey import Survey, Tokens
from mfuscope.statistics import ALL, describe

#: Cost centres in the order of their work; each is a part of a page's time on the device.
CENTRES = ("vision", "projector", "language", "rest", "decode")
_PARTS = {"vision": "vision_ms", "projector": "projector_ms", "language": "language_prefill_ms"}
_NO_STEPS = "one new token: no decode step"
_NO_PARTS = "the model's parts are not told apart"
# Metrics of decode steps, which a run of one new token has none of.
_OF_STEPS = ("decode_tokens_per_s", "mfu_decode", "step_p50_ms", "step_p95_ms")
# Where a metric's absence is explained in the runs, under another name.
_FIELDS = {"peak_memory_gb": "peak_memory_bytes"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A row of summary.csv; None is absent, and `reason` says why the mean is."""

    n: int
    mean: float | None
    std: float | None
    cv: float | None
    ci95_low: float | None
    ci95_high: float | None
    min: float | None
    max: float | None
    reason: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any], reason: str = "") -> "Stat":
        """From a row of summary.csv or a result of `statistics.describe`."""
        names = [field.name for field in fields(cls) if field.name not in ("n", "reason")]
        values = {name: None if pd.isna(row[name]) else float(row[name]) for name in names}
        absent = (reason or "no value") if values["mean"] is None else ""
        return cls(n=int(row["n"]), reason=absent, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A page in a variant: statistics over its repeats, by metric; ``rest_ms`` included."""

    variant: str
    resolution: str
    tokens: Tokens
    stats: Mapping[str, Stat]

    @property
    def centres(self) -> dict[str, Stat]:
        """Times in ms by cost centre."""
        return _centre_stats(self.stats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An image of inputs.csv, and its measurements by variant."""

    image: str
    path: str
    sha256: str
    width: int
    height: int
    category: str
    measured: tuple[Measured, ...]

    @property
    def file(self) -> str:
        """Its path where its id does not tell the file's name, else empty."""
        return "" if PurePath(self.path).name == self.image else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCentre:
    """A part of a page's time: mean over pages in ms, and its share of prefill and decode."""

    key: str
    ms: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A variant over all pages.

    `stats` are the rows of the image ``all``, where n counts pages. `headline` are the same, but
    of a single page's repeats where there is only one page, and `over` says which.
    """

    name: str
    model: Model
    stats: Mapping[str, Stat]
    headline: Mapping[str, Stat]
    over: str

    @property
    def prefill_ms(self) -> float:
        """Mean prefill time of a page."""
        return self.stats["prefill_ms"].mean or 0.0

    @property
    def decode_ms(self) -> float:
        """Mean decode time of a page."""
        return self.stats["decode_ms"].mean or 0.0

    @property
    def page_ms(self) -> float:
        """Mean time of a page on the device: prefill and decode."""
        return self.prefill_ms + self.decode_ms

    @property
    def parts_known(self) -> bool:
        """Whether prefill's parts are told apart at all."""
        return any(self.stats[metric].mean is not None for metric in _PARTS.values())

    @property
    def centres(self) -> list[CostCentre]:
        """Cost centres, the most expensive first; those without a value are left out."""
        found = [
            CostCentre(key=key, ms=stat.mean, share=stat.mean / self.page_ms)
            for key, stat in _centre_stats(self.stats).items()
            if stat.mean is not None and self.page_ms
        ]
        if not self.parts_known:
            found.append(
                CostCentre(key="prefill", ms=self.prefill_ms, share=self.prefill_ms / self.page_ms)
            )
        return sorted(found, key=lambda centre: -centre.ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """FLOPs of a variant's resolution under one FLOP model."""

    variant: str
    resolution: str
    flop_model: str
    prompt_tokens: int
    components: Mapping[str, int]
    total: int
    context_tokens: float | None
    per_token: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything that the four texts say."""

    pages: tuple[Page, ...]
    variants: tuple[Variant, ...]
    hardware: Hardware
    ceiling: Ceiling
    flops: tuple[Flops, ...]
    uncounted: Mapping[tuple[str, ...], tuple[str, ...]]
    absent_flops: Mapping[tuple[str, str], int]
    operators: tuple[StageOperators, ...]
    survey: Survey
    settings: Mapping[str, Any]

    @property
    def repeats(self) -> int:
        """Most repeats of a page."""
        return max(m.stats["prefill_ms"].n for page in self.pages for m in page.measured)

    def operators_of(self, variant: str, stage: str) -> StageOperators | None:
        """The operators of a variant's stage, None where no trace has any."""
        found = (o for o in self.operators if (o.variant, o.stage) == (variant, stage))
        return next(found, None)


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
    settings: Mapping[str, Any],
) -> ReportData:
    """Put the artefacts together.

    Raises:
        ValueError: a table lacks a page or variant that the runs have, or the other way round.
    """
    stats = _statistics(summary, metrics, survey)
    calibrations = list(calibrations)
    absent_flops: dict[tuple[str, str], int] = {}
    for calibration in calibrations:
        for key in calibration.absent.items():
            absent_flops[key] = absent_flops.get(key, 0) + 1
    pages = tuple(_pages(inputs, stats, survey))
    return ReportData(
        pages=pages,
        variants=tuple(_variants(stats, survey, pages)),
        hardware=hardware,
        ceiling=ceiling,
        flops=tuple(row for calibration in calibrations for row in _flops(calibration, survey)),
        uncounted=_uncounted(calibrations),
        absent_flops=absent_flops,
        operators=tuple(operators),
        survey=survey,
        settings=settings,
    )


def _statistics(
    summary: pd.DataFrame, metrics: pd.DataFrame, survey: Survey
) -> dict[tuple[str, str], dict[str, Stat]]:
    """Statistics by (variant, image) and metric, the rest of prefill included."""
    stats: dict[tuple[str, str], dict[str, Stat]] = {}
    one_token = {page for page, tokens in survey.tokens.items() if tokens.new_most == 1}
    for row in summary.to_dict("records"):
        page, metric = (str(row["variant"]), str(row["image"])), str(row["metric"])
        reasons = survey.reasons(_FIELDS.get(metric, metric))
        if metric in _OF_STEPS and (page in one_token or page[1] == ALL):
            reasons = [_NO_STEPS]
        stats.setdefault(page, {})[metric] = Stat.of(row, "; ".join(reasons))
    known = [metric for metric in _PARTS.values() if metric in metrics]
    rest = metrics["prefill_ms"] - metrics[known].sum(axis="columns", skipna=True)
    rest = rest.where(metrics[known].notna().any(axis="columns"))
    rest = pd.to_numeric(rest).astype("float64")
    means: dict[str, list[float]] = {}
    groups = rest.groupby([metrics["variant"], metrics["image"]], sort=False)
    for (variant, image), values in groups:
        page = (str(variant), str(image))
        if page not in stats:
            raise ValueError(f"summary.csv lacks the page {image} of the variant {variant}")
        stats[page]["rest_ms"] = Stat.of(describe(values.to_numpy(dtype=float)), _NO_PARTS)
        means.setdefault(page[0], []).append(float(values.mean()))
    for variant, of_pages in means.items():
        over_pages = describe(np.array(of_pages, dtype=np.float64))
        stats[variant, ALL]["rest_ms"] = Stat.of(over_pages, _NO_PARTS)
    return stats


def _pages(
    inputs: pd.DataFrame, stats: Mapping[tuple[str, str], Mapping[str, Stat]], survey: Survey
) -> Iterable[Page]:
    variants = list(survey.runs)
    for row in inputs.to_dict("records"):
        image = str(row["image"])
        for variant in variants:
            if (variant, image) not in stats or (variant, image) not in survey.tokens:
                raise ValueError(f"the page {image} was not measured in the variant {variant}")
        category = row.get("category")
        yield Page(
            image=image,
            path=str(row["path"]),
            sha256=str(row["sha256"]),
            width=int(row["width"]),
            height=int(row["height"]),
            category="" if category is None or pd.isna(category) else str(category),
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
        # The two steps were counted; other models of decode are no part of a calibration.
        decode = context is not None and flop_model == "counted"
        yield Flops(
            variant=calibration.variant,
            resolution=calibration.resolution,
            flop_model=flop_model,
            prompt_tokens=calibration.prompt_tokens,
            components={
                name: flops[flop_model]
                for name, flops in calibration.prefill_flops.items()
                if flop_model in flops
            },
            total=prefill,
            context_tokens=context if decode else None,
            per_token=flops_per_step(calibration, context) if decode and context else None,
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


def _centre_stats(stats: Mapping[str, Stat]) -> dict[str, Stat]:
    metrics = _PARTS | {"rest": "rest_ms", "decode": "decode_ms"}
    return {key: stats[metrics[key]] for key in CENTRES}
