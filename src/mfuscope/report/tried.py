"""What was tried: the variants held against the reference, and the best of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from mfuscope.compare.ratios import Compared, among
from mfuscope.compare.variants import COMPARED
from mfuscope.compare.verdicts import Verdict, verdict
from mfuscope.metrics.statistics import ALL
from mfuscope.report.data import ReportData, Tried, Variant
from mfuscope.report.publishable import comparable
from mfuscope.storage.tables import number_in

#: Settings that change what is to be done, and not only how.
WORK: Final = frozenset(
    {
        "model",
        "load_format",
        "prompt",
        "resolution",
        "max_new_tokens",
        "ignore_eos",
        "no_repeat_ngram_size",
    }
)


# Settings that change what is looked at, and nothing that is measured.
_OBSERVING = ("counters",)


def changes(reference: Mapping[str, Any], variant: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in which a variant differs from the reference, with its own values."""
    names = dict.fromkeys(name for name in [*reference, *variant] if name not in _OBSERVING)
    return {name: variant.get(name) for name in names if variant.get(name) != reference.get(name)}


def what_was_tried(
    comparison: pd.DataFrame, variants: Sequence[Variant], settings: Mapping[str, Any]
) -> tuple[Tried, ...]:
    """The variants after the first one, each with its rows of comparison.csv over all pages.

    Args:
        settings: those of each variant, by its name.
    """
    reference = settings.get(variants[0].name) or {}
    return tuple(
        Tried(
            variant=variant,
            changes=changes(reference, settings.get(variant.name) or {}),
            compared={str(row["metric"]): _compared(row) for row in rows},
            same_tokens=_same_tokens(rows),
        )
        for variant in variants[1:]
        if (rows := _rows_of(comparison, variant.name))
    )


def verdict_of(one: Tried, metric: str) -> Verdict:
    """The verdict on a metric of what was tried."""
    return verdict(metric, one.compared[metric])


def is_batch(data: ReportData, one: Tried) -> bool:
    """Whether its times are of another number of pages than the reference's."""
    return one.variant.batch_size != data.reference.batch_size


def speed_metric(data: ReportData, one: Tried) -> str:
    """The metric that tells whether a variant is faster: of a batch, the pages per second."""
    return "pages_per_s" if is_batch(data, one) else "page_ms"


def same_work(data: ReportData, one: Tried) -> bool:
    """Whether a variant does the reference's work: by its settings and numbers of tokens."""
    if not WORK.isdisjoint(one.changes):
        return False
    tokens, reference, name = data.survey.tokens, data.reference.name, one.variant.name
    return all(
        tokens[name, page.image] == tokens[reference, page.image]
        for page in data.pages
        if (name, page.image) in tokens and (reference, page.image) in tokens
    )


def candidates(data: ReportData) -> list[Tried]:
    """The variants that may be named the best: comparable ones that do the reference's work."""
    if not comparable(data, data.reference):
        return []
    return [one for one in data.tried if same_work(data, one) and comparable(data, one.variant)]


def fastest(data: ReportData) -> Tried | None:
    """The variant that takes the least time of a page, if it was shown to be faster.

    Only variants that do the same work count, and the best of several needs a wider interval.
    """
    found = [one for one in candidates(data) if not is_batch(data, one)]
    return _best(data, found, "page_ms", lower_is_better=True)


def fastest_with_same_tokens(data: ReportData) -> Tried | None:
    """The fastest variant of those that also write the reference's text."""
    found = [one for one in candidates(data) if one.same_tokens and not is_batch(data, one)]
    return _best(data, found, "page_ms", lower_is_better=True)


def highest_throughput(data: ReportData) -> Tried | None:
    """The variant of another batch size that takes the most pages, if it was shown to be faster."""
    found = [one for one in candidates(data) if is_batch(data, one)]
    return _best(data, found, "pages_per_s", lower_is_better=False)


def _best(
    data: ReportData, found: Iterable[Tried], metric: str, *, lower_is_better: bool
) -> Tried | None:
    k = len(candidates(data))
    faster = [one for one in found if verdict(metric, among(one.compared[metric], k)) == "faster"]

    def ratio(one: Tried) -> float:
        value = one.compared[metric].ratio or 1.0
        return value if lower_is_better else 1 / value

    return min(faster, key=ratio, default=None)


def _rows_of(comparison: pd.DataFrame, variant: str) -> list[dict[str, Any]]:
    mine = comparison[(comparison["variant"] == variant) & (comparison["image"] == ALL)]
    rows = [{str(key): value for key, value in row.items()} for row in mine.to_dict("records")]
    return [row for row in rows if row["metric"] in COMPARED]


def _compared(row: Mapping[str, Any]) -> Compared:
    names = ("reference_mean", "variant_mean", "ratio", "ci95_low", "ci95_high")
    return Compared(
        n=int(row["n"]),
        **{name: number_in(row[name]) for name in names},
    )


def _same_tokens(rows: Sequence[Mapping[str, Any]]) -> bool | None:
    value = rows[0]["same_tokens"]
    return None if pd.isna(value) else bool(value)


def advised(data: ReportData) -> list[str]:
    """The variants whose recommendations the texts have: not of those that are not the best."""
    best = [one for one in (fastest(data), fastest_with_same_tokens(data)) if one is not None]
    lesser = {one.variant.name for one in candidates(data)} - {one.variant.name for one in best}
    return [variant.name for variant in data.variants if variant.name not in lesser]
