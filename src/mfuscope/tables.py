"""Tables on disk: CSV, apart from `artefacts` because not every job can afford to import pandas."""

from pathlib import Path
from typing import Any

import pandas as pd

from mfuscope.artefacts import write_noted

# Columns of names: a variant called 01 must not come back as the number 1.
_NAMES = dict.fromkeys(
    ("variant", "image", "path", "sha256", "category", "resolution", "operator", "kernel"), str
)


def write_table(path: Path, table: pd.DataFrame | list[dict[str, Any]]) -> None:
    """Write a table (or its rows) as CSV; absent values are empty cells."""
    write_noted(path, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of `write_table`. Only empty cells are absent: a page may be called NA.

    Raises:
        ValueError: the file is no such table; the message names the file.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=_NAMES)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table: {error}") from error
