"""The report's figures as SVG.

Each is drawn for wide and for narrow screens, so that its text is legible on a phone. Colours
are those of report.css in the light scheme; inlined, they follow the page's scheme.
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


def draw(data: ReportData) -> dict[str, Drawing]:
    """Every figure by name."""
    return {name: drawing(name, data, paint) for name, paint in PAINTERS.items()}
