"""Artefacts on disk: records as JSON, columns as CSV, and text; written whole or not at all."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

Record = TypeVar("Record")


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON; a crash leaves the old file or none, never half of one."""
    write_encoded(path, msgspec.json.encode(record))


def write_encoded(path: Path, record: bytes) -> None:
    """Write a record that is JSON already, indented."""
    write_bytes(path, msgspec.json.format(record, indent=2) + b"\n")


def write_columns(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write a table, given column by column, as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a file beside `path`, then move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path, record: type[Record]) -> Record:
    """Read a record.

    Raises:
        ValueError: the file is not such a record; the message names the file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=record)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path} is no {record.__name__} record: {error}") from error
