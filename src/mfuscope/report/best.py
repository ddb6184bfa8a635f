"""The best of what was tried, in sentences."""

from mfuscope.compare.ratios import Compared
from mfuscope.report.data import ReportData, Tried
from mfuscope.report.formats import listing, milliseconds, number, ratio_interval
from mfuscope.report.side_by_side import IDENTICAL, TOO_FEW_FOR_ENDS, changes_text
from mfuscope.report.tried import (
    candidates,
    fastest,
    fastest_with_same_tokens,
    highest_throughput,
    same_work,
    speed_metric,
    verdict_of,
)
from mfuscope.report.wording import answer_text, page_of


def best_sentences(data: ReportData) -> list[str]:
    """What the best variants reach, if any was shown to be faster; empty where none was tried."""
    if not data.tried:
        return []
    found = []
    best, batch = fastest(data), highest_throughput(data)
    if best is not None:
        found.append(f"Fastest of what was tried: {_fast(data, best)}{tokens(best)}.")
    sure = _surer(data)
    if sure is not None:
        found.append(f"Fastest with the same tokens: {_fast(data, sure)}.")
    if batch is not None:
        one = batch.compared["pages_per_s"]
        found.append(
            f"Highest throughput: {batch.variant.name} ({changes_text(batch.changes)}) completes "
            f"{number(one.variant_mean or 0)} pages/s ({answer_text(data.reference.answer)} each) "
            f"instead of {number(one.reference_mean or 0)}: {times(one, 'as many')}"
            f"{tokens(batch)}; {IDENTICAL}."
        )
    return [*(found or [none_best(data)]), *_other_work(data)]


def remarks(data: ReportData) -> list[str]:
    """What the comparison's table and the verdict do not say of the best variants."""
    sure = _surer(data)
    found = [] if sure is None else [f"Fastest with the same tokens: {_fast(data, sure)}."]
    return [*found, *_other_work(data)]


def _surer(data: ReportData) -> Tried | None:
    """The fastest variant with the reference's tokens, where the fastest of all has others."""
    sure = fastest_with_same_tokens(data)
    return None if sure is fastest(data) else sure


def _fast(data: ReportData, best: Tried) -> str:
    one = best.compared["page_ms"]
    return (
        f"{best.variant.name} ({changes_text(best.changes)}) takes "
        f"{milliseconds(one.variant_mean or 0)} for {page_of(data.reference)} instead of "
        f"{milliseconds(one.reference_mean or 0)}: {times(one, 'as fast', inverse=True)}"
    )


def none_best(data: ReportData) -> str:
    """Why no variant is named the best."""
    reference, same = data.reference.name, candidates(data)
    if not same:
        if any(same_work(data, one) for one in data.tried):
            return f"No variant is compared with {reference}: a rule of validity forbids it."
        return f"No variant was tried that does the same work as {reference}."
    verdicts = [verdict_of(one, speed_metric(data, one)) for one in same]
    if not any(verdicts):
        return f"Whether a variant is faster than {reference} is not known: {TOO_FEW_FOR_ENDS}."
    if "faster" in verdicts:
        return (
            f"No variant was shown to be faster than {reference}: the best of "
            f"{len(same)} may look so by chance."
        )
    return f"No variant was shown to be faster than {reference}."


def _other_work(data: ReportData) -> list[str]:
    """Which variants are faster by doing other work."""
    names = [
        f"{one.variant.name} ({changes_text(one.changes)})"
        for one in data.tried
        if not same_work(data, one) and verdict_of(one, speed_metric(data, one)) == "faster"
    ]
    if not names:
        return []
    return [f"Other work than that of {data.reference.name}, so not compared: {listing(names)}."]


def times(found: Compared, what: str, *, inverse: bool = False) -> str:
    """A ratio, or its inverse, in words: ``4.31 times as fast (95 % interval 4.10 to 4.52)``."""
    ratio, low, high = found.ratio or 1.0, found.ci95_low, found.ci95_high
    if inverse:
        ratio = 1 / ratio
        low, high = (1 / high if high else None), (1 / low if low else None)
    text = f"{number(ratio)} times {what}"
    if low is None or high is None or not (ends := ratio_interval(ratio, low, high)):
        return text
    return f"{text} (95\N{NO-BREAK SPACE}% interval {ends})"


def tokens(one: Tried) -> str:
    # Dummies may answer every page alike: that proves nothing of the text.
    same = "the same tokens" + (" (of dummies)" if one.variant.model.weights == "dummy" else "")
    return {
        True: f", with {same}",
        False: ", with other tokens: check the text",
        None: ", with tokens that are not known to be the same: check the text",
    }[one.same_tokens]
