"""What was tried, in tables and sentences: each variant beside the reference."""

import shlex
from collections.abc import Callable, Mapping
from typing import Any

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
from mfuscope.report.data import ReportData, Tried, Variant
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
from mfuscope.report.publishable import broken_rules, comparable
from mfuscope.report.tried import (
    is_batch,
    same_work,
    speed_metric,
    verdict_of,
)
from mfuscope.report.wording import answer_text

IDENTICAL = "throughput of identical pages, no scheduler"

_NOT_MEASURED = "not measured"
TOO_FEW_FOR_ENDS = "too few pages or repeats for an interval"
_OTHER_WORK = "other work"
_LONGEST = 60  # characters of a setting's value: a prompt may have thousands

Column = tuple[str, str, Callable[[float], str]]


def _gigabytes(value: float) -> str:
    return f"{number(value)}\N{NO-BREAK SPACE}GB"


def _joules(value: float) -> str:
    return f"{number(value)}\N{NO-BREAK SPACE}J"


_COMPARED: tuple[Column, ...] = (
    ("Page", "page_ms", milliseconds),
    ("Prefill", "prefill_ms", milliseconds),
    ("Decode", "decode_ms", milliseconds),
    ("Tokens/s", "decode_tokens_per_s", number),
    ("Pages/s", "pages_per_s", number),
    ("MFU of a page", "mfu_model", percent),
    ("Peak memory", "peak_memory_gb", _gigabytes),
)
_RESOURCES: tuple[Column, ...] = (
    ("MBU of decode", "mbu_decode", percent),
    ("Busy in prefill", "prefill_busy_share", percent),
    ("Busy in decode", "decode_busy_share", percent),
    ("Kernels a prefill", "prefill_kernels", number),
    ("Kernels a step", "decode_kernels_per_step", number),
    ("Energy a page", "energy_per_page_j", _joules),
)


def what_if(data: ReportData) -> str:
    """The call that measures the usual cures beside the reference, with this call's settings."""
    _, _, given = data.command.partition(" --config ")
    settings = [word for word in shlex.split(given) if not word.startswith("variants=")]
    words = ["snakemake", "--configfile", "config/what-if.yaml"]
    return shlex.join([*words, "--config", *settings] if settings else words)


def changes_text(changes: Mapping[str, Any]) -> str:
    """The settings of a variant that differ from the reference's."""
    if not changes:
        return "the same settings"
    return ", ".join(f"{name}: {_value(value)}" for name, value in changes.items())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "not set" if value in (None, "") else shortened(str(value), _LONGEST)


def comparison(data: ReportData) -> Table:
    """Each variant beside the reference: verdict, times, speeds, MFU, memory, tokens."""
    rows = [
        [_reference_label(data), Cell("reference"), *_own(data, _COMPARED), Cell("")],
        *(
            [
                label(one.variant.name, changes_text(one.changes)),
                _verdict(data, one),
                *(_ratio(one, metric, _copies(data, one, metric)) for _, metric, _ in _COMPARED),
                Cell({True: "yes", False: "no", None: "not known"}[one.same_tokens]),
            ]
            for one in data.tried
        ),
    ]
    columns = [column for column, _, _ in _COMPARED]
    return build(
        f"Each variant ÷ the reference, whose own values are in the first row "
        f"({answer_text(data.reference.answer)} a page; {_sample(data)})",
        ("Variant", "Verdict", *columns, "Same tokens"),
        rows,
        dropped=columns,
    )


def resources(data: ReportData) -> Table:
    """Utilisation, kernels, energy and compilation of each variant beside the reference's."""
    columns = [column for column, _, _ in _RESOURCES]
    compiled = "Compilation, s"
    rows = [
        [_reference_label(data), *_own(data, _RESOURCES), _compilation(data.reference)],
        *(
            [
                label(one.variant.name, changes_text(one.changes)),
                *(_ratio(one, metric) for _, metric, _ in _RESOURCES),
                _compilation(one.variant),
            ]
            for one in data.tried
        ),
    ]
    return build(
        f"Utilisation, energy and compilation: each variant ÷ the reference ({_sample(data)}); "
        "seconds of compilation are each one's own",
        ("Variant", *columns, compiled),
        rows,
        dropped={*columns, compiled},
    )


def _compilation(variant: Variant) -> Cell:
    return figure(variant.compile_s, reason="nothing was compiled")


def _reference_label(data: ReportData) -> Cell:
    return label(data.reference.name, "the reference")


def _sample(data: ReportData) -> str:
    if data.reference.over == "repeat":
        return f"one page, {plural(data.repeats, 'repeat')}, with the 95 % interval"
    own = set(data.samples[data.reference.name])
    pages = [len(own & set(data.samples[one.variant.name])) for one in data.tried]
    fewest = f"{min(pages)} to " if min(pages) < max(pages) else ""
    return f"paired over {fewest}{plural(max(pages), 'page')}, with the 95 % interval"


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
        return Cell(text, "number", note=TOO_FEW_FOR_ENDS, sub=about)
    ends = ratio_interval(found.ratio, found.ci95_low, found.ci95_high)
    tone: Tone = "same" if verdict_of(one, metric) == NO_DIFFERENCE else ""
    note = "" if ends else "no spread in these digits"
    if tone and says_nothing(found.ci95_low, found.ci95_high):
        ends = TOO_FEW
    sub = "\n".join(filter(None, (unbroken(ends), about)))
    return Cell(text, "number", note=note, sub=sub, tone=tone)


def _verdict(data: ReportData, one: Tried) -> Cell:
    """The verdict on a page's time; of a batch on the pages per second."""
    for variant in (one.variant, data.reference):
        if not comparable(data, variant):
            rules = listing(broken_rules(data, variant))
            return Cell("not valid", sub=f"{variant.name} is {rules}")
    metric = speed_metric(data, one)
    found, ratio = verdict_of(one, metric), one.compared[metric].ratio
    same = same_work(data, one)
    other = "" if same else _OTHER_WORK
    if not found or ratio is None:
        return Cell("not known", note=TOO_FEW_FOR_ENDS, sub=other)
    if found == NO_DIFFERENCE:
        return Cell(found, sub=other)
    found_text: str = found
    if metric == "pages_per_s":
        found_text = "more pages/s" if found == "faster" else "fewer pages/s"
        text = f"{number(ratio)} times as many"
    elif found == "faster":
        text = f"{number(1 / ratio)} times as fast"
    else:
        text = f"{number(ratio)} times as long"
    tone: Tone = ("better" if found == "faster" else "worse") if same else ""
    return Cell(found_text, sub="\n".join(filter(None, (text, other))), tone=tone)


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


def unadvised(data: ReportData, advised: list[str]) -> str:
    """Which variants have no list of recommendations; empty where all have one."""
    names = [variant.name for variant in data.variants if variant.name not in advised]
    if not names:
        return ""
    return (
        f"Recommendations for {listing(names)} are in report.json alone: these do the same work as "
        f"{data.reference.name}, and were not the fastest."
    )
