"""Tables on disk: CSV, apart from `artefacts` because not every job can afford to import pandas."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mfuscope.core.errors import InvalidFileError
from mfuscope.storage.artefacts import TRUNCATED, check_regular, write_text

# Columns of names: a variant called 01 must not come back as the number 1.
_NAMES = dict.fromkeys(
    (
        *("variant", "image", "path", "sha256", "category", "resolution", "operator", "kernel"),
        "token_ids_sha256",
    ),
    str,
)


def write_table(path: Path, table: pd.DataFrame | list[dict[str, Any]]) -> None:
    """Write a table (or its rows) as CSV; absent values are empty cells."""
    write_text(path, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def number_in(cell: Any) -> float | None:
    """The number in a cell; None where it is empty."""
    return None if pd.isna(cell) else float(cell)


def read_table(
    path: Path, *, names: Iterable[str] = (), numbers: Iterable[str] = ()
) -> pd.DataFrame:
    """Read a table of `write_table`. Only empty cells are absent: a page may be called NA.

    Args:
        names, numbers: columns that it must have, the latter of numbers alone.

    Raises:
        InvalidFileError: the file is no such table, or its end is missing.
    """
    check_regular(path)
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise InvalidFileError(path, TRUNCATED)
    try:
        table = pd.read_csv(
            io.BytesIO(content), keep_default_na=False, na_values=[""], dtype=_NAMES
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InvalidFileError(path, f"is no table ({error})") from error
    numbers = list(numbers)
    if lacking := [column for column in (*names, *numbers) if column not in table]:
        raise InvalidFileError(path, f"lacks the column {lacking[0]!r}")
    for column in numbers:
        if len(table) and not pd.api.types.is_numeric_dtype(table[column]):
            raise InvalidFileError(path, f"holds what is no number in the column {column!r}")
    return table
