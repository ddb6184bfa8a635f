"""One call at a time makes results in a folder, whichever checkout it is made from.

Snakemake's own lock lies in the checkout, and two checkouts may have links to one folder of
results. This one lies where the results do.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from mfuscope.core.errors import UserError

LOCK: Final = ".lock"

_held: list[int] = []  # open for as long as this process lives


def hold_results(results: Path) -> bool:
    """Make sure of a folder of results, and hold its lock until this process ends, however it does.

    Where the file system has no such locks (some of those on a network), or the folder cannot be
    written to, nothing is held: in the latter case nothing can be made there either.

    Returns:
        Whether it is held.

    Raises:
        UserError: there is no such folder and it cannot be made, or another call holds it.
    """
    _make(results)
    try:
        file = _open(results / LOCK)
    except OSError:
        return False  # read-only; whatever has to be written is told of with its own path
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise UserError(
            "another call is making these results",
            "wait until it has ended, then run the same command again (it holds "
            f"{str(results.resolve())!r}, maybe from another checkout)",
        ) from None
    except OSError:
        os.close(file)  # no locks here
        return False
    _held.append(file)
    return True


def _make(results: Path) -> None:
    try:
        results.mkdir(exist_ok=True)
    except OSError as error:
        target = f", a link to {str(results.readlink())!r}," if results.is_symlink() else ""
        raise UserError(
            f"the folder {str(results)!r}{target} is not there and cannot be made "
            f"({error.strerror})",
            "make it, mount its disk, or remove what stands in its place",
        ) from error


def _open(lock: Path) -> int:
    """The lock, as well as it can be had: file systems on a network ask for one to write to."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # somebody else's, who may well hold it
        return os.open(lock, os.O_RDONLY)
