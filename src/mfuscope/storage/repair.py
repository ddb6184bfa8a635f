"""What is done about results that lie there, before anything builds on them."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final

from mfuscope.core.errors import UserError
from mfuscope.storage.integrity import find_damage
from mfuscope.storage.paths import RunFiles, records, texts

_TOLD: Final = 10  # damaged files that are named
_CLOCKS_DIFFER_S: Final = 60.0  # file servers have clocks of their own
_LONG_AGO_NS: Final = 1_000_000_000  # not 0, which would count as no date


def mend(
    results: Path, runs: Sequence[RunFiles], forgotten: Sequence[Path] = (), *, look_only: bool
) -> Iterator[str]:
    """Remove results that are damaged or forgotten; set back dates that lie in the future.

    Args:
        results: the folder of results.
        runs: those that the settings ask for.
        forgotten: results to make again whatever they hold (`forgotten.forgotten_tables`).
        look_only: change nothing.

    Yields:
        What was found, in lines for the user.

    Raises:
        UserError: a result cannot be read or changed.
    """
    with report_access(results):
        damaged = find_damage(results, runs)
        yield from map(str, damaged[:_TOLD])
        if len(damaged) > _TOLD:
            yield f"... and so are {len(damaged) - _TOLD} more"
        if forgotten:
            yield (
                f"of {len(forgotten)} tables and texts Snakemake does not know what they were made "
                "from; they will be made again"
            )
        early = _dated_in_future(chain(*runs, records(results), texts(results)))
        if early:
            yield (
                f"{len(early)} results are dated in the future, by a clock that jumped; their "
                "dates are set back"
            )
        if not look_only:
            for damage in damaged:
                damage.remove()
            for path in forgotten:
                path.unlink(missing_ok=True)
            for path in early:
                _date_long_ago(path)


@contextmanager
def report_access(results: Path) -> Iterator[None]:
    """Tell in words what cannot be read or changed in a folder of results."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read or changed ({error.strerror})",
            f"give yourself permission to read and write what is in {results}",
        ) from error


def _dated_in_future(paths: Iterable[Path]) -> list[Path]:
    """Those files that a clock ahead of its time has dated.

    They look newer than whatever they are made from, what is to come included.
    """
    latest, found = time.time() + _CLOCKS_DIFFER_S, []
    for path in paths:
        with suppress(FileNotFoundError):
            if path.stat().st_mtime > latest:
                found.append(path)
    return found


def _date_long_ago(path: Path) -> None:
    """Make the contents of what a file is made from decide whether it is up to date.

    What is newer than a result is no reason to make it again if its digest is as recorded.
    """
    with suppress(FileNotFoundError):  # it was damaged too
        os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
