"""Artefacts on disk: records as JSON, tables as CSV; written whole or not at all."""

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pandas as pd

Record = TypeVar("Record")

# Columns of names: a variant called 01 must not come back as the number 1.
_NAMES = dict.fromkeys(("variant", "image", "path", "category", "resolution", "operator"), str)


def write_json(path: Path, record: object) -> None:
    """Write a record as indented JSON; a crash leaves the old file or none, never half of one."""
    content = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
    write_bytes(path, content)


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


def write_table(path: Path, table: pd.DataFrame | list[dict[str, Any]]) -> None:
    """Write a table (or its rows) as CSV; absent values are empty cells."""
    write_text(path, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of `write_table`. Only empty cells are absent: a page may be called NA.

    Raises:
        ValueError: the file is no such table; the message names the file.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=_NAMES)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table: {error}") from error
