"""How runs to measure again are named, and the command that has it done."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mfuscope.core.text import one_line
from mfuscope.provenance.facts import Facts, Provenance
from mfuscope.storage.artefacts import write_text

_NAMED: Final = 3  # runs of a group that are named
_LISTED: Final = 5  # files that a command names; more go into a list
_SHOWN: Final = 64  # characters of a fact: records may hold anything


def removal_command(paths: Sequence[Path], listing: Path) -> str:
    """A shell command that removes files; many are listed in a file.

    Args:
        listing: the list to write where there are many.
    """
    words = [shlex.quote(str(path)) for path in paths]
    if len(paths) <= _LISTED:
        return f"rm {' '.join(words)}"
    write_text(listing, "".join(f"{word}\n" for word in words))  # xargs reads quotes as shells do
    return f"xargs rm < {shlex.quote(str(listing))}"


def shown(fact: str) -> str:
    """A fact as a line can show it."""
    return one_line(fact)[:_SHOWN]


def in_words(facts: Facts) -> str:
    """Facts in a line."""
    return ", ".join(f"{name} {shown(fact)}" for name, fact in facts.items())


def run_names(runs: Sequence[Provenance]) -> str:
    """The first runs by name, and how many more there are."""
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return ", ".join(str(run.key) for run in runs[:_NAMED]) + more


def count(things: int, thing: str = "run") -> str:
    """How many there are, in words."""
    return f"{things} {thing}{'s' * (things != 1)}"
