"""Reports disks and folders without space or permission, before measuring or when a write fails."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mfuscope.core.errors import UserError

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_LEAST_FREE: Final = 20_000_000  # bytes: two large traces


def check_space(folder: Path) -> None:
    """Check that a disk has room for logs and small results.

    Raises:
        UserError: names the folder.
    """
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE:
        raise UserError(
            f"only {free / 1e6:.1f} MB are free on the disk of {folder.resolve()}",
            f"free at least {_LEAST_FREE / 1e6:.0f} MB there, better some GB",
        )


def check_writable(paths: Iterable[Path]) -> None:
    """Check that files can be written.

    Raises:
        UserError: names a folder that cannot be written to.
    """
    folders = {path.parent for path in paths}
    for folder in sorted({_existing(folder) for folder in folders}):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(
                f"the folder {str(folder)!r} cannot be written to",
                "give yourself write permission for it and what it holds (chmod -R u+w), or mount "
                "it for writing",
            )


def _existing(folder: Path) -> Path:
    """The folder, or the one that it would be made in."""
    while not folder.exists():
        folder = folder.parent
    return folder


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Turn the system's error into one for the user when the disk of `path` is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UserError(
            f"{path} could not be written, the disk is full ({error.strerror})",
            "free space there (traces take most: set `profiler.keep_traces: none` and delete those "
            "in results/*/traces), then run the same command again",
        ) from error


@contextmanager
def report_access(folder: Path) -> Iterator[None]:
    """Turn the system's error into one for the user when a file in `folder` is out of reach."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read or removed ({error.strerror})",
            f"give yourself permission to read and write what is in {folder}",
        ) from error
