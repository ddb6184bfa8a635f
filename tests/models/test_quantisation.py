"""Quantised checkpoints: what is measured is measured as it is, the rest is one line."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_calls import plan, run_small, session
from small_models import write_small_model
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText, TorchAoConfig

from mfuscope.core.errors import UserError, UserErrors
from mfuscope.core.records import Quantisation
from mfuscope.measure.session import Session
from mfuscope.models import quantisation
from mfuscope.models.quantisation import read_quantisation, storage_bytes

INT8 = "Int8WeightOnlyConfig"
FAMILY = "qwen2_5_vl"


def stated(scheme: str = INT8, **more: Any) -> dict[str, Any]:
    """The entry of a config that torchao's checkpoints have."""
    of_all = {"default": {"_type": scheme, "_version": 2, "_data": {}}}
    return {"quant_method": "torchao", "quant_type": of_all} | more


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same weights plain and packed by torchao, in folders as published."""
    from torchao.quantization import Int8WeightOnlyConfig

    plain, packed = (tmp_path_factory.mktemp("quantised") / name for name in ("plain", "packed"))
    write_small_model(plain, FAMILY)
    shutil.copytree(plain, packed)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(plain))
    model.save_pretrained(plain)
    how = TorchAoConfig(Int8WeightOnlyConfig())
    AutoModelForImageTextToText.from_pretrained(plain, quantization_config=how).save_pretrained(
        packed
    )
    return plain, packed


def linears(made: Session, within: str = "") -> list[nn.Linear]:
    """The linear layers that torchao packs: all but the LM head."""
    head = made.model.get_output_embeddings()
    modules = made.model.named_modules()
    return [
        m for name, m in modules if isinstance(m, nn.Linear) and m is not head and within in name
    ]


def saved(layers: list[nn.Linear]) -> int:
    """Bytes that packing takes off fp32: to a byte a weight, and per row a scale and a zero."""
    shapes = [(one.out_features, one.in_features) for one in layers]
    return sum(3 * rows * columns - (4 + 1) * rows for rows, columns in shapes)


@pytest.mark.slow  # with torchao, which `make test` does without
def test_packed_weights_are_measured_as_what_they_are(checkpoints: tuple[Path, Path]) -> None:
    plain, packed = (session(folder, load_format="auto") for folder in checkpoints)
    counted, of_packed = run_small(plain), run_small(packed)
    assert plain.description.quantisation is None
    made = of_packed.model
    assert made.quantisation == Quantisation(method="torchao", scheme=INT8, bits=8)
    # Parameters and arithmetic are those of the plain model, multiplied in its precision.
    assert made.dtype == "fp32"
    assert made.parameters == counted.model.parameters
    assert of_packed.prefill_total["counted"] == counted.prefill_total["counted"]
    assert [step.total["counted"] for step in of_packed.decode_steps] == [
        step.total["counted"] for step in counted.decode_steps
    ]
    assert not of_packed.uncounted_operators
    # Bytes are those of the packed tensors, in all and of what a step reads.
    layers, decoder = linears(plain), linears(plain, "language_model")
    assert len(layers) > len(decoder) > 0
    assert made.weight_bytes == counted.model.weight_bytes - saved(layers)
    step, of_plain = of_packed.decode_steps[0].weight_bytes, counted.decode_steps[0].weight_bytes
    assert step is not None
    assert of_plain is not None
    assert step == of_plain - saved(decoder)
    assert of_packed.prefill_weight_bytes == (counted.prefill_weight_bytes or 0) - saved(layers)


@pytest.mark.slow
def test_planning_knows_them_without_their_weights(checkpoints: tuple[Path, Path]) -> None:
    found = plan(checkpoints[1], load_format="auto")
    assert found.models["baseline"].quantisation is not None
    assert plan(checkpoints[0], load_format="auto").models["baseline"].quantisation is None
    with pytest.raises(UserErrors, match=r"`load_format: dummy` would make plain weights"):
        plan(checkpoints[1])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="needs the package torchao, and it is not") as caught:
        read_quantisation({"quantization_config": stated()}, "m", "auto")
    assert caught.value.remedy == "pip install torchao"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"quantization_config": stated("Int4WeightOnlyConfig")}, "torchao, Int4WeightOnlyConfig"),
        (
            {"quantization_config": stated("Int8DynamicActivationInt8WeightConfig")},
            "torchao, Int8DynamicActivationInt8WeightConfig",
        ),
        ({"quantization_config": stated(quant_type="int8_weight_only")}, "torchao"),
        ({"quantization_config": stated(quant_type={"default": {}, "lm_head": {}})}, "torchao"),
        ({"text_config": {"quantization_config": stated()}}, f"torchao, {INT8}"),
        ({"quantization_config": stated(quant_method="hqq")}, f"hqq, {INT8}"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"quant_method": "two\nlines"}}, "quantization_config"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": "odd"}, "quantization_config"),
    ],
)
def test_the_rest_is_refused_in_one_line(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_quantisation(config, "m", "auto")
    assert caught.value.problem == (
        f"model: 'm' is quantised ({said}), and of quantised weights mfuscope measures those of "
        f"torchao with {INT8}"
    )
    assert caught.value.remedy == "name the checkpoint that it was made of"


@pytest.mark.parametrize("name", ["DeepseekOCR", "DeepseekOCR2", "UnlimitedOCR"])
def test_published_layouts_are_refused(name: str) -> None:
    config = {"architectures": [f"{name}ForCausalLM"], "quantization_config": stated()}
    with pytest.raises(UserError, match=rf"is quantised \(torchao, {INT8}\), and of"):
        read_quantisation(config, "m", "auto")


def test_plain_tensors_take_their_elements() -> None:
    assert storage_bytes(torch.zeros(3, 5, dtype=torch.bfloat16)) == 3 * 5 * 2
    assert read_quantisation({"text_config": {"quantization_config": None}}, "m", "dummy") is None
