"""Numbers and times as the terminal says them."""


def amount(value: float) -> str:
    """A number with two significant digits, or all of them before the point."""
    if abs(value) >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def counted(number: int | str, noun: str) -> str:
    """A number with its noun, e.g. ``2 pages``."""
    return f"{number} {noun}" if str(number) == "1" else f"{number} {noun}s"


def rough_duration(seconds: float) -> str:
    """An estimated time: in whole seconds, then tens of seconds, then minutes."""
    if seconds < 55:
        return f"{max(1, round(seconds))} s"
    if seconds < 595:
        minutes, rest = divmod(round(seconds / 10) * 10, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
