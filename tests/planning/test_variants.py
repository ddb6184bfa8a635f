"""Variants that are for one kind of device, and the file of variants that is delivered."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkpoints import MODELS, ROOT

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.config.yaml_files import check_yaml_file
from mfuscope.core.errors import Findings, UserErrors
from mfuscope.hardware import nvml
from mfuscope.models.geometry import Geometry
from mfuscope.models.prompt import instruction_tokens
from mfuscope.planning.parameters import page_rows, report_settings, run_parameters
from mfuscope.planning.plan import Plan, make_plan
from mfuscope.workflow.start import notes

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
SAMPLES = ROOT / "data" / "samples"
PAGE = SAMPLES / "image_eu_map.png"
WHAT_IF = ROOT / "config" / "what-if.yaml"


def plan(**file: Any) -> Plan:
    given = {"images": str(PAGE), "device": "cpu"} | file
    return make_plan(resolve_settings(given, {}, {}, SCHEMA), MODELS, known={})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that this host seems to have, with what compiles for it."""
    find_spec = importlib.util.find_spec

    def with_triton(name: str, package: str | None = None) -> object:
        return object() if name == "triton" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", with_triton)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")


VARIANTS = {
    "fast": {"cache": "static", "compile": "decode", "only_on": "cuda"},
    "batch": {"batch_size": 4, "only_on": "cpu"},
    "usual": None,
}


def test_variants_for_other_devices_are_left_out(tmp_path: Path) -> None:
    made = plan(variants=VARIANTS)
    assert list(made.variants) == list(made.models) == ["batch", "usual"]
    assert {run.variant for run in made.runs()} == {"batch", "usual"}
    assert list(report_settings(made)["variants"]) == ["batch", "usual"]
    assert list(notes(made, tmp_path)) == ["variants left out on cpu (only_on: cuda): fast"]
    assert list(notes(plan(), tmp_path)) == []


@pytest.mark.usefixtures("gpu")
def test_every_gpu_is_of_the_kind_cuda(tmp_path: Path) -> None:
    for device in ("cuda", "cuda:0"):
        made = plan(variants=VARIANTS, device=device)
        assert list(made.variants) == ["fast", "usual"]
        assert list(notes(made, tmp_path)) == ["variants left out on cuda (only_on: cpu): batch"]


def test_what_is_left_out_is_not_looked_at() -> None:
    """It may need what this device, or another one of its kind, has not."""
    plan(variants={"usual": None, "odd": {"compile": "all", "only_on": "cuda"}})
    with pytest.raises(UserErrors, match=r"'variants\.odd\.cache' is"):  # but a typo is one
        plan(variants={"usual": None, "odd": {"cache": "x", "only_on": "cuda"}})


def test_some_variant_must_be_left() -> None:
    only = {"a": {"only_on": "cuda"}, "b": {"only_on": "cuda"}}
    with pytest.raises(UserErrors) as caught:
        plan(variants=only)
    (error,) = caught.value.errors
    assert error.problem == "variants: none is for the device that measures, cpu"
    assert error.remedy == "add one without `only_on`, or set another `device`"


# --- config/what-if.yaml -------------------------------------------------------------------------


def what_if(monkeypatch: pytest.MonkeyPatch, **others: Any) -> Plan:
    """As Snakemake lays it over config.yaml, in the folder of the Snakefile."""
    monkeypatch.chdir(ROOT)
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    return plan(**base | yaml.safe_load(WHAT_IF.read_text()) | others)


def test_what_if_has_what_suits_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = Findings()
    check_yaml_file(WHAT_IF, findings)
    assert not findings
    made = what_if(monkeypatch, device="cpu")
    assert list(made.variants) == [
        *("baseline", "static-cache", "batch-2", "eager-attention", "eager-experts", "one-thread")
    ]
    assert {made.resolution(run.variant, run.image) for run in made.runs()} == {"512"}
    made.check_device()


@pytest.mark.usefixtures("gpu")
def test_what_if_has_what_suits_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made = what_if(monkeypatch, device="cuda")
    assert list(made.variants) == [
        *("baseline", "static-cache", "compiled-decode", "compiled-all", "batch-8")
    ]
    # A compiled variant compiles once for each resolution.
    assert len({made.resolution(run.variant, run.image) for run in made.runs()}) == 1


def test_what_if_uses_the_reference_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first variant and its pages are those of a plain call."""
    made = what_if(monkeypatch, device="cpu")
    plain = plan(images="data/samples")
    assert run_parameters(made, "baseline") == run_parameters(plain, "baseline")
    rows = page_rows(made)
    assert len(rows) == 4
    assert [row for row in rows if row not in page_rows(plain)] == []
    assert {row["category"] for row in rows} == {"text_heavy", "mixed_layout", "image_rich"}


# --- config/published.yaml -----------------------------------------------------------------------


def test_the_published_protocol_fits_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its model is on the hub; the bundled folder has the same prompts and positions."""
    path = ROOT / "config" / "published.yaml"
    findings = Findings()
    check_yaml_file(path, findings)
    assert not findings
    monkeypatch.chdir(ROOT)
    base = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    made = plan(**base | yaml.safe_load(path.read_text()) | {"model": "deepseek-ocr"})
    assert list(made.variants) == ["grounding", "free-ocr"]
    longest = 0
    for name, variant in made.variants.items():
        assert (variant.ignore_eos, variant.no_repeat_ngram_size) == (False, 20)
        spec = made.models[name]
        assert spec.tiling is not None
        assert (spec.positions, spec.tiling.max_tiles) == (8192, 9)
        text = 1 + len(instruction_tokens(spec.path, variant.prompt))  # 1: the begin of sequence
        grids = [(columns, rows) for columns in range(1, 10) for rows in range(1, 9 // columns + 1)]
        pages = [spec.image_tokens(Geometry(1024, 640, *grid)) for grid in grids]
        longest = max(longest, text + max(pages))
    assert made.variants["grounding"].max_new_tokens == 8192 - longest
