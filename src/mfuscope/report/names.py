"""Pages by the names that their owners gave them, not by the ids of files and rules."""

import unicodedata
from collections import Counter
from pathlib import PurePath

from mfuscope.report.data import ReportData
from mfuscope.report.formats import printable


def page_names(data: ReportData) -> dict[str, str]:
    """Each page's file name by its id; of files of one name in several folders, the whole path."""
    names = {page.image: PurePath(page.path).name for page in data.pages}
    twice = {name for name, n in Counter(names.values()).items() if n > 1}
    return {p.image: p.path if names[p.image] in twice else names[p.image] for p in data.pages}


def fitted(name: str, room: int) -> str:
    """A name on one line, shortened in the middle where it needs more than `room` columns.

    A column is the width of a Latin letter; an East Asian one takes two.
    """
    name = printable(name)
    if columns(name) <= room:
        return name
    return f"{_start(name, room // 2)}…{_start(name[::-1], (room - 1) // 2)[::-1]}"


def columns(text: str) -> int:
    """How many columns a text takes."""
    return sum(map(_column, text))


def _column(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _start(name: str, room: int) -> str:
    for end, character in enumerate(name):
        room -= _column(character)
        if room < 0:
            return name[:end]
    return name
