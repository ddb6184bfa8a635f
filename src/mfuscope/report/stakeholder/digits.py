"""Numbers with the digits that their interval allows."""

import math
from dataclasses import dataclass

from mfuscope.report.formats import fixed

#: Most significant digits, however narrow the interval is.
MOST = 3
#: Significant digits of a number without an interval.
WITHOUT = 2
# An uncertainty that begins below this gets two digits, else one: so it keeps between 3 and 28
# units of the last digit. Source: Particle Data Group, Review of Particle Physics, Introduction.
_TWO_DIGITS = 3.55


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as text, and its 95 % interval as text; empty without one."""

    text: str
    ends: str = ""

    @property
    def line(self) -> str:
        """Both: ``2,200 (1,900 to 2,600)``."""
        return f"{self.text}{self.ends and f' ({self.ends})'}"


def figure(value: float, low: float | None, high: float | None) -> Figure:
    """A number above 0, rounded to the digits that its interval allows, and its interval likewise.

    The low end keeps a digit too, so that it never becomes 0.
    """
    top = _exponent(value)
    if low is None or high is None:
        return Figure(_rounded(value, top - WITHOUT + 1))
    place = top - MOST + 1
    if high > low:
        half = (high - low) / 2
        width = _exponent(half)
        two = half / 10.0**width < _TWO_DIGITS
        place = max(place, width - 1 if two else width)
    if low > 0:
        place = min(place, _exponent(low))
    text, ends = _rounded(value, place), (_rounded(low, place), _rounded(high, place))
    return Figure(text, "" if set(ends) == {text} else " to ".join(ends))


def _exponent(value: float) -> int:
    return math.floor(math.log10(value))


def _rounded(value: float, place: int) -> str:
    return fixed(round(value, -place), max(0, -place))
