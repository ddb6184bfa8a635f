"""Where the time of a page goes, as stacked bars."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from mfuscope.report.bars import copies_of, parts_ms, repeats_ms
from mfuscope.report.data import CENTRES, Measured, Page, ReportData
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.names import columns, fitted, page_names
from mfuscope.report.wording import CENTRES as CENTRE_WORDS
from mfuscope.report.wording import answers

#: Bars that the figure has room for.
MOST_PAGES = 24
_COLUMN = 5.6 / 72  # width of a letter, in inches
_ROOM = 44  # columns of a bar's name


def paint_time(figure: Figure, data: ReportData, _: bool) -> str:
    """Stacked bars of every page, or of the slowest where there are many; a dot for each repeat."""
    rows = [(page, measured) for page in data.pages for measured in page.measured]
    rows.sort(key=lambda row: -(row[1].stats["page_ms"].mean or 0.0))
    shown = rows[:MOST_PAGES]
    figure.set_size_inches(figure.get_figwidth(), 1.4 + 0.27 * len(shown))
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    left = np.zeros(len(shown))
    parts = [dict(parts_ms(measured)) for _, measured in shown]
    for key in ("prefill", *CENTRES):
        widths = np.array([of_page.get(key, 0.0) for of_page in parts])
        if widths.any():
            name = CENTRE_WORDS[key].name
            axes.barh(places, widths, left=left, color=COLOURS[key], label=name, height=0.7)
            left += widths
    for place, (page, measured) in zip(places, shown, strict=True):
        each = repeats_ms(data, measured.variant, page.image)
        axes.plot(
            each,
            place + np.linspace(-0.2, 0.2, len(each)) * (len(each) > 1),
            "o",
            color=COLOURS["ink"],
            mec=COLOURS["surface"],
            ms=4,
            ls="none",
            label="a repeat" if place == 0 else None,
        )
    _name_rows(figure, data, shown)
    axes.set_xlabel(f"ms a page: the bar is the mean, a dot one repeat; {answers(data)}")
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    if len(rows) > len(shown):
        axes.set_title(f"The {len(shown)} slowest of {len(rows)}")
    figure.legend(loc="outside lower left", ncols=6)
    return ""


def _name_rows(figure: Figure, data: ReportData, shown: list[tuple[Page, Measured]]) -> None:
    """Names beside the bars, in room of its own: matplotlib cannot measure other scripts."""
    pages, several = page_names(data), len(data.variants) > 1
    names = []
    for page, measured in shown:
        copies = copies_of(data, measured.variant)
        of = f", {copies} copies" if copies > 1 else ""
        variant = f" ({fitted(measured.variant, _ROOM // 2 - 3 - len(of))}{of})" if several else ""
        names.append(fitted(pages[page.image], _ROOM - len(variant)) + variant)
    (axes,) = figure.axes
    axes.set_yticks(range(len(shown)), [""] * len(shown))
    axes.invert_yaxis()
    for place, name in enumerate(names):
        axes.annotate(
            name,
            (0, place),
            xycoords=("axes fraction", "data"),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            annotation_clip=False,
            in_layout=False,
        )
    share = min(max(map(columns, names)) * _COLUMN / figure.get_figwidth(), 0.6)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(share, 0, 1 - share, 1))
