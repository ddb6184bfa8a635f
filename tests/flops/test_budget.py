"""The FLOP budget: flops.csv's rows, and flops.md."""

from pathlib import Path
from typing import Any

import pytest
from checkpoints import MODELS
from validate import columns, read_rows, validate

from mfuscope.flops.budget import budget, geometry_of
from mfuscope.models.geometry import Geometry, Tiling
from mfuscope.models.spec import resolve_model
from mfuscope.report.budget import render_budget
from mfuscope.storage.tables import write_table

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    specs = [resolve_model(name, "dummy", MODELS) for name in ("deepseek-ocr", "deepseek-ocr-2")]
    return budget(specs, ["base", "gundam"], "Free OCR.")


def pick(rows: list[Row], component: str, **wanted: Any) -> Row:
    (row,) = [
        row
        for row in rows
        if row["component"] == component and all(row[key] == wanted[key] for key in wanted)
    ]
    return row


def test_the_reference_figures(rows: list[Row]) -> None:
    base = {"model": "deepseek-ocr", "resolution": "1024"}
    gundam = {"model": "deepseek-ocr", "resolution": "1024+640x2x3"}
    assert pick(rows, "total", stage="prefill", **base)["counted_gflops"] == 1372.237348864
    assert pick(rows, "total", stage="prefill", **gundam)["counted_gflops"] == 4261.900484608
    decode = pick(rows, "total", stage="decode", **base)
    assert (decode["counted_gflops"], decode["context_tokens"]) == (1.16533248, 279)
    decode = pick(rows, "total", stage="decode", **gundam)
    assert (decode["counted_gflops"], decode["prompt_tokens"]) == (1.20403968, 908)
    assert decode["tiles"] == "2x3"


def test_models_agree_and_components_add_up(rows: list[Row]) -> None:
    totals = [row for row in rows if row["component"] == "total"]
    assert len(totals) == 2 * 2 * 2
    for total in totals:
        key = ("model", "resolution", "stage")
        parts = [r for r in rows if r is not total and all(r[k] == total[k] for k in key)]
        for column in ("counted_gflops", "architecture_gflops", "weight_bytes", "kv_bytes"):
            assert sum(row[column] for row in parts) == pytest.approx(total[column], rel=1e-12)
        known = [r["directional_gflops"] for r in parts if r["directional_gflops"] is not None]
        assert sum(known) == pytest.approx(total["directional_gflops"])
    assert all(row["counted_gflops"] == row["architecture_gflops"] for row in rows)


def test_bytes_of_a_decode_step(rows: list[Row]) -> None:
    step = pick(rows, "total", stage="decode", model="deepseek-ocr", resolution="1024")
    assert step["kv_bytes"] == 2 * 12 * 279 * 1280 * 2
    assert step["weight_bytes"] == 1_148_257_280


def test_rows_fit_the_schema(rows: list[Row], tmp_path: Path) -> None:
    assert list(rows[0]) == columns("flops")
    write_table(tmp_path / "flops.csv", rows)
    read = read_rows(tmp_path / "flops.csv", "flops")
    assert len(read) == len(rows)
    for row in read:
        validate("flops", row)


def test_the_text_has_the_totals(rows: list[Row]) -> None:
    text = render_budget(rows)
    assert "The closed form equals the count in every row." in text
    assert "| deepseek-ocr | 1024+640x2x3 | 908 | 4,261.900 |" in text
    off = [row | {"architecture_gflops": 1.0} if i == 3 else row for i, row in enumerate(rows)]
    changed = render_budget(off)
    assert "differs from the count:** deepseek-ocr at 1024, prefill, global_attention" in changed


def test_resolutions_by_mode_and_by_name() -> None:
    assert geometry_of("tiny", Tiling()) == Geometry(512)
    assert geometry_of("gundam", Tiling(tile_size=768)) == Geometry(1024, 768, 2, 3)
    assert geometry_of("1024+640x3x3", Tiling()) == Geometry(1024, 640, 3, 3)
