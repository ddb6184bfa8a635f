"""Combinations of valid settings that do not work together are reported at planning."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch
from checkpoints import IMAGE_TOKEN, MODELS, ROOT, small_config, write_llava, write_published
from configs import small_ocr_2, small_unlimited
from PIL import Image
from stand_in_tokenizer import write_stand_in_tokenizer

from mfuscope.config.settings import ModelSettings, ProfilerSettings, load_schema, resolve_settings
from mfuscope.core.errors import UserError, UserErrors
from mfuscope.core.runs import RunKey
from mfuscope.hardware import nvml
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Session
from mfuscope.models.context import check_context_limit
from mfuscope.models.geometry import MODES
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.prompt import instruction_tokens, most_instruction_tokens
from mfuscope.models.spec import resolve_model
from mfuscope.planning.combinations import check_flops
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
CPU = torch.device("cpu")


def plan(**file: Any) -> Plan:
    given = {"model": "deepseek-ocr-nano", "images": str(PAGE), "device": "cpu"} | file
    return make_plan(resolve_settings(given, {}, {}, SCHEMA), MODELS, known={})


def only_error(caught: pytest.ExceptionInfo[UserErrors]) -> tuple[str, str]:
    """The one thing that is wrong, and what to do about it."""
    (error,) = caught.value.errors
    assert str(error).isprintable()
    return error.problem, error.remedy


# --- precision -----------------------------------------------------------------------------------


def with_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None) -> None:
    gpu = nvml.Gpu("GPU-1", "Tesla T4", capability)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([gpu], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")


@pytest.mark.parametrize("in_a_variant", [False, True])
def test_bf16_needs_a_card_that_has_it(in_a_variant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch, (7, 5))
    bf16 = {"dtype": "bfloat16"}
    asked: dict[str, Any] = {"variants": {"short": bf16}} if in_a_variant else bf16
    with pytest.raises(
        UserErrors, match=r"Tesla T4 lacks .its compute capability is 7\.5"
    ) as caught:
        plan(device="cuda", **asked).check_device()
    assert only_error(caught)[1] == "set `dtype: fp16` (or auto)"
    plan(device="cuda", dtype="fp16").check_device()
    plan(device="cuda", dtype="auto").check_device()
    plan(device="cpu", dtype="bf16").check_device()


def test_a_submitting_hosts_gpu_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs may run elsewhere; there they refuse (`test_precision`)."""
    with_gpu(monkeypatch, (7, 5))
    assert plan(device="cuda", dtype="bf16").device == "cuda"


@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (12, 0), None])
def test_bf16_is_not_refused_where_it_may_be(
    capability: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu(monkeypatch, capability)
    plan(device="cuda", dtype="bf16").check_device()


def test_the_compute_capability_is_nvmls(monkeypatch: pytest.MonkeyPatch) -> None:
    def capability(handle: int) -> list[int]:
        if handle:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [7, 5]

    monkeypatch.setattr(nvml, "_initialise", lambda: "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: f"GPU-{handle}")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: "Tesla T4")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCudaComputeCapability", capability)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [gpu.compute_capability for gpu in nvml.visible_gpus()[0]] == [(7, 5), None]


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_short_precisions_are_right_on_the_cpu(dtype: str) -> None:
    """Slow, but no other result: so nothing stands against measuring them."""
    spec = resolve_model("deepseek-ocr-nano", "auto", MODELS)
    logits = {}
    for one in ("fp32", dtype):
        loaded = load_model(spec, one, "sdpa", CPU)
        made = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
        inputs = made.make(Image.open(PAGE).convert("RGB"), "tiny", CPU, loaded.model.dtype)
        with torch.inference_mode():
            logits[one] = loaded.model(**inputs.tensors).logits[0, -1].float()
    spread = float(logits["fp32"].std())
    assert float((logits["fp32"] - logits[dtype]).abs().max()) < 0.1 * spread


# --- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("installed", [False, True])
def test_flash_attention_needs_its_package(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def found(name: str, package: str | None = None) -> object:
        if name == "flash_attn":
            return object() if installed else None
        return find_spec(name, package)

    with_gpu(monkeypatch, (8, 9))
    monkeypatch.setattr(importlib.util, "find_spec", found)
    asked = {"device": "cuda", "dtype": "bf16", "attention": "flash"}
    if installed:
        plan(**asked)
        return
    with pytest.raises(UserErrors, match="needs the package flash-attn, which is not") as caught:
        plan(**asked)
    assert only_error(caught)[1].startswith("install flash-attn, or set `attention: sdpa`")


# --- resolutions ---------------------------------------------------------------------------------


def write_family(folder: Path, family: str) -> None:
    """A folder of toy size without weights."""
    if family == "deepseek-ocr":
        published = small_config()
        sam = published["vision_config"]["width"]["sam_vit_b"]
        sam.update(layers=2, heads=1, global_attn_indexes=[1])
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(published))
        write_stand_in_tokenizer(folder, IMAGE_TOKEN)
        return
    config = small_ocr_2() if family == "deepseek-ocr-2" else small_unlimited()
    config.vision_config.sam_config.num_attention_heads = 1
    config.text_config.vocab_size, config.image_token_id = 1024, 1023
    config.text_config.bos_token_id, config.text_config.eos_token_id = 0, 1
    config.architectures = [f"{type(config).__name__.removesuffix('Config')}ForX"]
    config.save_pretrained(folder)
    write_stand_in_tokenizer(folder, 1023)


@pytest.mark.parametrize("family", ["deepseek-ocr", "deepseek-ocr-2", "unlimited-ocr"])
def test_every_family_has_every_mode(family: str, tmp_path: Path) -> None:
    """Its views go through the model, and give as many features as the prompt has places for."""
    write_family(tmp_path / "model", family)
    spec = resolve_model(str(tmp_path / "model"), "dummy", MODELS)
    assert spec.family == family
    loaded = load_model(spec, "fp32", "sdpa", CPU)
    made = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
    page = Image.new("RGB", (900, 400), "white")
    for mode in MODES:
        inputs = made.make(page, mode, CPU, torch.float32)
        assert ("+" in inputs.resolution) == (mode == "gundam")
        with torch.inference_mode():  # fails where features and places differ in number
            logits = loaded.model(**inputs.tensors, logits_to_keep=1).logits
        assert torch.isfinite(logits).all()


def test_modes_of_other_architectures_are_refused(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    llava = str(tmp_path / "llava")
    plan(model=llava)
    with pytest.raises(UserErrors, match="'gundam' is a mode of the DeepSeek-OCR family") as caught:
        plan(model=llava, resolution="gundam")
    assert "resolution: auto" in only_error(caught)[1]


# --- context limit -------------------------------------------------------------------------------

# 512: 8 rows of 8 and a line end, the separator, the begin of sequence; four for the instruction.
TINY_PROMPT = 8 * 9 + 1 + 1 + 4
POSITIONS = 8192


def test_as_many_tokens_as_positions_fit() -> None:
    most = POSITIONS - TINY_PROMPT
    plan(max_new_tokens=most)
    with pytest.raises(UserErrors) as caught:
        plan(max_new_tokens=most + 1)
    assert only_error(caught)[0] == (
        f"max_new_tokens: {most + 1} after a prompt of {TINY_PROMPT} (a page at 512 and the "
        f"instruction) are {POSITIONS + 1} tokens, and 'deepseek-ocr-nano' has {POSITIONS} "
        "positions"
    )
    assert only_error(caught)[1].startswith(f"set `max_new_tokens` to {most} at most, or ")


def test_every_variant_and_resolution_is_looked_at() -> None:
    fits = {"max_new_tokens": 7800}
    plan(**fits)
    with pytest.raises(UserErrors, match=r"a page at 1024\+640x\dx\d"):
        plan(**fits, variants={"tiny": None, "large": {"resolution": "gundam"}})


def test_a_prompt_may_be_too_long_by_itself() -> None:
    plan(prompt="abc " * 300)
    with pytest.raises(UserErrors, match=f"has {POSITIONS} positions") as caught:
        plan(prompt="x y z " * 3000)
    assert only_error(caught)[1].startswith("set a smaller `resolution` or a shorter `prompt`")


def test_the_bound_on_instructions_holds() -> None:
    folder = MODELS / "deepseek-ocr"
    for prompt in ("", "Free OCR.", "日本語の文書", "\x00\ufdfa\u0344 é 🙂", "x" * 500):
        assert len(instruction_tokens(folder, prompt)) <= most_instruction_tokens(prompt)


def test_models_that_tell_no_positions_have_no_limit() -> None:
    check_context_limit(10**6, 10**6, None, "m", "512")
    check_context_limit(10, 6, 16, "m", "512")
    with pytest.raises(UserError, match="6 after a prompt of 11"):
        check_context_limit(11, 6, 16, "m", "512")


def test_other_architectures_are_checked_before_their_run(tmp_path: Path) -> None:
    """Only their processor knows how long the prompt is."""
    write_llava(tmp_path / "llava")  # 512 positions
    spec = resolve_model(str(tmp_path / "llava"), "auto", MODELS)
    assert spec.positions is None
    asked = ModelSettings(spec.name, "auto", "fp32", "sdpa", "Read.", "auto", "none", 0)
    session = Session(spec, asked, "cpu")
    profiler = ProfilerSettings(None, False, False, False)
    with pytest.raises(UserError, match=r"are \d+ tokens, and '.*llava' has 512 positions"):
        measure(
            session,
            PAGE,
            tmp_path / "trace.json",
            RunSettings(
                resolution="auto",
                max_new_tokens=500,
                ignore_eos=True,
                cache="dynamic",
                batch_size=1,
                no_repeat_ngram_size=0,
                warmup=0,
                profiler=profiler,
            ),
            key=RunKey("baseline", "a", 0),
            max_megapixels=150,
            call="20260102T030400Z-0a1b2c",
        )
    assert session.runs == 0


def test_positions_come_from_the_config(tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["language_config"]["max_position_embeddings"] = 100
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    assert resolve_model(str(tmp_path / "m"), "auto", MODELS).positions == 100
    with pytest.raises(UserErrors, match="has 100 positions"):
        plan(model=str(tmp_path / "m"), resolution="tiny", max_new_tokens=64)


def test_the_image_is_not_asked_for_again() -> None:
    with pytest.raises(UserErrors, match="prompt: it holds '<image>'") as caught:
        plan(prompt="<image>\nFree OCR.")
    assert "remove '<image>' from" in only_error(caught)[1]


def test_a_budget_of_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    with pytest.raises(UserErrors, match="LlavaForConditionalGeneration") as refused:
        check_flops(["deepseek-ocr-nano", str(tmp_path / "llava")], MODELS)
    (error,) = refused.value.errors
    assert "has no architecture that can be counted part by part" in str(error)
