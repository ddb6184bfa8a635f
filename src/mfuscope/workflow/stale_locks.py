"""Snakemake's locks outlive a workflow that was killed; this tells such locks from held ones."""

import fcntl
import os
from pathlib import Path

from mfuscope.core.errors import UserError

_held: list[int] = []  # open for as long as this process lives


def remove_stale_locks(folder: Path) -> bool:
    """Remove the locks in Snakemake's folder if no other workflow of ours runs there.

    Every workflow shares a lock of the operating system's, which ends with its process however
    that ends. Whoever could have that lock alone is alone, and any other lock is nobody's. Where
    the file system has no such locks, Snakemake's stay, as does its advice to ``--unlock``. Where
    it keeps them per host, a workflow on another host is not seen.

    Returns:
        Whether no other workflow is known to run there.

    Raises:
        UserError: the folder cannot be written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        file = os.open(folder / "mfuscope.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"the folder {str(folder)!r} cannot be written to ({error.strerror})",
            "give yourself write permission for the checkout and what it holds",
        ) from error
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alone = False
    except OSError:
        return not _locks(folder)
    else:
        alone = True
        for lock in _locks(folder):
            lock.unlink(missing_ok=True)
    fcntl.flock(file, fcntl.LOCK_SH)
    return alone


def _locks(folder: Path) -> list[Path]:
    """Snakemake's own locks."""
    return list((folder / "locks").glob("*.lock"))
