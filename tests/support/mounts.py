"""File systems for tests: real ones, that really fill up or refuse to be written to."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str) -> str:
    """Mount something; returns what went wrong."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def _mount_or_skip(*arguments: str) -> None:
    if problem := _mount(*arguments):
        # A machine that may not mount proves nothing; where CI runs these tests, it can.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"cannot mount: {problem}")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of a size in place of a folder; what was in that is there again afterwards.

    Args:
        size: e.g. ``500k``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount_or_skip("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    with _unmounted_after(folder):
        yield


def make_room(folder: Path, size: str) -> None:
    """Let a `small_disk` have another size."""
    assert not _mount("-o", f"remount,size={size}", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder as on a disk that is mounted for reading alone; even root cannot write there."""
    _mount_or_skip("--bind", str(folder), str(folder))
    with _unmounted_after(folder):
        assert not _mount("-o", "remount,ro,bind", str(folder))
        yield


@contextmanager
def _unmounted_after(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
