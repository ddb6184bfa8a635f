"""Templates and escaping: from the data object to four texts and the figures."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mfuscope.report import (
    appendix,
    definitions,
    flops,
    formats,
    operator_tables,
    side_by_side,
    stakeholder,
    wording,
)
from mfuscope.report import (
    metric_tables as tables,
)
from mfuscope.report import (
    validity as checks,
)
from mfuscope.report.cells import Cell, Table
from mfuscope.report.data import STAGES, Measured, Page, ReportData, Variant
from mfuscope.report.figures import Drawing, draw
from mfuscope.report.limits import limit_sentence, main_stage, stage_facts
from mfuscope.report.recommendations import advice, recommend
from mfuscope.report.tried import candidates, fastest, fastest_with_same_tokens

_TEMPLATES = Path(__file__).with_name("templates")
#: Operators per stage in the report, and in operators.md.
TOP, LONG = 10, 40

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKUP = re.compile(r"([\\`*|\[\]])")
# An underscore within a word or alone is no emphasis, and a single tilde strikes nothing through:
# such names stay unescaped, so that they can be searched for.
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
# After separators, but not where they begin a word: aten::_softmax stays whole.
_BREAKS = re.compile(r"(?<=[^\s:][_.~-])(?=[^_.~-])")
_BLOCK_START = re.compile(r"^(\s*\d*)([-+#=~](?=[-+#=~\s])|(?<=\d)[.)](?=\s))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The rendered report."""

    html: str
    markdown: str
    stakeholder: str
    operators: str
    figures: Mapping[str, str]


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


def markdown(text: object, strict: bool = False) -> str:
    """Text that Markdown shows as it is, in a paragraph or a table cell: on one line, escaped.

    Args:
        strict: escape a single underscore or tilde too: another text of the cell may have the
            second one.
    """
    line = formats.printable(str(text)).replace("\N{NO-BREAK SPACE}", " ")
    line = _MARKUP.sub(r"\\\1", "".join(_ENTITIES.get(c, c) for c in line))
    if strict or len(_EMPHASIS.findall(line)) > 1:
        line = _EMPHASIS.sub(r"\\_", line)
    if strict or line.count("~") > 1:
        line = line.replace("~", "\\~")
    return _BLOCK_START.sub(r"\1\\\2", line)


def breakable(text: object) -> Markup:
    """A name in HTML, escaped, that may be broken after its separators."""
    pieces = _BREAKS.split(formats.printable(str(text)))
    return Markup("<wbr>").join(pieces)


def markdown_table(table: Table) -> str:
    """A GitHub-flavoured table with its caption above it."""
    lines = [
        f"**{markdown(table.caption)}**",
        "",
        _row(markdown(column) for column in table.columns),
        _row("---:" if numeric else "---" for numeric in table.numeric),
    ]
    lines += [_row(_markdown_cell(cell) for cell in row) for row in table.rows]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    if cell.absent:
        return formats.ABSENT
    more = ", ".join(cell.sub.splitlines())
    return markdown(cell.text) + (f" ({markdown(more, strict=True)})" if more else "")


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
            share = variant.stats[f"{stage}_busy_share"].mean
            ms = variant.stats[f"{stage}_device_busy_ms"].mean
            if share is not None and ms is not None:
                busy = min(100 * share, 100)
                text = f"{stage}: device busy {formats.milliseconds(ms)} ({formats.percent(share)})"
                name = variant.name if len(data.variants) > 1 else ""
                found.append(Activity(name, stage, busy, text))
    return found


def environment() -> jinja2.Environment:
    """Jinja's environment: HTML is escaped automatically, Markdown by the filter ``md``."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "md": markdown,
        "lean": lambda table: table,
        "md_table": markdown_table,
        "breakable": breakable,
        "printable": formats.printable,
        "ms": formats.milliseconds,
        "percent": formats.percent,
    }
    return made


def render(data: ReportData) -> Texts:
    """Render the four texts."""
    env = environment()
    missing = {run.variant for run in data.missing}
    if len({variant.name for variant in data.variants} | missing) == 1:  # it would repeat one name
        env.filters["lean"] = lambda table: table.without("Variant")
    drawings = draw(data)
    context = _context(data, drawings)

    def text(template: str) -> str:
        return env.get_template(template).render(context)

    return Texts(
        html=text("report.html.j2"),
        markdown=text("report.md.j2"),
        stakeholder=text("stakeholder.md.j2"),
        operators=text("operators.md.j2"),
        figures={name: drawing.wide for name, drawing in drawings.items()},
    )


def _context(data: ReportData, drawings: Mapping[str, Drawing]) -> dict[str, Any]:
    main = data.variants[0]
    drawn = bars(data)
    recommendations = {v.name: recommend(data, v) for v in data.variants}
    return {
        "data": data,
        "main": main,
        "title": wording.title(data),
        "facts": wording.facts(data),
        "dummies": wording.dummy_statement(data),
        "gaps": wording.gaps_statement(data),
        "stand_in": wording.stand_in_statement(data),
        "limit": _limit(data, main),
        "time_sentence": wording.time_sentence(main),
        "best": side_by_side.best_sentences(data),
        "batches": side_by_side.batch_statement(data),
        "peak_statement": wording.peak_statement(
            data.hardware, (v.model.dtype for v in data.variants)
        ),
        "interval_statement": wording.interval_statement(data),
        "bars": drawn,
        "activities": activities(data),
        "figures": drawings,
        "recommendations": recommendations,
        "advised": _advised(data),
        "advice": advice,
        "experiment": advice.Experiment(data.command),
        "side_by_side": side_by_side,
        "definitions": definitions,
        "legend": _legend(drawn),
        "checks": checks.all_checks(data),
        "steadiness": checks.steadiness(data),
        "tables": tables,
        "operator_tables": operator_tables,
        "flops": flops,
        "appendix": appendix,
        "wording": wording,
        "stakeholder": stakeholder,
        "top": TOP,
        "long": LONG,
    }


def _advised(data: ReportData) -> list[str]:
    """The variants whose recommendations the texts have: not of those that are not the best."""
    best = [one for one in (fastest(data), fastest_with_same_tokens(data)) if one is not None]
    lesser = {one.variant.name for one in candidates(data)} - {one.variant.name for one in best}
    return [variant.name for variant in data.variants if variant.name not in lesser]


def _limit(data: ReportData, variant: Variant) -> str:
    stage = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    return limit_sentence(stage, variant.page_ms)


def _legend(drawn: list[tuple[str, list[Bar]]]) -> list[tuple[str, str]]:
    used = {segment.key for _, found in drawn for bar in found for segment in bar.segments}
    return [(key, centre.name) for key, centre in wording.CENTRES.items() if key in used]
