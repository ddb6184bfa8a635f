"""docs/models.md: every class of transformers' mapping, and only what tests show is measured."""

from pathlib import Path

from checkpoints import ROOT
from generate.models import FILE, MEASURED, PACKAGES, image_text_to_text, models_page
from small_models import ENCODER_DECODERS, FAMILIES, OTHERS, write_small_model

from mfuscope.models.files import read_json


def rows(page: str) -> dict[str, str]:
    """Row by model type."""
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def test_each_class_has_its_row() -> None:
    made, committed = rows(models_page()), rows((ROOT / FILE).read_text(encoding="utf-8"))
    assert made.keys() == image_text_to_text().keys()
    differ = {name for name in made | committed if made.get(name) != committed.get(name)}
    assert not differ, f"run `make contracts`, commit {FILE}"


def test_the_rest_of_the_page_is_up_to_date() -> None:
    assert (ROOT / FILE).read_text(encoding="utf-8") == models_page(), "run `make contracts`"


def test_what_is_measured_has_a_test(tmp_path: Path) -> None:
    """tests/models/test_families.py, test_encoder_decoders.py; folders of the two others."""
    built = {"deepseek_ocr2", "unlimited_ocr"}
    for family in (*FAMILIES, *OTHERS, *ENCODER_DECODERS):
        write_small_model(tmp_path / family, family)
        built.add(read_json(tmp_path / family / "config.json")["model_type"])
    assert built == {*MEASURED, *PACKAGES}
    page = rows(models_page())
    assert all("| measured |" in page[name] for name in MEASURED)
    assert len(page) == len(image_text_to_text())
