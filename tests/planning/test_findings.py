"""What is wrong with a call is reported before it measures anything, and all of it at once."""

from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT
from PIL import Image

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.core.errors import Findings, UserError, UserErrors
from mfuscope.pages.decoding import PageFacts, digest_page
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
MODELS = ROOT / "config" / "models"


def plan_of(folder: Path, known: dict[str, PageFacts] | None = None, **settings: Any) -> Plan:
    file = {"images": str(folder), "device": "cpu"} | settings
    resolved = resolve_settings(file=file, command_line={}, environment={}, schema=SCHEMA)
    return make_plan(resolved, MODELS, known={} if known is None else known)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two usable pages, one that cannot be decoded and one whose path cannot be used."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for name in ("b.png", "a.png", "{word}.png"):
        Image.new("RGB", (60, 40)).save(folder / name)
    (folder / "text.png").write_text("no picture")
    return folder


def test_every_unusable_page_is_reported_by_path(folder: Path) -> None:
    with pytest.raises(UserErrors) as caught:
        plan_of(folder)
    first, second = str(caught.value).splitlines()
    assert "text.png' (its content is no image" in first
    assert "{word}.png' holds '{word}'" in second


def test_unusable_pages_may_be_skipped(folder: Path) -> None:
    plan = plan_of(folder, on_bad_image="skip")
    assert list(plan.pages) == list(plan.facts) == ["a.png", "b.png"]
    assert [Path(page.path).name for page in plan.skipped] == ["text.png", "{word}.png"]
    assert {run.image for run in plan.runs()} == {"a.png", "b.png"}


def test_skipping_all_pages_is_an_error(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).unlink()
    with pytest.raises(UserErrors) as caught:
        plan_of(folder, on_bad_image="skip")
    assert len(caught.value.errors) == 2


def test_a_job_reads_its_own_page_alone(folder: Path) -> None:
    """It plans without checks: another page may be unusable by then."""
    settings = resolve_settings(
        file={"images": str(folder), "device": "cpu", "resolution": "base"},
        command_line={},
        environment={},
        schema=SCHEMA,
    )
    plan = make_plan(settings, MODELS)
    assert plan.digest("a.png") == digest_page(folder / "a.png")
    assert plan.resolution("baseline", "a.png") == "1024"
    with pytest.raises(UserError, match=r"text\.png' \(its content is no image"):
        plan.resolution("baseline", "text.png")


def test_everything_wrong_is_reported_at_once(tmp_path: Path) -> None:
    variants = {"a": {"model": "nowhere/at/all"}, "b": {"model": "deepseek-ocr-nan0"}}
    with pytest.raises(UserErrors) as caught:
        plan_of(tmp_path, device="cuda:63", variants=variants, flops={"models": ["none"]})
    lines = str(caught.value).splitlines()
    said = ("'cuda:63' is not there", "'nowhere/at/all'", "'deepseek-ocr-nan0'", "flops.models")
    assert len(lines) == len(said) + 1
    for text in (*said, "holds no image"):
        assert sum(text in line for line in lines) == 1


def test_wrong_settings_hide_nothing_else(folder: Path) -> None:
    """Neither each other, nor wrong models, combinations, context limits and pages."""
    findings = Findings()
    settings = resolve_settings(
        file={
            "images": str(folder),
            "device": "cpu",
            "model": "deepseek-ocr-nano",
            "variants": {
                "typed": {"dtype": "q"},
                "a b": {},
                "flash": {"attention": "flash", "prompt": "<image>x"},
                "long": {"max_new_tokens": 100_000},
                "lost": {"model": "nowhere/at/all"},
            },
        },
        command_line={"repeats": "0"},
        environment={"DSOCR_IMAGES": "x"},
        schema=SCHEMA,
        findings=findings,
    )
    with pytest.raises(UserErrors) as caught:
        make_plan(settings, MODELS, known={}, findings=findings)
    lines = str(caught.value).splitlines()
    wrong = ["'variants.typed.dtype'", "'a b'", "'flash' runs", "'<image>'", "tokens, and"]
    wrong += ["'nowhere/at/all'", "'repeats' is 0", "DSOCR_IMAGES", "text.png'", "{word}.png'"]
    for text in wrong:
        assert sum(text in line for line in lines) == 1, text
    assert len(lines) == len(wrong)


def test_every_wrong_setting_is_reported_at_once() -> None:
    with pytest.raises(UserErrors) as caught:
        resolve_settings(
            file={"reapeats": 3, "warmup": -1, "profiler": {"shapes": 1, "stack": 1}},
            command_line={"repeats": "none"},
            environment={"MFU_PEAK_TFLOPS": "fast", "DSOCR_USE_FLASH_ATTN": "maybe"},
            schema=SCHEMA,
        )
    lines = str(caught.value).splitlines()
    wrong = ("'reapeats'", "'warmup'", "'profiler.shapes'", "'profiler.stack'", "'repeats' is")
    for text in (*wrong, "'peak_tflops'", "DSOCR_USE_FLASH_ATTN"):
        assert sum(text in line for line in lines) == 1
    assert len(lines) == 7
    assert all("Remedy: " in line for line in lines)
