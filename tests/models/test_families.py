"""Every family that people use for documents: a folder of toy size, planned, counted and run."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import MODELS, ROOT
from PIL import Image
from small_models import FAMILIES, write_small_model

from mfuscope.config.settings import ModelSettings, load_schema, resolve_settings
from mfuscope.core.errors import UserErrors
from mfuscope.core.runs import CalibrationKey
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.session import Generation, Session
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
#: Packages that transformers' own processors of these families want.
NEEDED = {"smolvlm": "num2words", "mistral3": "torchvision", "lfm2_vl": "torchvision"}
NO_SDPA = ("got_ocr2",)
#: Image tokens of a page of 120 x 90 pixels; of Kosmos-2.5, whose config names no mark, unknown.
TOKENS = {
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm_ocr", "glm4v"), 12),
    **dict.fromkeys(("paddleocr_vl", "lighton_ocr", "mistral3"), 12),
    **dict.fromkeys(("idefics3", "smolvlm", "granite_docling"), 20),
    **dict.fromkeys(("llava", "paligemma"), 16),
    **dict.fromkeys(("llava_next", "llava_onevision"), 70),
    **{"internvl": 52, "gemma3": 4, "got_ocr2": 256, "hunyuan_vl": 17, "mllama": 1},
    "kosmos2_5": None,
}


def plan(folder: Path, **more: Any) -> Plan:
    given = {"model": str(folder), "images": str(PAGE), "device": "cpu", "load_format": "dummy"}
    return make_plan(resolve_settings(given | more, {}, {}, SCHEMA), MODELS, known={})


def missing(family: str) -> bool:
    """Whether this host lacks the package that a family's processor wants."""
    return family in NEEDED and importlib.util.find_spec(NEEDED[family]) is None


def session(folder: Path, attention: str = "sdpa", load_format: str = "dummy") -> Session:
    name = str(folder)
    settings = ModelSettings(name, load_format, "fp32", attention, "Free OCR.", "auto", "none", 1)
    return Session(resolve_model(name, load_format, MODELS), settings, "cpu", traces=False)


def check_measured(made: Session, family: str) -> None:
    """Calibrate for a page's size, then run the page; both agree on its tokens."""
    calibration = calibrate(made, CalibrationKey("v", "native-120x90"))
    assert calibration.image_tokens == TOKENS[family]
    assert not calibration.uncounted_operators or family == "qwen3_5"  # a triangular solve
    assert (calibration.prefill_total["counted"] or 0) > 0
    first, second = (step.total["counted"] for step in calibration.decode_steps)
    assert first is not None
    assert second is not None
    assert second >= first > 0
    page = made.inputs(Image.new("RGB", (120, 90), "grey"), "auto")
    assert page.prompt_tokens == calibration.prompt_tokens
    out = made.generate(page, Generation(3, ignore_eos=True))
    assert out.shape == (1, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_measured(family: str, tmp_path: Path) -> None:
    write_small_model(tmp_path / family, family)
    if missing(family):
        with pytest.raises(UserErrors) as caught:
            plan(tmp_path / family)
        (error,) = caught.value.errors
        package = NEEDED[family]
        assert f"needs the package {package}, which is not installed" in error.problem
        assert error.remedy == f"pip install {package}"
        return
    attention = plan(tmp_path / family, attention="auto").variants["baseline"].attention
    assert attention == ("eager" if family in NO_SDPA else "sdpa")
    check_measured(session(tmp_path / family, attention), family)


def test_a_package_that_is_there_changes_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the numbers of a video's frames, so that any function stands for it here."""
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", str)
    write_small_model(tmp_path / "smolvlm", "smolvlm")
    assert plan(tmp_path / "smolvlm").models["baseline"].architecture.startswith("SmolVLM")
    check_measured(session(tmp_path / "smolvlm"), "smolvlm")


@pytest.mark.parametrize("family", ["qwen2_5_vl", "internvl"])
def test_their_weights_are_read(family: str, tmp_path: Path) -> None:
    folder = tmp_path / family
    write_small_model(folder, family)
    dummy = load_model(
        resolve_model(str(folder), "dummy", MODELS), "fp32", "sdpa", torch.device("cpu")
    )
    dummy.model.save_pretrained(folder)
    made = session(folder, load_format="auto")
    assert made.description.weights == "checkpoint"
    for ours, theirs in zip(made.model.parameters(), dummy.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    check_measured(made, family)


def test_groups_of_heads_are_counted_with_the_older_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibrations of models with grouped-query attention, as torch 2.11 would count them."""

    def refused(*_: object) -> int:
        raise AssertionError("torch's own formula")

    write_small_model(tmp_path / "m", "qwen2_vl")
    made = session(tmp_path / "m")
    key = CalibrationKey("v", "native-120x90")
    usual = calibrate(made, key)
    monkeypatch.setattr("torch.utils.flop_counter.sdpa_flop_count", refused)
    older = calibrate(made, key)
    assert older.prefill_operators == usual.prefill_operators
    assert older.decode_steps == usual.decode_steps


# --- attention -----------------------------------------------------------------------------------


def test_attention_that_a_model_has_not_is_refused(tmp_path: Path) -> None:
    write_small_model(tmp_path / "got", "got_ocr2")
    with pytest.raises(UserErrors) as caught:
        plan(tmp_path / "got")
    (error,) = caught.value.errors
    assert "(GotOcr2ForConditionalGeneration) has no sdpa attention" in error.problem
    assert error.remedy == "set `attention: eager`"
    assert plan(tmp_path / "got", attention="eager").variants["baseline"].attention == "eager"


def test_auto_says_what_it_picks(tmp_path: Path) -> None:
    write_small_model(tmp_path / "got", "got_ocr2")
    write_small_model(tmp_path / "qwen", "qwen2_vl")
    asked = {
        "attention": "auto",
        "variants": {"got": {}, "qwen": {"model": str(tmp_path / "qwen")}},
    }
    made = plan(tmp_path / "got", **asked)
    assert {name: one.attention for name, one in made.variants.items()} == {
        "got": "eager",
        "qwen": "sdpa",
    }
    assert f"attention: auto is eager for {str(tmp_path / 'got')!r}" in made.notes
    bundled = make_plan(
        resolve_settings(
            {"model": "deepseek-ocr-nano", "images": str(PAGE), "device": "cpu"},
            {"attention": "auto"},
            {},
            SCHEMA,
        ),
        MODELS,
    )
    assert bundled.variants["baseline"].attention == "sdpa"


# --- what is not measured ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_type", "architecture", "reason"),
    [
        ("florence2", "Florence2ForConditionalGeneration", "is an encoder-decoder"),
        ("pix2struct", "Pix2StructForConditionalGeneration", "is an encoder-decoder"),
        ("vision-encoder-decoder", "VisionEncoderDecoderModel", "is an encoder-decoder"),
        ("pi0", "PI0ForConditionalGeneration", "generates no text"),
    ],
)
def test_what_is_not_measured_is_one_line(
    model_type: str,
    architecture: str,
    reason: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "m"
    write_small_model(folder, "llava")
    config: dict[str, Any] = {"model_type": model_type, "architectures": [architecture]}
    if model_type == "vision-encoder-decoder":
        config |= {"encoder": {"model_type": "vit"}, "decoder": {"model_type": "trocr"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserErrors, match=f"\\({architecture}\\) {reason}") as caught:
        plan(folder)
    (error,) = caught.value.errors
    assert str(error).isprintable()
    assert "Traceback" not in capfd.readouterr().err
