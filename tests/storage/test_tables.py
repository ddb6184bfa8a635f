"""Tables come back as they were written, or are named with what to do."""

from pathlib import Path
from typing import Any

import pytest

from mfuscope.core.errors import InvalidFileError
from mfuscope.storage.tables import read_table, write_table


def test_names_stay_names_and_empty_cells_are_absent(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write_table(path, [{"variant": "01", "image": "NA", "mfu": None}])
    table = read_table(path)
    assert (table["variant"][0], table["image"][0]) == ("01", "NA")
    assert table["mfu"].isna().all()


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "comparison.csv"
    path.write_text("variant,ratio\n")
    table = read_table(path, names=["variant"], numbers=["ratio"])
    assert (list(table.columns), len(table)) == (["variant", "ratio"], 0)


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("vasiant,prefill_ms\n01,2.5\n", "lacks the column 'variant'"),
        ("variant,prefill_ms\n01,2n5\n", "holds what is no number in the column 'prefill_ms'"),
        ("\n", "is no table"),
        ("variant,prefill_ms\n01,2.5,3,4\n02,1\n01,2,3,4,5\n", "is no table"),
        ("", "is truncated"),
        ("variant,prefill_ms\n01,2", "is truncated"),
        ("variant,prefill_ms\n01,2.5\n\0\0\0\0", "is truncated"),
    ],
)
def test_a_table_that_is_none_is_named_with_a_remedy(
    text: str, finding: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    columns: dict[str, Any] = {"names": ["variant"], "numbers": ["prefill_ms"]}
    with pytest.raises(InvalidFileError, match=rf"metrics\.csv {finding}.*`rm .*metrics\.csv` and"):
        read_table(path, **columns)
