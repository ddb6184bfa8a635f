"""How figures tell variants apart: by colour, and without it by marks and dashes."""

from dataclasses import dataclass

from mfuscope.report.data import ReportData
from mfuscope.report.figures.style import COLOURS
from mfuscope.report.tried import fastest

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "p", "h")
#: Lengths of dashes and gaps in line widths; none is a solid line.
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5, 2),
    (1.2, 1.6),
    (7, 2, 1.2, 2),
    (10, 2.5),
    (7, 2, 1.2, 2, 1.2, 2),
    (3, 1.5),
)


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, mark and dashes of a variant, as matplotlib takes them."""

    colour: str
    marker: str
    dashes: tuple[float, tuple[float, ...] | None]


def looks(data: ReportData) -> dict[str, Look]:
    """The look of each variant: the reference and the best one have a colour of their own."""
    best = fastest(data)
    return {
        variant.name: Look(
            COLOURS[_role(at, variant.name, best.variant.name if best else "")],
            _MARKERS[at % len(_MARKERS)],
            (0, _DASHES[at % len(_DASHES)] or None),
        )
        for at, variant in enumerate(data.variants)
    }


def _role(at: int, name: str, best: str) -> str:
    if at == 0:
        return "reference"
    return "best" if name == best else "other"
