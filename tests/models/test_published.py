"""DeepSeek-OCR's published config and prompt."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import (
    MODELS,
    published_tensors,
    small_config,
    small_ocr_2_config,
    small_unlimited_config,
    write_published,
    write_published_ocr_2,
)
from PIL import Image
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    DeepseekOcr2ForConditionalGeneration,
    UnlimitedOcrConfig,
    UnlimitedOcrForConditionalGeneration,
)

from mfuscope.models.families import Family
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.published import map_published_config
from mfuscope.models.spec import resolve_model

CPU = torch.device("cpu")


def test_the_published_prompt_has_its_published_length() -> None:
    tokenizer = Tokenizer.from_file(str(MODELS / "deepseek-ocr" / "tokenizer.json"))
    assert len(tokenizer.encode("\nFree OCR.").ids) == 4
    assert tokenizer.token_to_id("<image>") == 128815
    assert tokenizer.decode(tokenizer.encode("Grüße, 日本").ids) == "Grüße, 日本"


def test_full_size_has_the_published_parameters() -> None:
    published = json.loads((MODELS / "deepseek-ocr" / "config.json").read_text())
    config = UnlimitedOcrConfig(**map_published_config(published))
    with torch.device("meta"):
        model = UnlimitedOcrForConditionalGeneration._from_config(config)
    # CLIP's own patch embedding is published but never runs: SAM's features take its place.
    unused = 1024 * 3 * 14 * 14
    assert sum(p.numel() for p in model.parameters()) == 3_336_106_240 - unused
    assert len(published_tensors()) == 2710
    assert set(config.text_config.layer_types) == {"full_attention"}
    assert config.text_config.mlp_layer_types == ["dense"] + ["sparse"] * 11


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("language_config", "use_mla"), True, "use_mla"),
        (("projector_config", "projector_type"), "mlp", "projector_type"),
        (("projector_config", "input_dim"), 5, "input_dim"),
        (("language_config", "moe_layer_freq"), 2, "moe_layer_freq"),
    ],
)
def test_other_published_layouts_are_refused(
    path: tuple[str, str], value: object, message: str
) -> None:
    config = small_config()
    config[path[0]][path[1]] = value
    with pytest.raises(ValueError, match=message):
        map_published_config(config)


@pytest.mark.parametrize(
    ("given", "scaling", "theta", "epsilon"),
    [
        ({}, 1.0, 10000.0, 1e-6),
        (
            {"routed_scaling_factor": 2.5, "rope_theta": 50000, "rms_norm_eps": 1e-5},
            2.5,
            50000.0,
            1e-5,
        ),
    ],
)
def test_the_config_keeps_what_it_is_given(
    given: dict[str, float], scaling: float, theta: float, epsilon: float
) -> None:
    config = small_config()
    for name in ("routed_scaling_factor", "rope_theta", "rms_norm_eps"):
        config["language_config"].pop(name, None)
    config["language_config"].update(given)
    text = UnlimitedOcrConfig(**map_published_config(config)).text_config
    assert text.routed_scaling_factor == scaling
    assert text.rope_parameters["rope_theta"] == theta
    assert text.rms_norm_eps == epsilon


# --- Unlimited-OCR and DeepSeek-OCR-2 ------------------------------------------------------------


def test_the_published_second_version_is_the_bundled_one() -> None:
    """Full size, as published: 24 layers of 14 heads over SAM's features of 896 channels."""
    published = json.loads((MODELS / "deepseek-ocr" / "config.json").read_text())
    published["architectures"] = ["DeepseekOCR2ForCausalLM"]
    published["projector_config"]["input_dim"] = 896
    published["vision_config"]["width"]["qwen2-0-5b"] = {"dim": 896}
    with torch.device("meta"):
        mapped, bundled = (
            DeepseekOcr2ForConditionalGeneration._from_config(config)
            for config in (
                AutoConfig.for_model(**map_published_config(published)),
                AutoConfig.from_pretrained(MODELS / "deepseek-ocr-2"),
            )
        )
    ours, theirs = (
        {name: tuple(one.shape) for name, one in model.named_parameters()}
        for model in (mapped, bundled)
    )
    assert ours == theirs


def run(folder: Path) -> tuple[Any, Any, int]:
    """Spec, model and new tokens of a published folder."""
    spec = resolve_model(str(folder), "auto", MODELS)
    loaded = load_model(spec, "fp32", "sdpa", CPU)  # refuses missing and unexpected keys
    maker = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
    page = maker.make(Image.new("RGB", (90, 120), "grey"), "tiny", CPU, torch.float32)
    out = loaded.model.generate(**page.tensors, max_new_tokens=6, do_sample=False)
    return spec, loaded.model, out.shape[1] - page.prompt_tokens


def test_unlimited_ocr_runs_as_published(tmp_path: Path) -> None:
    write_published(tmp_path / "m", config=small_unlimited_config())
    spec, model, tokens = run(tmp_path / "m")
    assert (spec.family, spec.architecture) == (Family.UNLIMITED_OCR, "UnlimitedOCRForCausalLM")
    assert (spec.positions, spec.tiling.max_tiles) == (32768, 32)
    assert (spec.language.window, spec.language.sliding_layers) == (4, 2)
    text = model.config.text_config
    assert set(text.layer_types) == {"reference_sliding_attention"}
    assert text.sliding_window == 4
    assert 1 <= tokens <= 6


def test_deepseek_ocr_2_runs_as_published(tmp_path: Path) -> None:
    tensors = write_published_ocr_2(tmp_path / "m")
    with safe_open(tmp_path / "m" / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {
        "model.qwen2_model.query_768.weight",
        "model.sam_model.blocks.0.attn.qkv.weight",
        "model.view_seperator",
        "model.layers.1.mlp.experts.3.up_proj.weight",
    } <= names
    spec, model, tokens = run(tmp_path / "m")
    assert (spec.family, spec.architecture) == (Family.DEEPSEEK_OCR_2, "DeepseekOCR2ForCausalLM")
    assert (spec.positions, spec.tiling.tile_size) == (8192, 768)
    assert spec.language.layers == 2
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    assert 1 <= tokens <= 6


@pytest.mark.parametrize(
    ("config", "edit", "message"),
    [
        (small_unlimited_config, {"language_config": {}}, "topk_method is missing"),
        (
            small_ocr_2_config,
            {"projector_config": {"projector_type": "linear", "input_dim": 64}},
            "second",
        ),
        (small_ocr_2_config, {"vision_config": {"width": {}}}, "sam_vit_b is missing"),
    ],
)
def test_published_layouts_that_do_not_fit_are_refused(
    config: Any, edit: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        map_published_config(config() | edit)


def test_a_window_has_a_size() -> None:
    config = small_unlimited_config()
    del config["sliding_window"], config["language_config"]["sliding_window_size"]
    with pytest.raises(ValueError, match="sliding_window is missing"):
        map_published_config(config)
    with pytest.raises(ValueError, match="sliding_window 0 is no whole number above 0"):
        map_published_config(config | {"sliding_window": 0})
