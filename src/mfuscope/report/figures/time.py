"""Where the time of a page goes, as stacked bars."""

import numpy as np
from matplotlib.figure import Figure

from mfuscope.report.data import CENTRES, Measured, Page, ReportData
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.formats import printable
from mfuscope.report.wording import CENTRES as CENTRE_WORDS
from mfuscope.report.wording import answers

#: Bars that the figure has room for.
MOST_PAGES = 24


def paint_time(figure: Figure, data: ReportData, wide: bool) -> str:
    """Stacked bars of every page, or of the slowest where there are many."""
    rows = [(page, measured) for page in data.pages for measured in page.measured]
    rows.sort(key=lambda row: -(row[1].stats["page_ms"].mean or 0.0))
    shown = rows[:MOST_PAGES]
    figure.set_size_inches(figure.get_figwidth(), 1.4 + 0.27 * len(shown))
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    left = np.zeros(len(shown))
    for key in CENTRES:
        stats = [measured.centres[key] for _, measured in shown]
        widths = np.array([max(stat.mean or 0.0, 0.0) for stat in stats])
        if widths.any():
            name = CENTRE_WORDS[key].name
            axes.barh(places, widths, left=left, color=COLOURS[key], label=name, height=0.7)
            left += widths
    errors = [measured.stats["page_ms"].std or 0.0 for _, measured in shown]
    if any(errors):
        axes.errorbar(left, places, xerr=errors, fmt="none", ecolor=COLOURS["ink"], elinewidth=0.9)
    room = 34 if wide else 14
    axes.set_yticks(places, [_row_label(page, one, data, room) for page, one in shown])
    axes.invert_yaxis()
    what = "ms a page, mean ± standard deviation between repeats"
    axes.set_xlabel(f"{what}{'; ' if wide else chr(10)}{answers(data)}")
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    if len(rows) > len(shown):
        axes.set_title(f"The {len(shown)} slowest of {len(rows)}")
    figure.legend(loc="outside lower left", ncols=5 if wide else 2)
    return ""


def _row_label(page: Page, measured: Measured, data: ReportData, room: int) -> str:
    name = printable(page.image)
    name = name if len(name) <= room else name[: room - 1] + "…"
    return f"{name} ({measured.variant})" if len(data.variants) > 1 else name
