"""The style of figures, and SVG files as parts of a page."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from mfuscope.report.data import ReportData

#: Draws on a figure, wide or narrow. Returns why there is nothing to draw, else an empty text.
Painter = Callable[[Figure, ReportData, bool], str]

#: What each colour means, everywhere in the report: the variables of report.css have the same
#: names and values. On its background every mark has a contrast of 3:1 or more (WCAG 2.2, 1.4.11),
#: every text of 4.5:1 (1.4.3). `line` is of grids and rules, which say nothing.
LIGHT = {
    "surface": "#fcfcfb",
    "raised": "#f3f2ee",
    "line": "#dddbd4",
    "ink": "#1b1a18",
    "muted": "#5d5b55",
    # Stages.
    "prefill": "#1f6fd2",
    "decode": "#5a3ba8",
    # Prefill's parts.
    "vision": "#1590b5",
    "projector": "#b87400",
    "language": "#2a8a43",
    "rest": "#6b7b8a",
    # What limits.
    "roof": "#a8432d",
    # Variants.
    "reference": "#45413a",
    "best": "#c4237a",
    "other": "#8a7660",
}
DARK = {
    "surface": "#1a1a19",
    "raised": "#262624",
    "line": "#3c3b37",
    "ink": "#f1efe9",
    "muted": "#b3b0a7",
    "prefill": "#4790f0",
    "decode": "#bba8ff",
    "vision": "#3fc0e0",
    "projector": "#d99a2b",
    "language": "#45b868",
    "rest": "#8796a5",
    "roof": "#e8816a",
    "reference": "#d8d4c8",
    "best": "#f06fb0",
    "other": "#a8917a",
}
#: Of the SVG files, whose background is light whatever they are looked at with.
COLOURS = LIGHT
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.fonttype": "none",
    "svg.hashsalt": "mfuscope",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["muted"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "figure.facecolor": COLOURS["surface"],
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}
_GENERIC_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMESPACES = re.compile(r' xmlns(:xlink)?="[^"]*"')  # HTML knows SVG
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure as an SVG file, and for the page's narrow screens; `missing` says why it is empty.

    `narrow` is empty for a figure that is a file only.
    """

    name: str
    missing: str
    wide: str
    narrow: str

    @property
    def inline(self) -> tuple[Markup, Markup]:
        """Both shapes for a page of HTML, with its CSS colours and with distinct ids."""
        return _inline(self.wide, f"{self.name}-wide"), _inline(self.narrow, f"{self.name}-narrow")


def drawing(name: str, data: ReportData, paint: Painter, *, inline: bool = True) -> Drawing:
    """Draw a figure, in both shapes if it is to be part of a page."""
    wide, missing = _svg(data, paint, wide=True)
    narrow = _svg(data, paint, wide=False)[0] if inline else ""
    return Drawing(name=name, missing=missing, wide=wide, narrow=narrow)


def _svg(data: ReportData, paint: Painter, wide: bool) -> tuple[str, str]:
    with rc_context(_STYLE):
        figure = Figure(figsize=(8.6, 4.6) if wide else (3.7, 4.4), layout="constrained")
        missing = paint(figure, data, wide)
        if missing:
            figure.set_size_inches(figure.get_figwidth(), 0.6)
            figure.text(0.02, 0.5, missing, va="center")
        text = StringIO()
        with warnings.catch_warnings():
            # Text stays text in SVG: the reader's fonts are used, not matplotlib's.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue(), missing


def _inline(svg: str, prefix: str) -> Markup:
    svg = _METADATA.sub("", _GENERIC_STYLE.sub("", _PROLOGUE.sub("", svg)))
    svg = _NAMESPACES.sub("", svg).replace("xlink:href", "href")
    svg = re.sub(r' id="', f' id="{prefix}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg.strip())  # noqa: S704 - matplotlib's, which escapes texts
