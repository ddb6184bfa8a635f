"""The time of a page over the length of its answer, extrapolated with a constant TPOT."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from mfuscope.report.answers import LENGTHS, drawn, half, page_ms
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import number, plural

# Of variants, with a style each, as one line may lie on another.
_COLOURS = ("prefill", "projector", "language", "decode", "rest")
_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))


def paint_answer_length(figure: Figure, data: ReportData, wide: bool) -> str:
    """Page time over new tokens, with the measured length and where decode takes half of a page.

    A page of a batch has its share of the batch's time.
    """
    variants = [variant for variant in data.variants if variant.tpot_ms is not None]
    if not variants:
        return "Answers of other lengths are not known: no decode step was measured."
    axes, most = figure.add_subplot(), max(variant.batch_size for variant in variants)
    for index, variant in enumerate(variants):
        _lines(axes, variant, index, alone=len(variants) == 1)
    _points(axes, variants)
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
    figure.legend(loc="outside lower left", ncols=3 if wide else 1)
    return ""


def _lines(axes: Axes, variant: Variant, index: int, *, alone: bool) -> None:
    """A variant's line; of a single one prefill and decode too, which meet where each is half."""
    copies, new = variant.batch_size, np.geomspace(1, drawn(variant), 200)
    prefill, tpot = variant.prefill_ms / copies, (variant.tpot_ms or 0.0) / copies
    axes.plot(
        new,
        prefill + (new - 1) * tpot,
        ls=_STYLES[index % len(_STYLES)],
        color=COLOURS["ink" if alone else _COLOURS[index % len(_COLOURS)]],
        lw=1.5,
        label="page" if alone else variant.name,
    )
    if alone:
        axes.axhline(prefill, color=COLOURS["prefill"], lw=1.3, label="prefill")
        later = new[(new - 1) * tpot >= 0.2 * prefill]
        axes.plot(later, (later - 1) * tpot, color=COLOURS["decode"], lw=1.3, label="decode")


def _points(axes: Axes, variants: Sequence[Variant]) -> None:
    """Where decode takes half of a page, and what was measured."""
    halves = [(at, page_ms(v, at)) for v in variants if (at := half(v) or 1.0) <= drawn(v)]
    alone = len(variants) == 1
    where = f": {plural(round(halves[0][0]), 'new token')}" if alone and halves else ""
    measured = [(v.answer.mean, v.ms_per_page) for v in variants]
    for points, marker, colour, label in (
        (halves, "o", "decode", f"decode takes half{where}"),
        (measured, "D", "prefill", "measured"),
    ):
        if points:
            axes.plot(
                *zip(*points, strict=True),
                marker,
                color=COLOURS[colour if alone else "ink"],
                mec=COLOURS["surface"],
                ms=6,
                ls="none",
                label=label,
            )
