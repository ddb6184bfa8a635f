"""The report's figures as SVG.

Those of the page are drawn for wide and for narrow screens, so that their text is legible on a
phone. Colours are those of the light scheme on its background; inlined, they follow the page's.
"""

from mfuscope.report.data import ReportData
from mfuscope.report.figures.answer_length import paint_answer_length
from mfuscope.report.figures.decode_steps import paint_decode_steps
from mfuscope.report.figures.operator_roofline import paint_operator_roofline
from mfuscope.report.figures.roofline import paint_roofline
from mfuscope.report.figures.style import Drawing, drawing
from mfuscope.report.figures.time import paint_time

__all__ = ["Drawing", "draw"]

PAINTERS = {
    "roofline": paint_roofline,
    "decode_steps": paint_decode_steps,
    "time": paint_time,
    "answer_length": paint_answer_length,
    "operator_roofline": paint_operator_roofline,
}
#: Figures that are files only: the page has bars of its own (`report.bars`).
FILES = ("time",)


def draw(data: ReportData) -> dict[str, Drawing]:
    """Every figure by name."""
    return {
        name: drawing(name, data, paint, inline=name not in FILES)
        for name, paint in PAINTERS.items()
    }
