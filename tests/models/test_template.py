"""The text of a prompt, from the chat template that a folder has."""

import json
from pathlib import Path

import pytest
import torch
from checkpoints import MODELS
from PIL import Image
from small_models import chat_template, write_small_model

from mfuscope.core.errors import UserError
from mfuscope.models.inputs import ProcessorInputs
from mfuscope.models.processor import load_processor
from mfuscope.models.spec import resolve_model
from mfuscope.models.support import model_notes
from mfuscope.models.template import PromptText, prompt_text

IMAGE = "<|image_pad|>"
TEXT_ALONE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] + '|' }}{% endfor %}"


def in_tokenizer(folder: Path, template: str) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def made(folder: Path) -> PromptText:
    return prompt_text(load_processor(folder, "m"), "Free OCR.", "m")


def notes(folder: Path) -> list[str]:
    return model_notes(resolve_model(str(folder), "dummy", MODELS), "Free OCR.")


def test_the_processors_template_comes_first(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl")
    in_tokenizer(tmp_path / "m", chat_template("OTHER"))
    found = made(tmp_path / "m")
    assert found.source == "processor"
    assert found.text == f"USER: <|vision_start|>{IMAGE}<|vision_end|>Free OCR.ASSISTANT:"
    assert notes(tmp_path / "m") == []


def test_a_template_in_the_older_file_is_used(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl", template=False)
    template = chat_template(f"[{IMAGE}]")
    (tmp_path / "m" / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert made(tmp_path / "m").text == f"USER: [{IMAGE}]Free OCR.ASSISTANT:"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (chat_template(IMAGE), f"USER: {IMAGE}Free OCR.ASSISTANT:"),
        (TEXT_ALONE, f"[user]{IMAGE}\nFree OCR.|"),
    ],
)
def test_the_tokenizers_template_is_used(template: str, text: str, tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl", template=False)
    in_tokenizer(tmp_path / "m", template)
    found = made(tmp_path / "m")
    assert (found.text.replace("\n", ""), found.source) == (text.replace("\n", ""), "tokenizer")
    assert notes(tmp_path / "m")[0].endswith("from the chat template of the tokenizer")


def test_no_template_is_said(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl", template=False)
    assert made(tmp_path / "m") == PromptText(f"{IMAGE}\nFree OCR.", "none", begins=False)
    (note,) = notes(tmp_path / "m")
    assert "no chat template" in note


@pytest.mark.parametrize("template", ["{% if %}", "no mark of an image", "{{ raise('x') }}"])
def test_templates_that_cannot_be_filled_are_refused(template: str, tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl", template=False)
    (tmp_path / "m" / "chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match="the chat template of 'm' cannot be filled") as caught:
        made(tmp_path / "m")
    assert str(caught.value).isprintable()


def test_a_prompt_begins_once(tmp_path: Path) -> None:
    """Tokenizers that put a begin of sequence first, as Gemma's and Llama's, and templates too."""
    lengths = {}
    for begin in ("", "<s>"):
        folder = tmp_path / (begin.strip("<>") or "none")
        write_small_model(folder, "gemma3", template=False)
        template = begin + chat_template("<start_of_image>")
        (folder / "chat_template.jinja").write_text(template)
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text())
        sequence = {"Sequence": {"id": "A", "type_id": 0}}
        special = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [special, sequence],
            "pair": [special, sequence, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
        }
        path.write_text(json.dumps(content))
        spec = resolve_model(str(folder), "dummy", MODELS)
        config = type("Config", (), {"image_token_id": 261})
        maker = ProcessorInputs(spec, folder, "Free OCR.", config)
        page = maker.make(Image.new("RGB", (60, 60)), "auto", torch.device("cpu"), torch.float32)
        ids = page.tensors["input_ids"][0].tolist()
        assert ids[0] == 0
        assert ids.count(0) == 1
        lengths[begin] = len(ids)
    assert lengths[""] == lengths["<s>"]
