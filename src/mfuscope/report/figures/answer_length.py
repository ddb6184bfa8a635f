"""The time of a page over the length of its answer, extrapolated with a constant TPOT."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from mfuscope.report.answers import LENGTHS, drawn, half, page_ms
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.figures.labels import End, label_ends
from mfuscope.report.figures.looks import Look, looks
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number, plural
from mfuscope.report.names import fitted

_NAME = {True: 24, False: 13}  # columns of a variant's name


def paint_answer_length(figure: Figure, data: ReportData, wide: bool) -> str:
    """Page time over new tokens, with the measured length and where decode takes half of a page.

    A page of a batch has its share of the batch's time.
    """
    variants = [variant for variant in data.variants if variant.tpot_ms is not None]
    if not variants:
        return "Answers of other lengths are not known: no decode step was measured."
    axes, most = figure.add_subplot(), max(variant.batch_size for variant in variants)
    base = 4 if wide else 8  # of the ticks
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlim(1, max(2, *map(drawn, variants)))
    axes.set_xticks([base**power for power in range(13) if base**power <= LENGTHS[-1]])
    axes.set_xlabel("new tokens of the answer")
    axes.set_ylabel("ms a page" if most == 1 else "ms a page (a batch ÷ its copies)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 1)))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="major")
    axes.set_axisbelow(True)
    shapes, alone = looks(data), len(variants) == 1
    ends = [
        end
        for variant in variants
        for end in (
            _stages(axes, variant) if alone else _line(axes, variant, shapes[variant.name], wide)
        )
    ]
    axes.set_ylim(*axes.get_ylim())  # as it is now, so that the ends of lines stay where they are
    label_ends(axes, ends, figure.get_figheight() * 52)
    marks = _points(axes, variants)
    figure.legend(handles=marks, loc="outside lower left", ncols=2 if wide else 1)
    return ""


def _line(axes: Axes, variant: Variant, look: Look, wide: bool) -> list[End]:
    """A variant's line."""
    new = np.geomspace(1, drawn(variant), 200)
    ms = [page_ms(variant, at) or 0.0 for at in new]
    axes.plot(new, ms, ls=look.dashes, color=look.colour, lw=1.5, label=variant.name)
    return [End(fitted(variant.name, _NAME[wide]), float(new[-1]), ms[-1], look.colour)]


def _stages(axes: Axes, variant: Variant) -> list[End]:
    """Page, prefill and decode of a single variant; both stages meet where each is half."""
    copies, new = variant.batch_size, np.geomspace(1, drawn(variant), 200)
    prefill, tpot = variant.prefill_ms / copies, (variant.tpot_ms or 0.0) / copies
    later = new[(new - 1) * tpot >= 0.2 * prefill]
    lines = {
        "page": (new, prefill + (new - 1) * tpot, COLOURS["reference"]),
        "prefill": (new, np.full(len(new), prefill), COLOURS["prefill"]),
        "decode": (later, (later - 1) * tpot, COLOURS["decode"]),
    }
    found = []
    for name, (xs, ys, colour) in lines.items():
        if len(xs):
            axes.plot(xs, ys, color=colour, lw=1.5, label=name)
            found.append(End(name, float(xs[-1]), float(ys[-1]), colour))
    return found


def _points(axes: Axes, variants: Sequence[Variant]) -> list[Line2D]:
    """Where decode takes half of a page, and what was measured."""
    marks: list[Line2D] = []
    halves = [(at, page_ms(v, at)) for v in variants if (at := half(v) or 1.0) <= drawn(v)]
    where = f": {plural(round(halves[0][0]), 'new token')}" if len(variants) == 1 and halves else ""
    measured = [(v.answer.mean, v.ms_per_page) for v in variants]
    for points, marker, label in (
        (halves, "o", f"decode takes half{where}"),
        (measured, "D", "measured"),
    ):
        if points:
            marks += axes.plot(
                *zip(*points, strict=True),
                marker,
                color=COLOURS["ink"],
                mfc="none",
                ms=5.5,
                mew=1.2,
                ls="none",
                label=label,
                zorder=3,
            )
    return marks
