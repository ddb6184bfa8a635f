"""The language decoder, as planning reads it from a config.json."""

import json
from typing import Any

import pytest
from checkpoints import MODELS
from configs import ocr_2, published, small_unlimited

from mfuscope.flops.dims import read_dims
from mfuscope.flops.meta import build_on_meta
from mfuscope.models.families import Family
from mfuscope.models.language import planned_language
from mfuscope.models.spec import resolve_model

NAMES = ["deepseek-ocr", "deepseek-ocr-nano", "deepseek-ocr-2"]


def config_of(name: str) -> Any:
    return ocr_2() if name == "deepseek-ocr-2" else published(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_transformers_makes_of_the_config(name: str) -> None:
    dims = read_dims(config_of(name))
    assert dims is not None
    assert resolve_model(name, "auto", MODELS).language == dims.language


@pytest.mark.parametrize("name", NAMES)
def test_its_parameters_are_a_bound(name: str) -> None:
    """What is left out are norms, and the head: a matrix as large as the embedding."""
    import transformers

    config = config_of(name)
    classes = {
        "unlimited_ocr": transformers.UnlimitedOcrForConditionalGeneration,
        "deepseek_ocr2": transformers.DeepseekOcr2ForConditionalGeneration,
    }
    model = build_on_meta(classes[config.model_type], config)
    decoder = sum(p.numel() for p in model.model.language_model.parameters())
    language = resolve_model(name, "auto", MODELS).language
    assert language is not None
    assert 0.999 * decoder < language.parameters <= decoder


def test_sliding_windows_are_read() -> None:
    config = small_unlimited()
    found = planned_language(config.to_dict(), Family.UNLIMITED_OCR)
    dims = read_dims(config)
    assert dims is not None
    assert found == dims.language
    assert found is not None
    assert (found.window, found.sliding_layers) == (4, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"mlp_layer_types": None},
        {"hidden_size": None},
        {"n_shared_experts": "2"},
        {"num_experts_per_tok": 1.5},
    ],
)
def test_what_cannot_be_read_is_not_known(changes: dict[str, Any]) -> None:
    config = json.loads((MODELS / "deepseek-ocr-2" / "config.json").read_text())
    assert planned_language(config, Family.DEEPSEEK_OCR_2) is not None
    text = {"text_config": config["text_config"] | changes}
    assert planned_language(config | text, Family.DEEPSEEK_OCR_2) is None


def test_other_families_are_not_known() -> None:
    config = json.loads((MODELS / "deepseek-ocr" / "config.json").read_text())
    assert planned_language(config, Family.DEEPSEEK_OCR) is not None
    assert planned_language(config, Family.GENERIC) is None
