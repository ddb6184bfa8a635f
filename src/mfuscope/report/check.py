"""A check of validity and its verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

#: At most this many findings are listed; metrics.csv and summary.csv have all.
MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check and its verdict; `details` list the findings, one per line."""

    title: str
    verdict: Literal["ok", "warning", "unknown"]
    text: str
    details: tuple[str, ...] = ()


def capped(lines: Iterable[str]) -> tuple[str, ...]:
    """The findings that are listed, and how many are not."""
    lines = tuple(lines)
    if len(lines) <= MOST:
        return lines
    return (*lines[:MOST], f"and {len(lines) - MOST} more; metrics.csv has them all")
