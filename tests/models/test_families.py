"""Every family that people use for documents: a folder of toy size, planned, counted and run."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from checkpoints import MODELS
from small_calls import PAGE, SCHEMA, SIZE, plan, run_small, session, small_key
from small_models import FAMILIES, OTHERS, write_small_model

from mfuscope.config.settings import resolve_settings
from mfuscope.core.errors import UserErrors
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.session import Session
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model
from mfuscope.planning.parameters import report_settings
from mfuscope.planning.plan import make_plan

#: Packages that transformers' own processors of these families want.
NEEDED = {"smolvlm": "num2words", "mistral3": "torchvision", "lfm2_vl": "torchvision"}
NO_SDPA = ("got_ocr2", "pp_chart2table")
#: Image tokens of a page of 120 x 90 pixels; of Kosmos-2.5, whose config names no mark, unknown.
TOKENS = {
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "glm_ocr", "glm4v"), 12),
    **dict.fromkeys(("paddleocr_vl", "lighton_ocr", "mistral3"), 12),
    **dict.fromkeys(("idefics3", "smolvlm", "granite_docling"), 20),
    **dict.fromkeys(("llava", "paligemma"), 16),
    **dict.fromkeys(("llava_next", "llava_onevision"), 70),
    **{"internvl": 52, "gemma3": 4, "got_ocr2": 256, "hunyuan_vl": 17, "mllama": 1},
    "kosmos2_5": None,
    **dict.fromkeys(("qwen3_vl_moe", "qwen3_5_moe", "exaone4_5", "video_llama_3"), 12),
    **dict.fromkeys(("glm46v", "glm4v_moe", "ernie4_5_vl_moe"), 12),
    **dict.fromkeys(("vipllava", "video_llava", "deepseek_vl"), 16),
    **{"llava_next_video": 70, "aya_vision": 4, "idefics2": 4, "ovis2": 48, "qianfan_ocr": 52},
    **{"pp_chart2table": 256, "gemma4": 63, "chameleon": 256, "emu3": 176},
    "granite4_vision": 24,
}


def missing(family: str) -> bool:
    """Whether this host lacks the package that a family's processor wants."""
    return family in NEEDED and importlib.util.find_spec(NEEDED[family]) is None


def check_measured(made: Session, family: str) -> None:
    calibration = run_small(made)
    assert calibration.image_tokens == TOKENS[family]
    solves = family in ("qwen3_5", "qwen3_5_moe")  # a triangular system
    assert not calibration.uncounted_operators or solves


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
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
    key = small_key(made)
    usual = calibrate(made, key, SIZE)
    monkeypatch.setattr("torch.utils.flop_counter.sdpa_flop_count", refused)
    older = calibrate(made, key, SIZE)
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
    assert report_settings(made)["asked"] == {
        name: {"attention": "auto"} for name in ("got", "qwen")
    }
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
        ("pi0", "PI0ForConditionalGeneration", "generates no text"),
        ("mistral4", "Mistral4ForCausalLM", "takes no images"),
        ("evolla", "EvollaForProteinText2Text", "takes no images"),
        ("blip-2", "Blip2ForConditionalGeneration", r"has a generate\(\) of its own"),
        ("janus", "JanusForConditionalGeneration", r"has a generate\(\) of its own"),
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
    config = {"model_type": model_type, "architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserErrors, match=f"\\({architecture}\\) {reason}") as caught:
        plan(folder)
    (error,) = caught.value.errors
    assert str(error).isprintable()
    assert "Traceback" not in capfd.readouterr().err


def test_a_processor_that_fails_is_one_line(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "llava")
    path = tmp_path / "m" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5]}))
    with pytest.raises(UserErrors, match="fails on a page of 256x256 pixels") as caught:
        plan(tmp_path / "m")
    assert str(caught.value).isprintable()


def test_a_prompt_without_a_place_for_the_page_is_one_line(tmp_path: Path) -> None:
    """One's template writes the mark that its processor does not know; the other has no mark."""
    write_small_model(tmp_path / "chart", "pp_chart2table", template=False)
    write_small_model(tmp_path / "git", "trocr")
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "git", "architectures": ["GitForCausalLM"], "vocab_size": 320}
    config |= size | {"intermediate_size": 32, "vision_config": size | {"intermediate_size": 32}}
    (tmp_path / "git" / "config.json").write_text(json.dumps(config))
    processor = {"processor_class": "GitProcessor", "image_processor_type": "CLIPImageProcessor"}
    (tmp_path / "git" / "preprocessor_config.json").write_text(json.dumps(processor))
    for name in ("chart", "git"):
        with pytest.raises(UserErrors, match="has no place for the page"):
            plan(tmp_path / name, attention="auto")


def test_packages_are_named_whatever_says_that_they_are_missing(tmp_path: Path) -> None:
    """An image processor without a twin that needs no torchvision; a vision encoder of timm's."""
    if importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is installed")
    for name, file, change, package in (
        ("a", "preprocessor", {"image_processor_type": "Llama4ImageProcessor"}, "torchvision"),
        ("b", "", {"model_type": "fast_vlm", "vision_config": {"architecture": "x"}}, "timm"),
    ):
        write_small_model(tmp_path / name, "llava")
        path = tmp_path / name / f"{file}{'_' * bool(file)}config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UserErrors, match=f"needs the package {package}, ") as caught:
            plan(tmp_path / name)
        assert [error.remedy for error in caught.value.errors] == [f"pip install {package}"]


def test_what_a_library_says_is_cut(tmp_path: Path) -> None:
    """transformers lists every model type that it knows."""
    write_small_model(tmp_path / "m", "llava")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["model_type"] = "unheard"
    path.write_text(json.dumps(config))
    with pytest.raises(UserErrors, match="unheard") as caught:
        plan(tmp_path / "m")
    assert len(str(caught.value)) < 600
