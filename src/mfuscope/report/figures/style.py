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

#: Colours by their names in report.css.
COLOURS = {
    "ink": "#1b1a18",
    "muted": "#5d5b55",
    "line": "#dddbd4",
    "surface": "#fcfcfb",
    "vision": "#2a78d7",
    "projector": "#eda100",
    "language": "#1baf7a",
    "rest": "#8f8d86",
    "prefill": "#2a78d6",
    "decode": "#6a5bc8",
}
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
    "figure.facecolor": "none",
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
    """A figure in both shapes, each an SVG file; `missing` says why there is nothing to draw."""

    name: str
    missing: str
    wide: str
    narrow: str

    @property
    def inline(self) -> tuple[Markup, Markup]:
        """Both shapes for a page of HTML, with its CSS colours and with distinct ids."""
        return _inline(self.wide, f"{self.name}-wide"), _inline(self.narrow, f"{self.name}-narrow")


def drawing(name: str, data: ReportData, paint: Painter) -> Drawing:
    """Draw a figure in both shapes."""
    (wide, missing), (narrow, _) = (_svg(data, paint, wide) for wide in (True, False))
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
