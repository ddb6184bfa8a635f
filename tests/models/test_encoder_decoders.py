"""Encoder-decoders of toy size: planned, counted and run; what their decoders begin with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from PIL import Image
from small_calls import SIZE, plan, run_small, session, small_key
from small_models import ENCODER_DECODERS, write_small_model

from mfuscope.core.errors import UserErrors
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.session import Generation
from mfuscope.models.decoder_prompt import DecoderPrompt
from mfuscope.models.inputs import PageInputs

WORDS = "Free OCR."  # nine tokens
#: Attention, and tokens of the decoder's prompt: the start token, or `prompt` too.
EXPECTED = {
    "florence2": ("sdpa", 1),
    "pix2struct": ("sdpa", 1 + len(WORDS)),
    "donut": ("eager", len(WORDS)),
    "trocr": ("eager", 1),
    "t5gemma2": ("sdpa", 1),
}
NOTES = {
    "florence2": "no chat template: its processor puts the image and `prompt` together",
    "pix2struct": "its decoder begins with `prompt`, and new tokens follow",
    "donut": "its decoder begins with `prompt`, and new tokens follow",
    "trocr": "no token of `prompt` reaches its decoder, which begins with its start token",
    "t5gemma2": "no chat template: the prompt is the mark of the image, a line break and `prompt`",
}


def page_of(folder: Path, prompt: str, attention: str = "eager") -> PageInputs:
    made = session(folder, attention, prompt=prompt)
    return made.inputs(Image.new("RGB", SIZE, "grey"), "auto")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("small")
    for family in ENCODER_DECODERS:
        write_small_model(base / family, family)
    return {family: base / family for family in ENCODER_DECODERS}


@pytest.mark.parametrize("family", EXPECTED)
def test_they_are_measured(family: str, folders: dict[str, Path]) -> None:
    attention, tokens = EXPECTED[family]
    made = plan(folders[family], attention="auto")
    assert made.variants["baseline"].attention == attention
    assert made.notes[-1].endswith(f": {NOTES[family]}")
    calibration = run_small(session(folders[family], attention))
    assert calibration.prompt_tokens == tokens
    assert calibration.image_tokens is None
    assert "the encoder reads the page" in calibration.absent["image_tokens"]
    assert "directional" not in calibration.prefill_total
    assert calibration.uncounted_operators == []


def test_the_encoder_is_counted_once_and_the_decoder_at_each_step(
    folders: dict[str, Path],
) -> None:
    """TrOCR, by hand: ViT with 17 positions of width 32, decoder of width 48 with MLPs of 64."""
    made = session(folders["trocr"], "eager")
    calibration = calibrate(made, small_key(made), SIZE)
    width, mlp, seen = 32, 64, 17
    encoder = 2 * (seen - 1) * width * 3 * 14**2  # patches
    encoder += 2 * (8 * seen * width**2 + 4 * seen**2 * width + 4 * seen * width * mlp)
    encoder += 2 * width**2  # pooler

    def decoder(context: int) -> int:
        own = 8 * 48**2 + 4 * context * 48
        cross = 4 * 48**2 + 4 * seen * 48
        return 2 * (own + cross + 4 * 48 * mlp) + 2 * 48 * 320

    cross_keys_and_values = 2 * (4 * seen * width * 48)
    assert calibration.prefill_total["counted"] == encoder + cross_keys_and_values + decoder(1)
    steps = [(step.context_tokens, step.total["counted"]) for step in calibration.decode_steps]
    assert steps == [(2, decoder(2)), (3, decoder(3))]


# --- what their decoders begin with --------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "ids"), [("<s_cord-v2>", [259]), ("", [1]), ("A", [3 + ord("A") - 33])]
)
def test_donut_begins_with_its_task_alone(
    prompt: str, ids: list[int], folders: dict[str, Path]
) -> None:
    page = page_of(folders["donut"], prompt)
    assert page.tensors["decoder_input_ids"].tolist() == [ids]
    assert page.tensors.keys() == {"pixel_values", "decoder_input_ids"}


def test_a_task_of_florence_becomes_its_question(folders: dict[str, Path]) -> None:
    page = page_of(folders["florence2"], "<OCR>")
    question = len("What is the text in the image?")
    ids = page.tensors["input_ids"][0].tolist()
    assert (ids.count(259), len(ids)) == (65, 65 + 1 + question + 1)  # image, begin, end
    assert page.tensors["decoder_input_ids"].tolist() == [[1]]


def test_the_prompt_that_is_counted_is_what_the_decoder_takes(folders: dict[str, Path]) -> None:
    made = session(folders["pix2struct"], "eager")
    page = made.inputs(Image.new("RGB", (60, 60), "grey"), "auto")
    seen: list[int] = []
    decoder: Any = made.model.decoder

    def note(_: object, __: object, given: dict[str, Any]) -> None:
        seen.append(given["input_ids"].shape[1])

    decoder.register_forward_pre_hook(note, with_kwargs=True)
    made.generate(page, Generation(3, ignore_eos=True))
    assert seen[:3] == [page.prompt_tokens, 1, 1]
    assert page.tensors["decoder_input_ids"][0, 0] == 2


def test_a_prompt_of_another_length_is_an_error(folders: dict[str, Path]) -> None:
    """Its tokens would be taken for new ones."""
    made = session(folders["trocr"], "eager")
    page = made.inputs(Image.new("RGB", (60, 60), "grey"), "auto")
    two = torch.tensor([[1, 5]])
    wrong = replace(page, tensors=page.tensors | {"decoder_input_ids": two})
    with pytest.raises(RuntimeError, match="a prompt of 1 tokens became one of 2"):
        made.generate(wrong, Generation(3, ignore_eos=True))


def test_tokens_that_a_model_forces_are_left_out(tmp_path: Path, folders: dict[str, Path]) -> None:
    """The config of its decoder names some too."""
    shutil.copytree(folders["florence2"], tmp_path / "m")
    forced = {"forced_bos_token_id": 0, "forced_eos_token_id": 1, "num_beams": 3}
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps(forced))
    made = session(tmp_path / "m")
    page = made.inputs(Image.new("RGB", (60, 60), "grey"), "auto")
    first, *_ = made.generate(page, Generation(3, ignore_eos=True))[0].tolist()
    model: Any = made.model
    assert model.generate(**page.tensors, max_new_tokens=3, **forced)[0, 1] == 0
    assert first != 0
    assert plan(tmp_path / "m").notes[0].endswith(", ".join(forced))


def test_masks_of_a_decoders_text_are_left_out() -> None:
    mask = torch.ones(1, 2)
    ids = torch.tensor([[5, 6]])
    other = DecoderPrompt(start=1, encoder_reads_text=False, own_start=False)
    placed = other.place({"pixel_values": mask, "input_ids": ids, "attention_mask": mask})
    assert placed.keys() == {"pixel_values", "decoder_input_ids"}
    assert placed["decoder_input_ids"].tolist() == [[1, 5, 6]]
    begun = torch.tensor([[1, 6]])
    patches = {"flattened_patches": mask, "attention_mask": mask}
    placed = other.place(patches | {"decoder_input_ids": begun, "decoder_attention_mask": mask})
    assert placed.keys() == {*patches, "decoder_input_ids"}
    assert placed["decoder_input_ids"].tolist() == [[1, 6]]


def test_a_decoder_without_a_start_is_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    shutil.copytree(folders["trocr"], tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    del config["decoder_start_token_id"]
    size = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config["decoder"] = {"model_type": "bert", "is_decoder": True, "add_cross_attention": True}
    config["decoder"] |= size | {"intermediate_size": 32}
    path.write_text(json.dumps(config))
    with pytest.raises(UserErrors, match="says which token its decoder begins with") as caught:
        plan(tmp_path / "m", attention="auto")
    assert "generation_config.json" in str(caught.value)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"compile": "decode"}])
def test_a_static_cache_is_refused(more: dict[str, str], folders: dict[str, Path]) -> None:
    with pytest.raises(UserErrors, match="is an encoder-decoder") as caught:
        plan(folders["florence2"], cache="static", **more)
    (error,) = caught.value.errors
    assert error.remedy == "set `cache: dynamic` and `compile: none`"


def test_a_prompt_that_is_drawn_needs_its_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: dict[str, Path]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserErrors, match="draws `prompt` above the page") as caught:
        plan(folders["pix2struct_vqa"])
    assert "Remedy: hf download ybelkada/fonts Arial.TTF" in str(caught.value)
    repository = tmp_path / "models--ybelkada--fonts"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    shutil.copy(fonts / "DejaVuSans.ttf", snapshot / "Arial.TTF")
    drawn, other = (
        page_of(folders["pix2struct_vqa"], prompt, "sdpa") for prompt in ("Free OCR.", "Read it.")
    )
    assert drawn.prompt_tokens == 1
    patches = [page.tensors["flattened_patches"] for page in (drawn, other)]
    assert patches[0].shape == patches[1].shape
    assert not torch.equal(*patches)
