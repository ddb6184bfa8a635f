"""What a call knows of its runs before Snakemake decides what to make, for the terminal.

The terminal's plugin imports this module in every process: it stays light.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from mfuscope.core.runs import RunKey

_NAMED: Final = 3  # names of a cause, and outdated runs, that are shown


class Cause(Enum):
    """Why something is made: in words for one name, and for several."""

    FIRST = ("nothing is measured yet", "")
    FORCED = ("asked for again", "")
    DEVICE = ("the device changed ({})", "the device changed ({})")
    PROTOCOL = ("this version measures in another way", "")
    MODEL = ("the model's files changed", "")
    SETTINGS = ("settings changed ({})", "settings changed ({})")
    VARIANT = ("variant {} is new", "variants {} are new")
    REPEATS = ("repeats raised ({})", "repeats raised ({})")
    NEW = ("page {} is new", "pages {} are new")
    CHANGED = ("page {} changed", "pages {} changed")
    REMOVED = ("results of {} were removed", "results of {} were removed")
    DAMAGED = ("the result of {} is damaged", "results of {} are damaged")
    UNFINISHED = ("{} is not measured yet", "{} are not measured yet")
    # What only Snakemake knows.
    MISSING = ("{} is missing", "{} are missing")
    INPUTS = ("{} changed", "{} changed")
    OTHER_INPUTS = ("other pages, repeats or variants are asked for", "")
    CODE = ("code changed", "")
    PARAMETERS = ("settings or code changed", "")
    SOFTWARE = ("the software environment changed", "")
    OTHER = ("{}", "{}")


#: A record is there, but of something else than is asked for.
OUTDATED: Final = frozenset(
    {Cause.DEVICE, Cause.PROTOCOL, Cause.MODEL, Cause.SETTINGS, Cause.CHANGED}
)


@dataclass(frozen=True, slots=True)
class Reason:
    """A cause, and what it is about: a page, a variant, a setting; empty where it needs none."""

    cause: Cause
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a call knows of its runs before Snakemake decides what to make.

    Attributes:
        results: the folder of results.
        due: the runs without a current result, and why.
        unreadable: pages for which the call stops.
    """

    pages: int
    repeats: int
    variants: tuple[str, ...]
    results: Path
    due: Mapping[RunKey, tuple[Reason, ...]]
    unreadable: int = 0

    @property
    def runs(self) -> int:
        """Number of runs that are asked for."""
        return self.pages * self.repeats * len(self.variants)

    @property
    def outdated_note(self) -> str:
        """What to do if Snakemake takes outdated results for current; empty without any."""
        outdated = [run for run, why in self.due.items() if OUTDATED & {one.cause for one in why}]
        if not outdated:
            return ""
        return (
            f"measured with other settings or another page content than now: "
            f"{_listed(list(map(str, outdated)))}. Snakemake plans them again, unless its "
            f".snakemake was lost: then remove their records in {self.results}/*/runs"
        )


def in_words(reasons: Iterable[Reason]) -> str:
    """Reasons in a line, each said once."""
    names: dict[Cause, dict[str, None]] = defaultdict(dict)
    for reason in reasons:
        names[reason.cause][reason.name] = None
    said = []
    for cause in Cause:
        if cause in names:
            one, many = cause.value
            several = list(names[cause])
            said.append((one if len(several) == 1 else many).format(_listed(several)))
    return ", ".join(said)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
