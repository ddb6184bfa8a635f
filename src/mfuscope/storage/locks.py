"""One call at a time makes results in a folder, whichever checkout the call is made from.

The lock lies where the results do, so that calls of two checkouts whose results are one folder
exclude each other. It is the operating system's and ends with its process, so none is ever stale.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from mfuscope.core.errors import UserError

LOCK: Final = ".lock"

_held: list[int] = []  # open for as long as this process lives


def hold_results(results: Path) -> bool:
    """Lock a folder of results until this process ends, however it does; make the folder first.

    Nothing is locked where the file system has no such locks, as some on a network, or where the
    folder cannot be written to, as then no call can make anything there.

    Returns:
        Whether the folder is locked.

    Raises:
        UserError: the folder is not there and cannot be made, or another call has locked it.
    """
    _make(results)
    try:
        file = _open(results / LOCK)
    except OSError:
        return False  # read-only; whatever has to be written is reported with its own path
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
    """Open the lock, for writing if possible: file systems on a network ask for that."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # the file is another user's, who may well hold it
        return os.open(lock, os.O_RDONLY)
