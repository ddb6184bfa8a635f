"""Cells and tables, the same for HTML and Markdown."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Literal

from mfuscope.report.data import Stat
from mfuscope.report.formats import ABSENT, interval, number, percent, spread, unbroken

#: Whether a change is for the better, or was not shown.
Tone = Literal["", "better", "worse", "same"]

#: What the rows of every table are filtered by, by the columns that name it.
_FILTERS = {"Page": "page", "Image": "page", "Variant": "variant"}
_NO_SPREAD = "n = 1: a single value has no spread"
#: In place of an interval that says nothing.
TOO_FEW = "too few to tell"
_WIDEST = 10  # high / low of an interval that is shown
_TOO_WIDE = f"the ends of the 95 % interval differ by more than {_WIDEST} times"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    `kind`: a ``number`` is right-aligned, a ``name`` may hold any character. `note` gives the
    reason of an absent value, or more about a present one. `sub` has further lines. `tone`
    colours a verdict.
    """

    text: str
    kind: Literal["text", "number", "name"] = "text"
    note: str = ""
    sub: str = ""
    tone: Tone = ""

    @property
    def absent(self) -> bool:
        """Whether the value is absent."""
        return self.kind == "number" and self.text == ABSENT


@dataclass(frozen=True, slots=True)
class Table:
    """A table; its first column names the rows. `numeric` has one entry per column."""

    caption: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def without(self, column: str) -> "Table":
        """The table without a column, unless no other column names its rows."""
        kept = [i for i, name in enumerate(self.columns) if name != column]
        if not kept or self.numeric[kept[0]]:
            return self
        return Table(
            self.caption,
            tuple(self.columns[i] for i in kept),
            tuple(self.numeric[i] for i in kept),
            tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    @property
    def filters(self) -> tuple[str, ...]:
        """What each column filters the rows by: ``page``, ``variant`` or nothing."""
        named = zip(self.columns, self.numeric, strict=True)
        return tuple("" if numeric else _FILTERS.get(column, "") for column, numeric in named)

    @property
    def spans(self) -> tuple[int, ...]:
        """How many rows each row's first cell stands for; 0 where it repeats the one above."""
        spans: list[int] = []
        for _, group in groupby(self.rows, key=itemgetter(0)):
            length = len(list(group))
            spans += [length] + [0] * (length - 1)
        return tuple(spans)


def build(
    caption: str,
    columns: Iterable[str],
    rows: Iterable[Iterable[Cell]],
    dropped: Collection[str] = (),
) -> Table:
    """A table; columns whose first cell is a number are numeric. Empty columns are dropped.

    Args:
        dropped: texts of columns that are dropped where they are absent in every row.
    """
    lines = [tuple(row) for row in rows]
    names = tuple(columns)
    kept = [
        i
        for i, column in enumerate(names)
        if any(line[i].text and not (line[i].absent and column in dropped) for line in lines)
    ]
    return Table(
        caption,
        tuple(names[i] for i in kept),
        tuple(bool(lines) and lines[0][i].kind == "number" for i in kept),
        tuple(tuple(line[i] for i in kept) for line in lines),
    )


def label(text: str, sub: str = "") -> Cell:
    """A name from outside, which may hold any character."""
    return Cell(text, "name", sub=sub)


def amount(text: str, note: str = "") -> Cell:
    """A formatted number."""
    return Cell(text, "number", note)


def absent(reason: str) -> Cell:
    """An absent value."""
    return Cell(ABSENT, "number", reason or "no value")


def figure(value: float | None, significant: int = 3, reason: str = "") -> Cell:
    """A number with at least this many significant digits, or absent for a reason."""
    return absent(reason) if value is None else amount(number(value, significant))


def share(value: float | None, reason: str = "") -> Cell:
    """A share of 1 in percent, or absent for a reason."""
    return absent(reason) if value is None else amount(percent(value))


def mean(stat: Stat, scale: float = 1.0) -> Cell:
    """``mean ± std``."""
    if stat.mean is None:
        return absent(stat.reason)
    return amount(spread(stat.mean, stat.std, scale), "" if stat.n > 1 else _NO_SPREAD)


def rate(stat: Stat, scale: float = 1.0) -> Cell:
    """Total work / total time."""
    value = stat.value
    return figure(None if value is None else scale * value, reason=stat.reason)


def says_nothing(low: float, high: float) -> bool:
    """Whether an interval of a rate, time or ratio is so wide that its ends are not shown.

    Of two runs of the same work, one half as long again as the other, the ends lie 12 times below
    and above.
    """
    return high > _WIDEST * low


def confidence(stat: Stat, scale: float = 1.0) -> Cell:
    """95 % interval of a rate; `TOO_FEW` where it says nothing."""
    if stat.total_ci95_low is None or stat.total_ci95_high is None:
        return absent(stat.reason or _NO_SPREAD)
    if says_nothing(stat.total_ci95_low, stat.total_ci95_high):
        return amount(TOO_FEW, _TOO_WIDE)
    return amount(interval(stat.total_ci95_low, stat.total_ci95_high, scale))


def rate_with_interval(stat: Stat, scale: float = 1.0) -> Cell:
    """Total work / total time, with its 95 % interval below."""
    cell, ends = rate(stat, scale), confidence(stat, scale)
    return cell if ends.absent else replace(cell, note=ends.note, sub=unbroken(ends.text))
