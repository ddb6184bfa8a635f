"""Artefacts on disk: records as JSON, columns as CSV, and text; written whole or not at all.

A reader who finds an artefact under its name finds all of it, also after a power cut: each is
written under another name, forced to the disk, and renamed.
"""

import csv
import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from mfuscope.core.errors import InvalidFileError
from mfuscope.storage.space import report_full_disk

#: What is wrong with a file whose end is missing.
TRUNCATED: Final = "is truncated"

#: Suffix of the names of partly written artefacts, which also begin with a dot.
PARTIAL: Final = ".partial"

# Errors of file systems that cannot flush a folder to the disk.
_NO_FOLDER_SYNC: Final = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
_SHOWN: Final = 200  # characters of a decoder's message, which may quote the file

Record = TypeVar("Record")


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON."""
    write_encoded(path, msgspec.json.encode(record))


def write_encoded(path: Path, record: bytes) -> None:
    """Write a record that is JSON already, indented."""
    write_bytes(path, msgspec.json.format(record, indent=2) + b"\n")


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


def check_regular(path: Path) -> None:
    """Check that a path is no FIFO, which would hang its reader, nor a device or folder.

    Raises:
        InvalidFileError: it is something else.
        FileNotFoundError: there is nothing.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise InvalidFileError(path, "is no regular file")


def read_json(path: Path, record: type[Record]) -> Record:
    """Read a record.

    Raises:
        InvalidFileError: the file is not such a record.
        FileNotFoundError: there is no file.
    """
    check_regular(path)
    content = path.read_bytes()
    try:
        return msgspec.json.decode(content, type=record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Cut within a literal or a number, a record is malformed to the decoder. Ends are braces.
        whole = content.rstrip().endswith(b"}")
        malformed = not isinstance(error, msgspec.ValidationError)
        truncated = malformed and ("truncated" in str(error) or not whole)
        what = f"is no {record.__name__.lower()} record ({str(error)[:_SHOWN]})"
        raise InvalidFileError(path, TRUNCATED if truncated else what) from error
