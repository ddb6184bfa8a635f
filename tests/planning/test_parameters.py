"""The rows of inputs.csv: what a spreadsheet would run is neutralised, and read back as it was."""

from pathlib import Path

import pytest
from checkouts import ROOT
from PIL import Image

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.pages.checks import known_pages
from mfuscope.planning.parameters import (
    calibration_parameters,
    counter_parameters,
    device_parameters,
    page_rows,
    report_settings,
    run_parameters,
)
from mfuscope.planning.plan import Plan, make_plan
from mfuscope.storage.tables import write_table

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")


def test_no_cell_of_inputs_csv_is_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=x").mkdir()
    Image.new("RGB", (60, 40)).save("=x/a.png")
    Path("=x/samples.csv").write_text("file,category\na.png,=1+1\n")
    given = {"images": "=x", "device": "cpu"}
    settings = resolve_settings(file=given, command_line={}, environment={}, schema=SCHEMA)
    plan = make_plan(settings, ROOT / "config" / "models", known={})
    (row,) = page_rows(plan)
    assert (row["path"], row["category"]) == ("'=x/a.png", "'=1+1")
    write_table(Path("inputs.csv"), [row])
    assert known_pages(Path("inputs.csv")) == {"=x/a.png": plan.facts["a.png"]}


def test_what_an_hour_costs_decides_the_report_alone() -> None:
    def plan(**more: float) -> Plan:
        given = {"images": str(ROOT / "data" / "samples" / "image_eu_map.png"), "device": "cpu"}
        return make_plan(
            resolve_settings(given | more, {}, {}, SCHEMA), ROOT / "config" / "models", known={}
        )

    free, paid = plan(), plan(cost_per_hour=2.5)
    for of in (run_parameters, calibration_parameters, counter_parameters):
        assert of(free, "baseline") == of(paid, "baseline")
    assert device_parameters(free) == device_parameters(paid)
    assert [report_settings(one)["cost_per_hour"] for one in (free, paid)] == [None, 2.5]
