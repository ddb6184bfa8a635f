"""The bars of report.html: where the time of a page goes, and how long the device was busy."""

from dataclasses import dataclass

from mfuscope.report import formats, wording
from mfuscope.report.data import STAGES, Measured, Page, ReportData


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
    """Where the time of one page goes in one variant."""

    variant: str
    segments: tuple[Segment, ...]
    error: tuple[float, float] | None
    total: str
    label: str


@dataclass(frozen=True, slots=True)
class Activity:
    """Device busy and idle in a stage of a variant, in % of the stage; `label` in text."""

    variant: str
    stage: str
    busy: float
    label: str


def bars(data: ReportData) -> list[tuple[str, list[Bar]]]:
    """The bars of each page's variants, all on one scale with the longest bar at 100 %."""
    parts = {(p.image, m.variant): _parts(m) for p in data.pages for m in p.measured}
    longest = max((_reach(m) for p in data.pages for m in p.measured), default=0.0) or 1.0
    return [
        (
            page.image,
            [_bar(page, m, parts[page.image, m.variant], longest) for m in page.measured],
        )
        for page in data.pages
    ]


def _reach(measured: Measured) -> float:
    """The end of a page's bar, its error bar included."""
    whole = measured.stats["page_ms"]
    return (whole.mean or 0.0) + (whole.std or 0.0)


def _parts(measured: Measured) -> list[tuple[str, float]]:
    """Cost centres and their ms, in the order of execution."""
    found = [(key, max(stat.mean, 0.0)) for key, stat in measured.centres.items() if stat.mean]
    if all(key == "decode" for key, _ in found):
        found.insert(0, ("prefill", measured.stats["prefill_ms"].mean or 0.0))
    return found


def _bar(page: Page, measured: Measured, parts: list[tuple[str, float]], longest: float) -> Bar:
    total = sum(ms for _, ms in parts)
    segments, start = [], 0.0
    for key, ms in parts:
        length = 100 * ms / longest
        name = wording.CENTRES[key].name
        share = formats.percent(ms / total) if total else ""
        label = f"{name}: {formats.milliseconds(ms)} ({share})"
        segments.append(Segment(key, name, start, length, label))
        start += length
    variant = measured.variant if len(page.measured) > 1 else ""
    std = measured.stats["page_ms"].std or 0.0
    ends = (100 * max(total - std, 0) / longest, min(100 * (total + std) / longest, 100))
    label = ", ".join([page.image, variant][: 1 + bool(variant)] + [s.label for s in segments])
    if std:
        label += f", ± {formats.milliseconds(std)} between repeats"
    text = formats.milliseconds(total)
    return Bar(variant, tuple(segments), ends if std else None, text, label)


def activities(data: ReportData) -> list[Activity]:
    """How long the device was busy in each stage, for the stages whose traces say so."""
    found = []
    for variant in data.variants:
        for stage in STAGES:
            share = variant.stats[f"{stage}_busy_share"].value
            ms = variant.stats[f"{stage}_device_busy_ms"].mean
            if share is not None and ms is not None:
                busy = min(100 * share, 100)
                text = f"{stage}: device busy {formats.milliseconds(ms)} ({formats.percent(share)})"
                name = variant.name if len(data.variants) > 1 else ""
                found.append(Activity(name, stage, busy, text))
    return found


def legend(drawn: list[tuple[str, list[Bar]]]) -> list[tuple[str, str]]:
    """Cost centres that the bars show, with their names."""
    used = {segment.key for _, found in drawn for bar in found for segment in bar.segments}
    return [(key, centre.name) for key, centre in wording.CENTRES.items() if key in used]
