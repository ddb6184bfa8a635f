"""Plans: parameters of runs, settings that change measurements, pages."""

import importlib.util
from typing import Any

import pytest
import torch
from checkpoints import MODELS, ROOT

from mfuscope.config.settings import Settings, load_schema, resolve_settings
from mfuscope.core.errors import UserErrors
from mfuscope.hardware import nvml
from mfuscope.planning import plan as planning
from mfuscope.planning.parameters import (
    calibration_parameters,
    countable,
    model_parameters,
    run_parameters,
)

CPU = torch.device("cpu")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")


def wanted(**file: Any) -> Settings:
    return resolve_settings({"model": "deepseek-ocr-nano"} | file, {}, {}, SCHEMA)


@pytest.mark.parametrize(
    "changed",
    [
        {"max_new_tokens": 5},
        {"ignore_eos": False},
        {"resolution": "small"},
        {"warmup": 2},
        {"prompt": "Read."},
        {"attention": "eager"},
        {"experts": "eager"},
        {"cache": "static"},
        {"cache": "static", "compile": "decode"},
        {"batch_size": 2},
        {"no_repeat_ngram_size": 20},
        {"profiler": {"decode_steps": 3}},
        {"profiler": {"with_stack": True}},
    ],
)
def test_what_changes_a_measurement_is_in_its_settings(changed: dict[str, Any]) -> None:
    def run_settings(**file: Any) -> dict[str, Any]:
        plan = planning.make_plan(wanted(images=str(PAGE), device="cpu", **file), MODELS)
        return run_parameters(plan, "baseline")

    assert run_settings(**changed) != run_settings()
    for same in (
        {"worker": {"keep_alive": 0, "run_timeout": 5, "start_timeout": 5}},
        {"profiler": {"keep_traces": "none"}},
    ):
        assert run_settings(**same) == run_settings()


def test_an_unknown_model_of_the_budget_is_named() -> None:
    asked = wanted(images=str(PAGE), device="cpu", flops={"models": ["nope"]})
    with pytest.raises(UserErrors, match=r"flops\.models: 'nope' is no bundled model"):
        planning.make_plan(asked, MODELS)


@pytest.mark.parametrize(
    ("gpus", "file", "where"),
    [
        (0, {"device": "cpu"}, "on the CPU"),
        (0, {"device": "auto", "dtype": "bf16"}, "on the CPU"),
        (1, {"device": "cuda", "dtype": "fp32"}, "in fp32"),
        (1, {"device": "cpu", "dtype": "fp32"}, "on the CPU"),
    ],
)
@pytest.mark.parametrize("in_a_variant", [False, True])
def test_flash_attention_has_its_place(
    gpus: int,
    file: dict[str, Any],
    where: str,
    in_a_variant: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find_spec = importlib.util.find_spec

    def with_flash(name: str, package: str | None = None) -> object:
        return object() if name == "flash_attn" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", with_flash)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")] * gpus, ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    flash: dict[str, Any] = {"attention": "flash"}
    asked = file | ({"variants": {"baseline": None, "fast": flash}} if in_a_variant else flash)
    with pytest.raises(UserErrors, match=f"on a GPU only, not {where}"):
        planning.make_plan(wanted(images=str(PAGE), **asked), MODELS)
    # Where it can run, nothing stands against it.
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    plan = planning.make_plan(
        wanted(images=str(PAGE), **asked | {"device": "cuda", "dtype": "bf16"}), MODELS
    )
    assert "flash" in {variant.attention for variant in plan.variants.values()}


@pytest.mark.parametrize(
    ("attention", "counted"), [("flash", "sdpa"), ("sdpa", "sdpa"), ("eager", "eager")]
)
def test_flops_are_counted_where_operators_can_be_seen(attention: str, counted: str) -> None:
    """Whatever computes in the runs: flash attention, compiled code, other experts."""
    usual: dict[str, Any] = {"attention": counted, "experts": "auto", "compile": "none"}
    usual["threads"] = 0
    settings = {"dtype": "bf16", "model": "m", "fingerprint": "f"}
    given: dict[str, Any] = settings | {"attention": attention, "experts": "batched_mm"}
    given |= {"compile": "all", "threads": 1}
    before = dict(given)
    assert countable(given) == settings | usual
    assert given == before


def test_a_variant_that_only_runs_otherwise_is_counted_alike() -> None:
    faster = {"cache": "static", "compile": "all", "batch_size": 8, "experts": "batched_mm"}
    asked = wanted(images=str(PAGE), device="cpu", variants={"baseline": None, "faster": faster})
    plan = planning.make_plan(asked, MODELS)
    assert calibration_parameters(plan, "faster") == calibration_parameters(plan, "baseline")
    assert model_parameters(plan, "faster") != model_parameters(plan, "baseline")
