"""What was tried, in tables and sentences: each variant beside the reference."""

from collections.abc import Callable, Mapping
from typing import Any

from mfuscope.compare.ratios import Compared
from mfuscope.compare.verdicts import NO_DIFFERENCE
from mfuscope.report.cells import (
    TOO_FEW,
    Cell,
    Table,
    Tone,
    absent,
    amount,
    build,
    figure,
    label,
    says_nothing,
)
from mfuscope.report.data import ReportData, Tried
from mfuscope.report.formats import (
    listing,
    milliseconds,
    number,
    percent,
    plural,
    ratio_interval,
    shortened,
    unbroken,
)
from mfuscope.report.tried import (
    candidates,
    fastest,
    fastest_with_same_tokens,
    highest_throughput,
    is_batch,
    same_work,
    speed_metric,
    verdict_of,
)
from mfuscope.report.wording import answer_text, page_of

#: Measures the usual cures beside the reference.
WHAT_IF = "snakemake --configfile config/what-if.yaml"
IDENTICAL = "throughput of identical pages, no scheduler"

_NOT_MEASURED = "not measured"
_TOO_FEW = "too few pages or repeats for an interval"
_OTHER_WORK = "other work"
_LONGEST = 60  # characters of a setting's value: a prompt may have thousands

Column = tuple[str, str, Callable[[float], str]]
_SPEEDS: tuple[Column, ...] = (
    ("Page", "page_ms", milliseconds),
    ("Prefill", "prefill_ms", milliseconds),
    ("Decode", "decode_ms", milliseconds),
    ("Tokens/s", "decode_tokens_per_s", number),
    ("Pages/s", "pages_per_s", number),
)
_RESOURCES: tuple[Column, ...] = (
    ("MFU", "mfu_model", percent),
    ("MBU of decode", "mbu_decode", percent),
    ("Busy in prefill", "prefill_busy_share", percent),
    ("Busy in decode", "decode_busy_share", percent),
    ("Kernels a prefill", "prefill_kernels", number),
    ("Kernels a step", "decode_kernels_per_step", number),
    ("Peak memory", "peak_memory_gb", lambda value: f"{number(value)}\N{NO-BREAK SPACE}GB"),
    ("Energy a page", "energy_per_page_j", lambda value: f"{number(value)}\N{NO-BREAK SPACE}J"),
)


def changes_text(changes: Mapping[str, Any]) -> str:
    """The settings of a variant that differ from the reference's."""
    if not changes:
        return "the same settings"
    return ", ".join(f"{name}: {_value(value)}" for name, value in changes.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value in (None, "") else shortened(str(value), _LONGEST)


def speeds(data: ReportData) -> Table:
    """Times and speeds of each variant beside the reference's, with the verdict."""
    rows = [
        [
            _reference_label(data),
            Cell("reference"),
            *_own(data, _SPEEDS),
            Cell(""),
            figure(data.reference.compile_s, reason="nothing was compiled"),
        ]
    ]
    for one in data.tried:
        tokens = {True: "yes", False: "no", None: "not known"}[one.same_tokens]
        rows.append(
            [
                label(one.variant.name, changes_text(one.changes)),
                _verdict(data, one),
                *(_ratio(one, metric, _copies(data, one, metric)) for _, metric, _ in _SPEEDS),
                Cell(tokens),
                figure(one.variant.compile_s, reason="nothing was compiled"),
            ]
        )
    columns = [column for column, _, _ in _SPEEDS]
    return build(
        f"Times and speeds ({answer_text(data.reference.answer)} a page): the reference's own, and "
        f"each variant's divided by them {_sample(data)}",
        ("Variant", "Verdict", *columns, "Same tokens", "Compilation, s"),
        rows,
        dropped={*columns, "Compilation, s"},
    )


def resources(data: ReportData) -> Table:
    """Utilisation and resources of each variant beside the reference's."""
    columns = [column for column, _, _ in _RESOURCES]
    rows = [[_reference_label(data), *_own(data, _RESOURCES)]]
    rows += [
        [
            label(one.variant.name, changes_text(one.changes)),
            *(_ratio(one, metric) for _, metric, _ in _RESOURCES),
        ]
        for one in data.tried
    ]
    return build(
        f"Utilisation and resources: the reference's own, and each variant's divided by them "
        f"{_sample(data)}",
        ("Variant", *columns),
        rows,
        dropped=columns,
    )


def _reference_label(data: ReportData) -> Cell:
    return label(data.reference.name, "the reference")


def _sample(data: ReportData) -> str:
    if data.reference.over == "repeat":
        return f"(one page, {plural(data.repeats, 'repeat')}), with the 95 % interval"
    own = set(data.samples[data.reference.name])
    pages = [len(own & set(data.samples[one.variant.name])) for one in data.tried]
    fewest = f"{min(pages)} to " if min(pages) < max(pages) else ""
    return f"(paired over {fewest}{plural(max(pages), 'page')}), with the 95 % interval"


def _own(data: ReportData, columns: tuple[Column, ...]) -> list[Cell]:
    """The reference's own values."""
    cells = []
    for _, metric, text in columns:
        stat = data.reference.stats.get(metric)
        means = [one.compared[metric].reference_mean for one in data.tried]
        value = stat.value if stat else next((mean for mean in means if mean is not None), None)
        cells.append(absent(_NOT_MEASURED) if value is None else amount(text(value)))
    return cells


def _copies(data: ReportData, one: Tried, metric: str) -> str:
    """How many pages a time is of, where that is another number than the reference's."""
    of_batch = metric.endswith("_ms") and is_batch(data, one)
    return f"for {plural(one.variant.batch_size, 'copy', 'copies')}" if of_batch else ""


def _ratio(one: Tried, metric: str, about: str = "") -> Cell:
    found = one.compared[metric]
    if found.ratio is None:
        return absent(_NOT_MEASURED)
    text = f"×{number(found.ratio)}"
    if found.ci95_low is None or found.ci95_high is None:
        return Cell(text, "number", note=_TOO_FEW, sub=about)
    ends = ratio_interval(found.ratio, found.ci95_low, found.ci95_high)
    same = NO_DIFFERENCE if verdict_of(one, metric) == NO_DIFFERENCE else ""
    note = "" if ends else "the same in every run"
    if same and says_nothing(found.ci95_low, found.ci95_high):
        ends = TOO_FEW
    return Cell(
        text, "number", note=note, sub="\n".join(filter(None, (unbroken(ends), same, about)))
    )


def _verdict(data: ReportData, one: Tried) -> Cell:
    """The verdict on a page's time; of a batch on the pages per second."""
    metric = speed_metric(data, one)
    found, ratio = verdict_of(one, metric), one.compared[metric].ratio
    same = same_work(data, one)
    other = "" if same else _OTHER_WORK
    if not found or ratio is None:
        return Cell("not known", note=_TOO_FEW, sub=other)
    if found == NO_DIFFERENCE:
        return Cell(found, sub=other)
    if metric == "pages_per_s":
        text = f"{number(ratio)} times the pages/s"
    elif found == "faster":
        text = f"{number(1 / ratio)} times as fast"
    else:
        text = f"{number(ratio)} times as long"
    tone: Tone = ("better" if found == "faster" else "worse") if same else ""
    return Cell(found, sub="\n".join(filter(None, (text, other))), tone=tone)


def batch_statement(data: ReportData) -> str:
    """What times of a batch mean; empty without one."""
    batches = [v for v in data.variants if v.batch_size > 1]
    if not batches:
        return ""
    names = listing([f"{v.name} ({v.batch_size} copies of a page)" for v in batches])
    return (
        f"Batches: {names}. Their times are of the whole batch, decoded together; pages/s, "
        f"tokens/s and MFU count every copy: {IDENTICAL}."
    )


def best_sentences(data: ReportData) -> list[str]:
    """What the best variants reach, if any was shown to be faster; empty where none was tried."""
    if not data.tried:
        return []
    found = []
    best, batch = fastest(data), highest_throughput(data)
    if best is not None:
        found.append(f"Fastest of what was tried: {_fast(data, best)}{_tokens(best)}.")
    sure = fastest_with_same_tokens(data)
    if sure is not None and sure is not best:
        found.append(f"Fastest with the same tokens: {_fast(data, sure)}.")
    if batch is not None:
        one = batch.compared["pages_per_s"]
        found.append(
            f"Highest throughput: {batch.variant.name} ({changes_text(batch.changes)}) completes "
            f"{number(one.variant_mean or 0)} pages/s ({answer_text(data.reference.answer)} each) "
            f"instead of {number(one.reference_mean or 0)}: {times(one, 'as many')}"
            f"{_tokens(batch)}; {IDENTICAL}."
        )
    return [*(found or [_none_best(data)]), *_other_work(data)]


def _fast(data: ReportData, best: Tried) -> str:
    one = best.compared["page_ms"]
    return (
        f"{best.variant.name} ({changes_text(best.changes)}) takes "
        f"{milliseconds(one.variant_mean or 0)} for {page_of(data.reference)} instead of "
        f"{milliseconds(one.reference_mean or 0)}: {times(one, 'as fast', inverse=True)}"
    )


def _none_best(data: ReportData) -> str:
    """Why no variant is named the best."""
    reference, same = data.reference.name, candidates(data)
    if not same:
        return f"No variant was tried that does the same work as {reference}."
    verdicts = [verdict_of(one, speed_metric(data, one)) for one in same]
    if not any(verdicts):
        return f"Whether a variant is faster than {reference} is not known: {_TOO_FEW}."
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


def unadvised(data: ReportData, advised: list[str]) -> str:
    """Which variants have no list of recommendations; empty where all have one."""
    names = [variant.name for variant in data.variants if variant.name not in advised]
    if not names:
        return ""
    return (
        f"Those for {listing(names)} are in report.json alone: they do the same work as "
        f"{data.reference.name}, and were not the fastest."
    )


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


def _tokens(one: Tried) -> str:
    return {
        True: ", with the same tokens",
        False: ", with other tokens: check the text",
        None: ", with tokens that are not known to be the same: check the text",
    }[one.same_tokens]
