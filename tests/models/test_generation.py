"""Of a model's own generation_config.json only the special tokens are taken over."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import MODELS, write_published
from PIL import Image
from small_models import write_small_model

from mfuscope.config.settings import ModelSettings
from mfuscope.core.errors import UserError
from mfuscope.measure.session import Generation, Session
from mfuscope.models.generation import left_out
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model
from mfuscope.models.support import model_notes

CPU = torch.device("cpu")

#: Each of them changes what generate() does, or how long, or what it returns.
ASKED: dict[str, Any] = {
    "guidance_scale": 3.0,
    "cache_implementation": "static",
    "return_dict_in_generate": True,
    "prompt_lookup_num_tokens": 3,
    "max_time": 0.001,
    "prefill_chunk_size": 2,
    "stop_strings": ["a"],
    "do_sample": True,
    "num_beams": 4,
    "max_length": 3,
}


def write(folder: Path, content: dict[str, Any]) -> None:
    (folder / "generation_config.json").write_text(json.dumps(content))


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_tokens_alone_are_taken_over(load_format: str, tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    tokens = {"bos_token_id": 0, "eos_token_id": [1, 7], "pad_token_id": 2}
    write(tmp_path / "m", ASKED | tokens | {"transformers_version": "4.46.3"})
    spec = resolve_model(str(tmp_path / "m"), load_format, MODELS)
    own = load_model(spec, "fp32", "sdpa", CPU).model.generation_config
    assert own.to_diff_dict().keys() - {"transformers_version"} == tokens.keys()
    assert {name: getattr(own, name) for name in tokens} == tokens
    assert left_out(spec.path) == sorted(ASKED)
    (note,) = model_notes(spec, "Free OCR.")
    assert note.endswith(f"left out of its generation_config.json: {', '.join(sorted(ASKED))}")


def test_what_it_asks_for_changes_no_token(tmp_path: Path) -> None:
    made = []
    for name, asked in (("plain", {}), ("asking", ASKED)):
        folder = tmp_path / name
        write_small_model(folder, "qwen2_vl")
        write(folder, {"eos_token_id": 1} | asked)
        settings = ModelSettings(
            str(folder), "dummy", "fp32", "sdpa", "Free OCR.", "auto", "none", 1
        )
        session = Session(
            resolve_model(str(folder), "dummy", MODELS), settings, "cpu", traces=False
        )
        page = session.inputs(Image.new("RGB", (60, 60), "grey"), "auto")
        made.append(session.generate(page, Generation(5, ignore_eos=True)).tolist())
    assert made[0] == made[1]
    assert len(made[0][0]) == 5


def test_without_the_file_the_config_has_the_tokens(tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl")
    spec = resolve_model(str(tmp_path / "m"), "dummy", MODELS)
    own = load_model(spec, "fp32", "sdpa", CPU).model.generation_config
    assert (own.bos_token_id, own.eos_token_id, own.pad_token_id) == (0, 1, 2)
    assert left_out(spec.path) == []
    write(tmp_path / "m", {"do_sample": False, "use_cache": True, "top_k": None})
    assert left_out(spec.path) == []


@pytest.mark.parametrize("value", ["</s>", 1.5, True, [1, "x"], -1])
def test_what_is_no_token_is_refused(value: object, tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl")
    write(tmp_path / "m", {"eos_token_id": value})
    spec = resolve_model(str(tmp_path / "m"), "dummy", MODELS)
    with pytest.raises(UserError, match="no token's number"):
        load_model(spec, "fp32", "sdpa", CPU)
