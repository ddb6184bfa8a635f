"""Snakemake's locks outlive a workflow that was killed; this tells such locks from held ones."""

import fcntl
import os
from pathlib import Path

_held: list[int] = []  # open for as long as this process lives


def remove_stale_locks(folder: Path) -> None:
    """Remove the locks in Snakemake's folder if no other workflow of ours runs there.

    Every workflow shares a lock of the operating system's, which ends with its process however
    that ends. Whoever could have that lock alone is alone, and any other lock is nobody's. Where
    the file system has no such locks, Snakemake's stay, as does its advice to ``--unlock``. Where
    it keeps them per host, a workflow on another host is not seen.
    """
    folder.mkdir(exist_ok=True)
    file = os.open(folder / "mfuscope.lock", os.O_RDWR | os.O_CREAT, 0o600)
    _held.append(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        alone = False
    except OSError:
        return
    else:
        alone = True
    if alone:
        for lock in (folder / "locks").glob("*.lock"):
            lock.unlink(missing_ok=True)
    fcntl.flock(file, fcntl.LOCK_SH)
