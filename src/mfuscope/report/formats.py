"""Formats of numbers: units, significant digits, spread."""

import math
import unicodedata

ABSENT = "–"
_MINUS = "−"
_SPACE = "\N{NO-BREAK SPACE}"  # between a number and its unit
# Characters that reorder the text around them; a file name may hold them, a report must not.
_BIDI_CONTROLS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def decimals(value: float, significant: int = 3) -> int:
    """Decimal places for at least this many significant digits of `value` (never below 0)."""
    if value == 0 or not math.isfinite(value):
        return 0
    # Rounded first: 9.996 has as many places as 10.0.
    rounded = float(f"{value:.{significant - 1}e}")
    return max(0, significant - 1 - math.floor(math.log10(abs(rounded))))


def fixed(value: float, places: int) -> str:
    """A number with this many decimal places, thousands separated, with a true minus sign."""
    text = f"{abs(value):,.{places}f}"
    negative = value < 0 and any(digit in text for digit in "123456789")
    return _MINUS + text if negative else text


def number(value: float, significant: int = 3) -> str:
    """A number with at least this many significant digits; integer digits are never rounded."""
    return fixed(value, decimals(value, significant))


def spread(mean: float, std: float | None, scale: float = 1.0) -> str:
    """``mean ± std``, both times `scale`; the mean alone where there is no spread.

    The standard deviation gets two significant digits and the mean as many places, within three
    or four significant digits of the mean.
    """
    mean *= scale
    least, most = decimals(mean, 3), decimals(mean, 4)
    if std is None:
        return fixed(mean, least)
    if std == 0:
        return f"{fixed(mean, least)} ± 0"
    std *= scale
    places = min(max(decimals(std, 2), least), most)
    small = std < 0.5 * 10**-places
    deviation = f"<{fixed(10**-places, places)}" if small else fixed(std, places)
    return f"{fixed(mean, places)} ± {deviation}"


def interval(low: float, high: float, scale: float = 1.0) -> str:
    """``low to high``, both times `scale`, with the decimal places of the larger end."""
    low, high = low * scale, high * scale
    width = high - low
    places = decimals(max(abs(low), abs(high)), 3)
    if width:
        places = max(places, min(decimals(width, 2), decimals(max(abs(low), abs(high)), 4)))
    return f"{fixed(low, places)} to {fixed(high, places)}"


def ratio_interval(ratio: float, low: float, high: float) -> str:
    """``low to high`` with the decimal places of the ratio; with more where an end would look as 1.

    Empty where there is no spread that these places show.
    """
    if high - low < 1e-9 * ratio:
        return ""
    places = decimals(ratio, 3)
    while places < 6 and any(fixed(end, places) == fixed(1, places) for end in (low, high)):
        places += 1
    ends = fixed(low, places), fixed(high, places)
    return "" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def percent(share: float, significant: int = 2) -> str:
    """A share of 1, e.g. ``12 %``."""
    return f"{number(share * 100, significant)}{_SPACE}%"


def count(value: int) -> str:
    """A large count in words of thousands: ``3.34 B``, ``14.8 M``."""
    for limit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return number(value / limit) + _SPACE + suffix
    return str(value)


def size(nbytes: float) -> str:
    """Bytes in decimal units."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(nbytes) >= limit:
            return f"{number(nbytes / limit)}{_SPACE}{unit}"
    return f"{nbytes:.0f}{_SPACE}B"


def milliseconds(value: float) -> str:
    """A duration given in ms, in ms or, from ten seconds on, in s."""
    long = value >= 10_000
    return number(value / 1000 if long else value) + _SPACE + ("s" if long else "ms")


def plural(amount: int, one: str, many: str = "") -> str:
    """``1 page``, ``2 pages``."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def listing(items: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def shortened(name: str, most: int = 90) -> str:
    """A long name, such as a kernel's with its template arguments, by its beginning and end."""
    if len(name) <= most:
        return name
    return f"{name[: most * 2 // 3]} … {name[-(most // 3) :]}"


def unbroken(text: str) -> str:
    """Text that stays on one line where it is shown."""
    return text.replace(" ", _SPACE)


def plain(text: str) -> str:
    """Text for programs: without non-breaking spaces."""
    return text.replace(_SPACE, " ")


def printable(text: str) -> str:
    """Text on one line, without characters that are invisible or reorder what is around them."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    if category == "Cs":  # half a character: a file name that is not UTF-8
        return "\N{REPLACEMENT CHARACTER}"
    if character in _BIDI_CONTROLS:
        return f"<U+{ord(character):04X}>"
    return character
