"""comparison.csv from metrics.csv."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from validate import read_rows, schemas, validate

from mfuscope.compare.variants import COLUMNS, COMPARED, NAMES, NUMBERS, compare_variants
from mfuscope.storage.tables import read_table, write_table

Row = dict[str, Any]


def metrics(*runs: Row) -> pd.DataFrame:
    """metrics.csv of these runs, whose other metrics are absent."""
    usual = {"image": "a.png", "token_ids_sha256": "a"} | dict.fromkeys(COMPARED)
    return pd.DataFrame([usual | run for run in runs])


def times(variant: str, *ms: float, **more: Any) -> list[Row]:
    return [{"variant": variant, "page_ms": one} | more for one in ms]


def rows(table: pd.DataFrame, metric: str = "page_ms") -> dict[tuple[str, str], Row]:
    """The rows of a metric by variant and image."""
    found = table[table["metric"] == metric].replace({np.nan: None}).to_dict("records")
    return {(row["variant"], row["image"]): {str(k): v for k, v in row.items()} for row in found}


def test_each_variant_is_held_against_the_first() -> None:
    runs = [*times("z", 100.0, 102.0), *times("a", 50.0, 51.0), *times("m", 99.0, 104.0)]
    table = compare_variants(metrics(*runs))
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * 2 * len(COMPARED)
    found = rows(table)
    assert list(found) == [("a", "a.png"), ("a", "all"), ("m", "a.png"), ("m", "all")]
    assert found["a", "all"]["ratio"] == pytest.approx(0.5)
    assert found["a", "all"]["verdict"] == "faster"
    assert found["m", "all"]["verdict"] == "no difference shown"
    assert found["a", "a.png"] | {"image": "all"} == found["a", "all"]


def test_pages_of_one_variant_alone_are_not_compared() -> None:
    runs = [
        *times("r", 10.0, 10.5, image="a.png"),
        *times("r", 20.0, 20.5, image="b.png"),
        *times("r", 30.0, 30.5, image="c.png"),
        *times("v", 5.0, 5.5, image="b.png"),
        *times("v", 6.0, 6.5, image="a.png"),
        *times("v", 7.0, 7.5, image="d.png"),
    ]
    found = rows(compare_variants(metrics(*runs)))
    assert [image for _, image in found] == ["a.png", "b.png", "c.png", "d.png", "all"]
    alone = found["v", "c.png"]
    assert (alone["reference_mean"], alone["variant_mean"]) == (30.25, None)
    assert (alone["ratio"], alone["n"], alone["verdict"]) == (None, 0, None)
    assert alone["same_tokens"] is None
    assert found["v", "d.png"]["variant_mean"] == 7.25
    every = found["v", "all"]
    assert (every["reference_mean"], every["variant_mean"], every["n"]) == (15.25, 5.75, 2)
    assert every["same_tokens"] is True


@pytest.mark.parametrize(
    ("tokens", "same"),
    [
        (("a", "a", "a", "a"), True),
        (("a", "a", "b", "a"), False),
        (("a", "b", "a", "a"), False),  # the reference itself did not make the same
        (("a", "a", "a", None), None),
        (("a", "a", None, "b"), None),
    ],
)
def test_the_same_tokens_are_those_of_every_run(tokens: Any, same: bool | None) -> None:
    runs = [*times("r", 10.0, 10.5), *times("v", 5.0, 5.5)]
    runs = [run | {"token_ids_sha256": made} for run, made in zip(runs, tokens, strict=True)]
    found = rows(compare_variants(metrics(*runs)))
    assert [row["same_tokens"] for row in found.values()] == [same, same]


@pytest.mark.parametrize(
    ("second", "same"), [("a", True), ("b", False), (None, None)], ids=["same", "other", "unknown"]
)
def test_all_pages_have_the_same_tokens_if_each_has(second: str | None, same: bool | None) -> None:
    runs = [
        *times("r", 10.0, 10.5),
        *times("r", 10.0, 10.5, image="b.png"),
        *times("v", 5.0, 5.5),
        *times("v", 5.0, 5.5, image="b.png", token_ids_sha256=second),
    ]
    assert rows(compare_variants(metrics(*runs)))["v", "all"]["same_tokens"] is same


def test_absent_metrics_have_rows_without_values() -> None:
    found = rows(compare_variants(metrics(*times("r", 1.0), *times("v", 2.0))), "mbu_decode")
    assert {row["ratio"] for row in found.values()} == {None}
    assert {row["n"] for row in found.values()} == {0}


@pytest.mark.parametrize("variants", [("r",), ("r", "v"), ("r", "v", "w")])
def test_the_table_fits_its_schema_and_is_read_back(
    variants: tuple[str, ...], tmp_path: Path
) -> None:
    runs = [
        run
        for place, variant in enumerate(variants)
        for image in ("1.png", "2.png")
        for run in times(variant, 10.0 + place, 11.0 + place, image=image, prefill_kernels=5)
    ]
    path = tmp_path / "metrics.csv"
    write_table(path, metrics(*runs))
    table = compare_variants(read_table(path, names=NAMES, numbers=COMPARED))
    path = tmp_path / "comparison.csv"
    write_table(path, table)
    read = read_rows(path, "comparison")
    for row in read:
        validate("comparison", row)
    assert len(read) == len(variants[1:]) * 3 * len(COMPARED)
    assert len(read_table(path, names=COLUMNS, numbers=NUMBERS)) == len(read)


def test_the_metrics_are_those_of_the_schema() -> None:
    properties = schemas()["comparison.schema.yaml"]["properties"]
    assert properties["metric"]["enum"] == list(COMPARED)
    assert list(properties) == list(COLUMNS)
    assert set(COMPARED) < set(schemas()["metrics.schema.yaml"]["properties"])
