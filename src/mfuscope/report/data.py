"""The report's one data object: every text is rendered from it. `gather` fills it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any

from mfuscope.compare.ratios import Compared
from mfuscope.compare.variants import Samples
from mfuscope.core.counters import Counters
from mfuscope.core.records import Ceiling, Hardware, MissingRun, Model, SkippedPage
from mfuscope.metrics.counted import Reconciliation
from mfuscope.metrics.precision import Precision
from mfuscope.metrics.repeats import Excess
from mfuscope.report.faults import Fault
from mfuscope.report.host_record import StageRecord
from mfuscope.report.operators import StageKernels, StageOperators
from mfuscope.report.outliers import Outlier
from mfuscope.report.page_endings import PageEnding
from mfuscope.report.sessions import Neighbours, Overlap, SessionRuns
from mfuscope.report.survey import Survey, Tokens
from mfuscope.report.traced_steps import TracedStep
from mfuscope.storage.tables import number_in

#: The two stages of a page.
STAGES = ("prefill", "decode")
#: Cost centres in the order of execution; together they are a page's time on the device.
CENTRES = ("vision", "projector", "language", "rest", "decode")
#: The metrics of prefill's parts; the rest of prefill is the remainder.
PARTS = {"vision": "vision_ms", "projector": "projector_ms", "language": "language_prefill_ms"}
#: The parts that every model has: where one of them is not known, the rest would hold it.
NEEDED_PARTS = ("vision_ms", "language_prefill_ms")
#: The times that a recommendation may shorten.
TIMES = ("page_ms", "prefill_ms", "vision_ms", "decode_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A row of summary.csv. Absent values are None; `reason` says why the mean is absent.

    `total` and its interval are None for what is no rate.
    """

    n: int
    mean: float | None
    std: float | None
    cv: float | None
    ci95_low: float | None
    ci95_high: float | None
    min: float | None
    max: float | None
    std_repeats: float | None
    total: float | None
    total_ci95_low: float | None
    total_ci95_high: float | None
    reason: str = ""

    @classmethod
    def of(cls, row: Mapping[str, Any], reason: str = "") -> "Stat":
        """From a row of summary.csv."""
        names = [field.name for field in fields(cls) if field.name not in ("n", "reason")]
        values = {name: number_in(row[name]) for name in names}
        absent = (reason or "no value") if values["mean"] is None else ""
        return cls(n=int(row["n"]), reason=absent, **values)

    @property
    def value(self) -> float | None:
        """What the report says in one number: total work / total time of a rate, else the mean."""
        return self.mean if self.total is None else self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The length of a variant's answers, and what other lengths would need.

    Attributes:
        least, most, mean: new tokens of its pages, of each page the mean over its repeats.
        longest: the most new tokens for which the model has positions after its longest prompt;
            None where its config names no number of positions.
        flops: model FLOPs of prefill and decode by new tokens, mean over its pages, of one copy.
    """

    least: int
    most: int
    mean: float
    longest: int | None
    flops: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A page in a variant: statistics over its repeats, by metric; ``rest_ms`` included."""

    variant: str
    resolution: str
    tokens: Tokens
    stats: Mapping[str, Stat]

    @property
    def centres(self) -> dict[str, Stat]:
        """Times in ms by cost centre; of prefill none if its parts are not known."""
        return _centre_stats(self.stats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An image of inputs.csv and its measurements by variant; only its first frame is measured."""

    image: str
    path: str
    sha256: str
    width: int
    height: int
    category: str
    frames: int
    measured: tuple[Measured, ...]

    @property
    def file(self) -> str:
        """Its path if its id differs from the file's name, else empty."""
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

    `stats` are the rows of the image ``all``, where n counts pages. `headline` equals `stats`, or
    with a single page the statistics of its repeats; `over` is ``page`` or ``repeat``.
    `answer` is the length that times are of. `batch_size` copies of a page are decoded together,
    and times are of all of them. `compile_s` is the longest compilation before its runs; None where
    nothing was compiled. `starved`: in most of its runs the measuring thread waited for a CPU.
    """

    name: str
    model: Model
    stats: Mapping[str, Stat]
    headline: Mapping[str, Stat]
    over: str
    answer: Answer
    batch_size: int = 1
    compile_s: float | None = None
    starved: bool = False

    @property
    def prefill_ms(self) -> float:
        """Mean prefill time of a page."""
        return self.stats["prefill_ms"].mean or 0.0

    @property
    def decode_ms(self) -> float:
        """Mean decode time of a page."""
        return self.stats["decode_ms"].mean or 0.0

    @property
    def tpot_ms(self) -> float | None:
        """Time per output token (TPOT): total decode time / decode steps; None without a step.

        A step makes a token of each copy of a batch.
        """
        rate = self.stats["decode_tokens_per_s"].value
        return 1e3 * self.batch_size / rate if rate else None

    @property
    def page_ms(self) -> float:
        """Mean time of a page on the device: prefill and decode."""
        return self.prefill_ms + self.decode_ms

    @property
    def ms_per_page(self) -> float:
        """Mean time of one page: in a batch, its share of the batch's time."""
        return self.page_ms / self.batch_size

    @property
    def parts_known(self) -> bool:
        """Whether times of prefill's parts are known; there may be no projector."""
        return _parts_known(self.stats)

    @property
    def centres(self) -> list[CostCentre]:
        """Cost centres with a value, the most expensive first."""
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
class Tried:
    """A variant after the first one, the reference, held against it over all pages.

    Attributes:
        variant: what was tried.
        changes: the settings in which it differs, with its own values.
        compared: by metric.
        same_tokens: whether both made the same tokens of every page; None where not known.
    """

    variant: Variant
    changes: Mapping[str, Any]
    compared: Mapping[str, Compared]
    same_tokens: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flops:
    """FLOPs of a variant's resolution under one FLOP model."""

    variant: str
    resolution: str
    flop_model: str
    prompt_tokens: int
    image_tokens: int | None
    components: Mapping[str, float]
    total: float
    context_tokens: float | None
    per_token: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything that the texts and figures are made of.

    `tried` has the variants after the first one. `samples` has the times of the runs that a
    recommendation may shorten: what one of a variant proposes may have been tried in another one.
    `excesses` say why repeats differ, `precisions` how precise they make the pages' means;
    `host_records` what the host did in them; `sessions`, `overlaps` and `neighbours` what differed
    around the runs. `counted` has hardware counters beside the model's FLOPs, `not_counted` the
    resolutions that could not be counted; `traced_steps` a decode step of each variant; `endings`
    how the answers of each page ended, where runs tell.
    """

    pages: tuple[Page, ...]
    variants: tuple[Variant, ...]
    tried: tuple[Tried, ...]
    samples: Samples
    hardware: Hardware
    ceiling: Ceiling
    flops: tuple[Flops, ...]
    uncounted: Mapping[tuple[str, ...], tuple[str, ...]]
    absent_flops: Mapping[tuple[str, str], int]
    operators: tuple[StageOperators, ...]
    kernels: tuple[StageKernels, ...]
    survey: Survey
    outliers: tuple[Outlier, ...]
    excesses: tuple[Excess, ...]
    precisions: tuple[Precision, ...]
    host_records: tuple[StageRecord, ...]
    sessions: tuple[SessionRuns, ...]
    overlaps: tuple[Overlap, ...]
    neighbours: Neighbours
    settings: Mapping[str, Any]
    command: str
    commit: str | None
    skipped: tuple[SkippedPage, ...] = ()
    missing: tuple[MissingRun, ...] = ()
    faults: tuple[Fault, ...] = ()
    counted: tuple[Reconciliation, ...] = ()
    not_counted: tuple[Counters, ...] = ()
    traced_steps: tuple[TracedStep, ...] = ()
    endings: tuple[PageEnding, ...] = ()

    @property
    def reference(self) -> Variant:
        """The variant that the others are held against."""
        return self.variants[0]

    def settings_of(self, variant: str) -> Mapping[str, Any]:
        """The settings of a variant, as they were resolved."""
        found: Mapping[str, Any] = self.settings.get("variants", {}).get(variant) or {}
        return found

    @property
    def repeats(self) -> int:
        """Most repeats of a page."""
        return max(m.stats["prefill_ms"].n for page in self.pages for m in page.measured)

    def operators_of(self, variant: str, stage: str) -> StageOperators | None:
        """The operators of a variant's stage; None if no trace has any."""
        found = (o for o in self.operators if (o.variant, o.stage) == (variant, stage))
        return next(found, None)

    def kernels_of(self, variant: str, stage: str) -> StageKernels | None:
        """The kernels of a variant's stage; None if no trace has any."""
        found = (k for k in self.kernels if (k.variant, k.stage) == (variant, stage))
        return next(found, None)


def _parts_known(stats: Mapping[str, Stat]) -> bool:
    return all(stats[metric].mean is not None for metric in NEEDED_PARTS)


def _centre_stats(stats: Mapping[str, Stat]) -> dict[str, Stat]:
    if not _parts_known(stats):
        return {"decode": stats["decode_ms"]}
    metrics = PARTS | {"rest": "rest_ms", "decode": "decode_ms"}
    return {key: stats[metrics[key]] for key in CENTRES}
