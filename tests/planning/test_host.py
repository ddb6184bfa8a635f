"""What the host that measures must have: a compiler, and memory for a batch."""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from checkpoints import MODELS, ROOT, write_llava

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.core.errors import UserErrors
from mfuscope.flops.architecture import kv_bytes
from mfuscope.hardware import nvml, threads
from mfuscope.hardware.devices import planned_memory_bytes
from mfuscope.planning import host
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
COMPILED = {"cache": "static", "compile": "decode"}


def plan(**file: Any) -> Plan:
    given = {"model": "deepseek-ocr-nano", "images": str(PAGE), "device": "cpu"} | file
    return make_plan(resolve_settings(given, {}, {}, SCHEMA), MODELS, known={})


def refusals(made: Plan) -> list[tuple[str, str]]:
    """What is wrong, and what to do about it."""
    with pytest.raises(UserErrors) as caught:
        made.check_device()
    assert all(str(error).isprintable() for error in caught.value.errors)
    return [(error.problem, error.remedy) for error in caught.value.errors]


def with_gpu(monkeypatch: pytest.MonkeyPatch, memory_bytes: int | None = None) -> None:
    find_spec = importlib.util.find_spec

    def with_triton(name: str, package: str | None = None) -> object:
        return object() if name == "triton" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", with_triton)
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([nvml.Gpu("GPU-1", "NVIDIA L4")], ""))
    monkeypatch.setattr(nvml, "memory_bytes", lambda uuid: memory_bytes)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")


def with_compilers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in names else None)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)


# --- compilers -----------------------------------------------------------------------------------


def test_the_cpu_needs_a_cpp_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    with_compilers(monkeypatch, "gcc", "clang++")  # torch looks for g++ alone, or for CXX
    ((problem, remedy),) = refusals(plan(variants={"fast": COMPILED, "other": COMPILED}))
    assert problem == "compile: 'decode' calls a C++ compiler: there is no g++"
    assert remedy == ("install g++, name another one in the variable CXX, or set `compile: none`")
    plan(cache="static").check_device()
    monkeypatch.setenv("CXX", "clang++")
    plan(**COMPILED).check_device()
    monkeypatch.setenv("CXX", "nothing")
    assert "there is no 'nothing' (CXX)" in refusals(plan(**COMPILED))[0][0]


@pytest.mark.parametrize("there", ["gcc", "clang"])
def test_a_gpu_needs_a_c_compiler(there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch)
    with_compilers(monkeypatch, "g++")
    ((problem, remedy),) = refusals(plan(**COMPILED, device="cuda"))
    assert problem == "compile: 'decode' calls a C compiler: there is no gcc or clang"
    assert remedy.startswith("install gcc, name another one in the variable CC, or")
    with_compilers(monkeypatch, there)
    plan(**COMPILED, device="cuda:0").check_device()


def test_a_submitting_hosts_compilers_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs may run elsewhere: only `check_device` looks, which is for this host."""
    with_compilers(monkeypatch)
    assert plan(**COMPILED).variants["baseline"].compile == "decode"


# --- memory --------------------------------------------------------------------------------------


def least_bytes(made: Plan, value: int) -> tuple[int, int]:
    """Of the language model, and of one copy of the page at 512: 74 prompt tokens, 64 new."""
    language = made.models["baseline"].language
    assert language is not None
    return language.parameters * value, kv_bytes(language, 74 + 64, 74, value)


def test_a_batch_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, copy = least_bytes(plan(), 4)
    assert copy == 2 * (74 + 64) * 4 * 256 * 4
    monkeypatch.setattr(host, "planned_memory_bytes", lambda device: weights + 100 * copy)
    plan(batch_size=100).check_device()
    ((problem, remedy),) = refusals(plan(variants={"a": None, "b": {"batch_size": 1000}}))
    assert problem == (
        "variant b: batch_size: 1000 copies of a page at 512 do not fit: their KV cache takes "
        "1.13 GB and the language model 0.0287 GB, and the host has 0.142 GB"
    )
    assert remedy.startswith("set `batch_size` to 100 at most, or a smaller `max_new_tokens`")
    plan(batch_size=200, dtype="bf16").check_device()


def test_a_model_beyond_the_memory_fits_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "planned_memory_bytes", lambda device: 1_000_000)
    ((_, remedy),) = refusals(plan(batch_size=2))
    assert remedy.startswith("set a smaller `max_new_tokens`")
    plan(batch_size=1).check_device()  # the model itself is checked before it is built


def test_a_gpu_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpu(monkeypatch, memory_bytes=30_000_000)
    ((problem, _),) = refusals(plan(batch_size=100, device="cuda"))
    assert problem.endswith("and the GPU has 0.03 GB")
    assert planned_memory_bytes("cuda:0") == 30_000_000
    assert planned_memory_bytes("cuda:7") is None
    with_gpu(monkeypatch, memory_bytes=None)  # NVML does not tell
    plan(batch_size=10_000, device="cuda").check_device()


def test_memory_is_this_hosts() -> None:
    assert (planned_memory_bytes("cpu") or 0) > 1e8
    assert nvml.memory_bytes("GPU-none") is None


def test_other_architectures_are_left_to_their_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planning knows neither their sizes nor how long their prompt is."""
    write_llava(tmp_path / "llava")
    monkeypatch.setattr(host, "planned_memory_bytes", lambda device: 1)
    plan(model=str(tmp_path / "llava"), batch_size=100).check_device()


# --- threads and packages ------------------------------------------------------------------------


def test_more_threads_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "measuring_threads", lambda: 4)
    plan(threads=4).check_device()
    plan(threads=0).check_device()
    ((problem, remedy),) = refusals(plan(threads=5))
    assert problem == "threads: 5 are asked for, and 4 may be used here"
    assert remedy == "set `threads` to 4 at most, or to 0 for all of them"


def test_experts_of_another_package_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    plan(experts="batched_mm").check_device()
    ((problem, _),) = refusals(plan(experts="sonicmoe"))
    assert problem == "experts: 'sonicmoe' needs the package kernels, which is not installed"


def test_a_finding_names_its_variants_unless_it_is_of_all() -> None:
    wrong, fine = {"compile": "decode"}, None
    for variants, beginning in (
        ({"a": wrong, "b": wrong}, "compile: "),
        ({"a": fine, "b": wrong, "c": wrong}, "variants b, c: compile: "),
        ({"a": fine, "b": wrong}, "variant b: compile: "),
    ):
        with pytest.raises(UserErrors) as caught:
            plan(variants=variants)
        (error,) = caught.value.errors
        assert error.problem.startswith(beginning)
