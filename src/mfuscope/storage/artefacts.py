"""Artefacts on disk: records as JSON, columns as CSV, and text; written whole or not at all.

Whoever finds an artefact under its name finds all of it, also after a power cut: it is written
under another name, forced to the disk, and renamed. `mfuscope.storage.integrity` finds files that
were truncated all the same, by copies that broke off for example.
"""

import csv
import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from mfuscope.core.errors import InvalidFileError, UserError

#: What is wrong with a file whose end is missing.
CUT: Final = "is cut short"

#: How names end under which artefacts are written, which begin with a dot.
PARTIAL: Final = ".partial"

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_LEAST_FREE: Final = 20_000_000  # bytes: two large traces
# What file systems say that cannot force a folder to the disk.
_NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)

Record = TypeVar("Record")


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON."""
    write_encoded(path, msgspec.json.encode(record))


def write_encoded(path: Path, record: bytes) -> None:
    """Write a record that is JSON already, indented."""
    write_bytes(path, _indented(record))


def write_noted_json(path: Path, record: object) -> None:
    """Write a record as indented JSON, with a note as `write_noted` does: of no record type."""
    _write_with_note(path, _indented(msgspec.json.encode(record)))


def _indented(record: bytes) -> bytes:
    return msgspec.json.format(record, indent=2) + b"\n"


def write_columns(path: Path, columns: Mapping[str, Sequence[object]]) -> int:
    """Write a table, given column by column, as CSV; None is an empty cell. Returns its bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    content = text.getvalue().encode("utf-8")
    write_bytes(path, content)
    return len(content)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_noted(path: Path, text: str) -> None:
    """Write text as UTF-8, and beside it a hidden note of its size and digest.

    A record's fields show that it is whole; of a text only its maker can tell.
    """
    _write_with_note(path, text.encode("utf-8"))


def _write_with_note(path: Path, content: bytes) -> None:
    note = file_note(path)
    note.unlink(missing_ok=True)  # never beside another text than its own
    write_bytes(path, content)
    digest = hashlib.sha256(content).hexdigest()
    write_bytes(note, f"{len(content)} {digest}\n".encode("ascii"))


def file_note(path: Path) -> Path:
    """Where the size of a text in bytes and its SHA-256 are noted."""
    return path.with_name(f".{path.name}.note")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes."""
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which gets its name once all of it is on the disk.

    Raises:
        UserError: the disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with report_full_disk(path):
            _make_folder(path.parent)
            for left in path.parent.glob(f".{path.name}.*{PARTIAL}"):  # by a job that was killed
                left.unlink(missing_ok=True)
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def report_full_disk(path: Path) -> Iterator[None]:
    """Tell in words that a file could not be written for want of space."""
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


def check_space(folder: Path) -> None:
    """Check that a disk has room for logs and the like, before anything starts.

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
    """Check that files can be written, before anything is measured for them.

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


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they last."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)  # another job may be as far
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk, where the file system knows how."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def read_json(path: Path, record: type[Record]) -> Record:
    """Read a record.

    Raises:
        InvalidFileError: the file is not such a record.
    """
    content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        cut = "truncated" in str(error) or content.endswith(b"\0")
        finding = CUT if cut else f"is no {record.__name__.lower()} record ({error})"
        raise InvalidFileError(path, finding) from error
