"""DeepSeek-OCR's published config and prompt."""

import json

import pytest
import torch
from checkpoints import (
    MODELS,
    published_tensors,
    small_config,
)
from tokenizers import Tokenizer
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from mfuscope.models.published import map_published_config


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
