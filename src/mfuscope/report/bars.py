"""The bars of report.html: where the time of a page goes, and how long the device was busy."""

from dataclasses import dataclass

from mfuscope.report import formats, wording
from mfuscope.report.data import STAGES, Measured, Page, ReportData
from mfuscope.report.names import fitted, page_names

#: Pages with bars of their own; where there are more, the slowest.
MOST_PAGES = 20
_NAME = 70  # columns of a page's name


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a bar: a cost centre, where it starts and how long it is, in % of the scale."""

    key: str
    name: str
    start: float
    length: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Where the time of one page goes in one variant; `repeats` is each one's end in %."""

    variant: str
    segments: tuple[Segment, ...]
    repeats: tuple[float, ...]
    total: str
    label: str


@dataclass(frozen=True, slots=True)
class PageBars:
    """The bars of a page's variants; `name` is shortened, `path` the whole one."""

    name: str
    path: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class TimeBars:
    """The bars of all pages on one scale, with the longest bar or repeat at 100 %.

    Attributes:
        shown: all pages as they were listed; of many the slowest ones, the slowest first.
        others: the pages that are folded.
        legend: the cost centres of the bars with their names.
    """

    shown: tuple[PageBars, ...]
    others: tuple[PageBars, ...]
    legend: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """Device busy and idle in a stage of a variant, in % of the stage; `label` in text."""

    variant: str
    stage: str
    busy: float
    label: str


def bars(data: ReportData) -> TimeBars:
    """The bars of each page's variants."""
    reach = {page.image: max(_reach(data, page, m) for m in page.measured) for page in data.pages}
    longest, names = max(reach.values(), default=0.0) or 1.0, page_names(data)
    pages = list(data.pages)
    if len(pages) > MOST_PAGES:
        pages.sort(key=lambda page: -max(m.stats["page_ms"].mean or 0.0 for m in page.measured))
    drawn = tuple(
        PageBars(
            fitted(names[page.image], _NAME),
            page.path,
            tuple(_bar(data, page, names[page.image], m, longest) for m in page.measured),
        )
        for page in pages
    )
    used = {part.key for page in drawn for bar in page.bars for part in bar.segments}
    legend = tuple((key, one.name) for key, one in wording.CENTRES.items() if key in used)
    return TimeBars(drawn[:MOST_PAGES], drawn[MOST_PAGES:], legend)


def copies_of(data: ReportData, variant: str) -> int:
    """The copies of a page that a variant decodes together: its times are of all of them."""
    return next(one.batch_size for one in data.variants if one.name == variant)


def repeats_ms(data: ReportData, variant: str, image: str) -> list[float]:
    """The times of a page in ms, of each of its repeats."""
    return [float(ms) for ms in data.samples[variant][image].values["page_ms"].known.work]


def _reach(data: ReportData, page: Page, measured: Measured) -> float:
    mean = measured.stats["page_ms"].mean or 0.0
    return max([mean, *repeats_ms(data, measured.variant, page.image)])


def parts_ms(measured: Measured) -> list[tuple[str, float]]:
    """Cost centres and their ms, in the order of execution."""
    found = [(key, max(stat.mean, 0.0)) for key, stat in measured.centres.items() if stat.mean]
    if all(key == "decode" for key, _ in found):
        found.insert(0, ("prefill", measured.stats["prefill_ms"].mean or 0.0))
    return found


def _bar(data: ReportData, page: Page, name: str, measured: Measured, longest: float) -> Bar:
    parts = parts_ms(measured)
    total = sum(ms for _, ms in parts)
    segments, start = [], 0.0
    for key, ms in parts:
        length = 100 * ms / longest
        share = formats.percent(ms / total) if total else ""
        label = f"{wording.CENTRES[key].name}: {formats.milliseconds(ms)} ({share})"
        segments.append(Segment(key, wording.CENTRES[key].name, start, length, label))
        start += length
    copies = copies_of(data, measured.variant)
    variant = measured.variant if len(page.measured) > 1 else ""
    if variant and copies > 1:
        variant += f" ({copies} copies)"
    each = repeats_ms(data, measured.variant, page.image)
    label = ", ".join([name, variant][: 1 + bool(variant)] + [s.label for s in segments])
    if len(each) > 1:
        ends = (formats.milliseconds(min(each)), formats.milliseconds(max(each)))
        label += f", {len(each)} repeats from {ends[0]} to {ends[1]}"
    marks = tuple(100 * ms / longest for ms in each) if len(each) > 1 else ()
    return Bar(variant, tuple(segments), marks, formats.milliseconds(total), label)


def activities(data: ReportData) -> list[Activity]:
    """How long the device was busy, stage by stage, in the variants whose traces say so."""
    found = []
    for stage in STAGES:
        for variant in data.variants:
            share = variant.stats[f"{stage}_busy_share"].value
            ms = variant.stats[f"{stage}_device_busy_ms"].mean
            if share is not None and ms is not None:
                busy = min(100 * share, 100)
                text = f"{stage}: device busy {formats.milliseconds(ms)} ({formats.percent(share)})"
                name = variant.name if len(data.variants) > 1 else ""
                found.append(Activity(name, stage, busy, text))
    return found
