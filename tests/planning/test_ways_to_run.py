"""Ways to run a model that do not go together are reported at planning: compilation, experts."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from checkpoints import MODELS, ROOT, small_config, write_llava
from stand_in_tokenizer import write_stand_in_tokenizer

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.core.errors import UserErrors
from mfuscope.hardware import nvml
from mfuscope.planning.combinations import _USUAL_EXPERTS
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


def plan(**file: Any) -> Plan:
    given = {"model": "deepseek-ocr-nano", "images": str(PAGE), "device": "cpu"} | file
    return make_plan(resolve_settings(given, {}, {}, SCHEMA), MODELS, known={})


def refusals(**file: Any) -> list[tuple[str, str]]:
    """What is wrong, and what to do about it."""
    with pytest.raises(UserErrors) as caught:
        plan(**file)
    assert all(str(error).isprintable() for error in caught.value.errors)
    return [(error.problem, error.remedy) for error in caught.value.errors]


# --- compilation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compile_", ["decode", "all"])
@pytest.mark.parametrize("in_a_variant", [False, True])
def test_compiled_code_needs_a_static_cache(compile_: str, in_a_variant: bool) -> None:
    asked: dict[str, Any] = {"compile": compile_}
    file: dict[str, Any] = {"variants": {"fast": asked}} if in_a_variant else asked
    ((problem, remedy),) = refusals(**file)
    assert problem == (
        f"compile: {compile_!r} needs a KV cache of fixed size, and `cache` is 'dynamic'"
    )
    assert remedy == "set `cache: static`, or `compile: none`"
    plan(**file, cache="static")
    plan(cache="static")


def test_what_breaks_a_graph_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec

    def with_packages(name: str, package: str | None = None) -> object:
        return object() if name in ("flash_attn", "triton") else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", with_packages)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    asked = {"device": "cuda", "cache": "static", "compile": "decode"}
    plan(**asked)
    for other in ("batched_mm", "grouped_mm"):  # which transformers replaces in decode on a GPU
        plan(**asked, experts=other)
    both = refusals(**asked, attention="flash", experts="eager")
    assert [remedy for _, remedy in both] == [
        "set `attention: sdpa`, or `compile: none`",
        "set `experts: auto`, or `compile: none`",
    ]
    assert all("makes one graph of a decode step" in problem for problem, _ in both)


def test_a_gpu_needs_triton_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec

    def without_triton(name: str, package: str | None = None) -> object:
        return None if name == "triton" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_triton)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    asked = {"cache": "static", "compile": "decode"}
    ((problem, remedy),) = refusals(**asked, device="cuda")
    assert problem == "compile: 'decode' needs the package triton on a GPU, which is not installed"
    assert remedy.startswith("install triton, or")
    plan(**asked, device="cpu")


# --- experts -------------------------------------------------------------------------------------


def test_usual_experts_are_what_transformers_offers() -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    assert set(_USUAL_EXPERTS) <= {"eager", *ALL_EXPERTS_FUNCTIONS.keys()}
    for experts in ("auto", *_USUAL_EXPERTS, *ALL_EXPERTS_FUNCTIONS.keys()):
        assert plan(experts=experts).variants["baseline"].experts == experts


def test_experts_that_transformers_lacks_are_named() -> None:
    ((problem, remedy),) = refusals(variants={"mine": {"experts": "grouped"}})
    assert problem.startswith("experts: 'grouped' is nothing that transformers 5.")
    assert "auto, batched_mm, " in remedy
    assert "grouped_mm" in remedy


def test_a_model_without_experts_has_no_way_to_compute_them(tmp_path: Path) -> None:
    published = small_config()
    published["language_config"]["first_k_dense_replace"] = 2  # of two layers
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "config.json").write_text(json.dumps(published))
    write_stand_in_tokenizer(tmp_path / "dense", 128815)
    dense = {"model": str(tmp_path / "dense"), "load_format": "dummy"}
    plan(**dense)
    ((problem, remedy),) = refusals(**dense, experts="eager")
    assert "mixture-of-experts layers, which" in problem
    assert problem.endswith("dense' does not have")
    assert remedy == "set `experts: auto`"


def test_of_other_architectures_planning_does_not_know_it(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    plan(model=str(tmp_path / "llava"), experts="eager")
