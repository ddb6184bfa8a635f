"""Templates and escaping: from the data object to four texts and the figures."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from mfuscope.report import (
    answers,
    appendix,
    bars,
    best,
    counted_operators,
    definitions,
    endings,
    flops,
    formats,
    headline,
    notices,
    operator_tables,
    prompts,
    publishable,
    reconciliation,
    side_by_side,
    spread,
    timeline,
    to_try,
    traces,
    tried,
    uncounted,
    verdict,
    wording,
)
from mfuscope.report import (
    metric_tables as tables,
)
from mfuscope.report import (
    validity as checks,
)
from mfuscope.report.cells import Cell, Table
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.figures import Drawing, draw
from mfuscope.report.limits import limit_sentence, main_stage, stage_facts
from mfuscope.report.recommendations import recommend
from mfuscope.report.stakeholder import one_page

_TEMPLATES = Path(__file__).with_name("templates")
#: Operators per stage in the report, and in operators.md.
TOP, LONG = 10, 40
#: Things to try that are not folded.
MOST = 5

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
    stakeholder_html: str
    operators: str
    figures: Mapping[str, str]


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
        stakeholder_html=text("stakeholder.html.j2"),
        operators=text("operators.md.j2"),
        figures={name: drawing.wide for name, drawing in drawings.items()},
    )


def _context(data: ReportData, drawings: Mapping[str, Drawing]) -> dict[str, Any]:
    main = data.variants[0]
    recommendations = {v.name: recommend(data, v) for v in data.variants}
    advised = tried.advised(data)
    found = to_try.tips(data, recommendations, advised)
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
        "notices": notices.notices(data),
        "verdict": verdict.verdict_sentence(data),
        "subtitle": wording.subtitle(data),
        "cards": headline.cards(data, main),
        "tips": found,
        "first": found.first(valid=not publishable.withheld(data, main, "page")),
        "to_try": to_try,
        "most": MOST,
        "publishable": publishable,
        "batches": side_by_side.batch_statement(data),
        "peak_statement": wording.peak_statement(
            data.hardware, (v.model.dtype for v in data.variants)
        ),
        "best": best,
        "bars": bars.bars(data),
        "activities": bars.activities(data),
        "figures": drawings,
        "answers": answers,
        "headline": headline,
        "recommendations": recommendations,
        "advised": advised,
        "side_by_side": side_by_side,
        "spread": spread,
        "reconciliation": reconciliation,
        "counted_operators": counted_operators,
        "definitions": definitions,
        "endings": endings,
        "prompts": prompts,
        "checks": checks.all_checks(data),
        "steadiness": checks.steadiness(data),
        "tables": tables,
        "traces": traces,
        "uncounted": uncounted,
        "timeline": timeline,
        "operator_tables": operator_tables,
        "flops": flops,
        "appendix": appendix,
        "wording": wording,
        "plain": one_page(data),
        "top": TOP,
        "long": LONG,
    }


def _limit(data: ReportData, variant: Variant) -> str:
    stage = stage_facts(variant, main_stage(variant), data.hardware, data.ceiling)
    return limit_sentence(stage, variant.page_ms, wording.a_page(variant))
