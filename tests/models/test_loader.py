"""Building and loading models."""

import json
from pathlib import Path

import pytest
import torch
from checkpoints import (
    MODELS,
    ROOT,
    small_config,
    write_llava,
    write_published,
)

from mfuscope.core.errors import UserError
from mfuscope.models.families import Family
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model
from mfuscope.pages.decoding import decode_page

CPU = torch.device("cpu")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


@pytest.mark.parametrize("generation_config", [True, False])
def test_published_checkpoints_load(generation_config: bool, tmp_path: Path) -> None:
    tensors = write_published(tmp_path / "m", generation_config=generation_config)
    spec = resolve_model(str(tmp_path / "m"), "auto", MODELS)
    assert (spec.source, spec.weights) == ("folder", "checkpoint")
    loaded = load_model(spec, "fp32", "sdpa", CPU)  # refuses missing and unexpected keys
    state = loaded.model.state_dict()
    ours = state["model.language_model.layers.1.mlp.experts.gate_up_proj"][3]
    theirs = [
        tensors[f"model.layers.1.mlp.experts.3.{part}_proj.weight"] for part in ("gate", "up")
    ]
    assert torch.equal(ours, torch.cat(theirs).float())
    fused = tensors["model.vision_model.transformer.layers.0.self_attn.qkv_proj.weight"]
    key = "model.vision_tower.vision_encoder.encoder.layers.0.self_attn.k_proj.weight"
    assert torch.equal(state[key], fused.chunk(3)[1].float())
    made = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config).make(
        decode_page(PAGE, 150).image, "tiny", CPU, torch.float32
    )
    out = loaded.model.generate(**made.tensors, max_new_tokens=3, do_sample=False)
    assert out.shape[1] <= made.prompt_tokens + 3


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    config = small_config()
    config["language_config"]["num_hidden_layers"] = 3
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    spec = resolve_model(str(tmp_path / "m"), "auto", MODELS)
    with pytest.raises(UserError, match=r"missing keys, first model\.language_model\.layers\.2"):
        load_model(spec, "fp32", "sdpa", CPU)


def test_another_architecture_loads(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    spec = resolve_model(str(tmp_path / "llava"), "auto", MODELS)
    assert (spec.family, spec.weights) == (Family.GENERIC, "checkpoint")
    loaded = load_model(spec, "fp32", "eager", CPU)
    maker = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
    made = maker.make(decode_page(PAGE, 150).image, "auto", CPU, torch.float32)
    assert made.image_tokens == 16
    blank = maker.blank(made.resolution, CPU, torch.float32, (640, 682))
    assert {k: v.shape for k, v in blank.tensors.items()} == {
        k: v.shape for k, v in made.tensors.items()
    }
    dummy = load_model(resolve_model(str(tmp_path / "llava"), "dummy", MODELS), "fp32", "sdpa", CPU)
    assert dummy.parameters == loaded.parameters


def test_dummy_weights_are_seeded_and_ordinary() -> None:
    spec = resolve_model("deepseek-ocr-nano", "auto", MODELS)
    first, second = (load_model(spec, "fp32", "sdpa", CPU).model for _ in range(2))
    for (name, ours), theirs in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert torch.isfinite(ours).all(), name
        if ours.ndim > 1 and not name.endswith("bias"):
            assert 0.015 < float(ours.std()) < 0.025, name
    # Buffers are computed, not left empty.
    rotary = first.model.language_model.rotary_emb.inv_freq
    assert float(rotary[0]) == 1.0


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("published") / "model"
    write_published(folder)
    return str(folder)


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_models_are_for_inference(load_format: str, published: str) -> None:
    spec = resolve_model(published, load_format, MODELS)
    assert spec.weights == ("dummy" if load_format == "dummy" else "checkpoint")
    loaded = load_model(spec, "fp32", "sdpa", CPU).model
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
