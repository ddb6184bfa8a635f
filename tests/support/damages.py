"""Ways in which files are truncated, for tests."""

from collections.abc import Callable
from pathlib import Path


def halve(path: Path) -> None:
    """As a copy that broke off."""
    content = path.read_bytes()
    half = content[: len(content) // 2]
    path.write_bytes(half[:-1] if half.endswith(b"\n") else half)  # in the middle of a line


def empty(path: Path) -> None:
    """As a file whose name was on the disk before its content."""
    path.write_bytes(b"")


def fill_with_zeros(path: Path) -> None:
    """As a file whose size was on the disk before its content."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "halved": halve,
    "empty": empty,
    "zeros": fill_with_zeros,
}
