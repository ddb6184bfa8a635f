"""A device's memory: what is free, models that do not fit, and allocations that fail."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from checkpoints import MODELS, small_config, write_published

from mfuscope.core.errors import InsufficientMemoryError, OutOfMemoryError
from mfuscope.hardware.memory import (
    Memory,
    check_fits,
    control_groups,
    device_memory,
    is_out_of_memory,
    report_out_of_memory,
)
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def write_large(folder: Path) -> None:
    """A description of a model of 100 TB, as a folder without weights."""
    write_published(folder)
    config = small_config()
    config["language_config"].update(num_hidden_layers=60, n_routed_experts=100_000)
    config["language_config"].update(moe_intermediate_size=20_000)
    (folder / "config.json").write_text(json.dumps(config))


def nobody_allocates(*_: object, **__: object) -> NoReturn:
    raise AssertionError("weights are made")


def test_what_is_free_on_the_host() -> None:
    memory = device_memory(CPU)
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal"))
    assert 0 < memory.free < memory.total <= total * 1024


@pytest.mark.faults
def test_the_limit_of_the_address_space_counts() -> None:
    """As batch systems set it (``ulimit -v``)."""
    code = f"""
import resource
from pathlib import Path
import torch
from mfuscope.core.errors import InsufficientMemoryError
from mfuscope.models.loader import load_model
from mfuscope.models.spec import resolve_model

spec = resolve_model("deepseek-ocr-nano", "auto", Path({str(MODELS)!r}))
how = ("fp32", "sdpa", torch.device("cpu"))
load_model(spec, *how)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 40_000_000, -1))
try:
    load_model(spec, *how)
except InsufficientMemoryError as error:
    print(error)
"""
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    found = re.search(
        r"need 59 MB in fp32, and (\d+) MB of the host's [\d.]+ [GM]B are free", printed
    )
    assert found is not None, printed
    assert 0 < int(found[1]) <= 40


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/job/step\n",  # version 2: the limit is the job's, not the step's
            {
                "job/memory.max": "1000",
                "job/memory.current": "700",
                "job/memory.stat": "anon 400\nactive_file 100\ninactive_file 200\n",
                "job/step/memory.max": "max",
                "job/step/memory.current": "600",
                "job/step/memory.stat": "anon 400\n",
            },
            [Memory(600, 1000)],
        ),
        (
            # version 1, in a container that sees its own alone
            "5:cpu,cpuacct:/\n4:hugetlb,memory:/docker/4f\n",
            {
                "memory/memory.limit_in_bytes": "500",
                "memory/memory.usage_in_bytes": "600",
                "memory/memory.stat": "active_file 50\ntotal_active_file 50\n",
            },
            [Memory(0, 500)],
        ),
        ("0::/\n", {}, []),
    ],
)
def test_the_limits_of_control_groups_count(
    membership: str, files: dict[str, str], expected: list[Memory], tmp_path: Path
) -> None:
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "own").write_text(membership)
    assert control_groups(tmp_path / "cgroup", tmp_path / "own") == expected
    assert control_groups(tmp_path / "cgroup", tmp_path / "nowhere") == []


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
def test_a_model_that_is_larger_than_the_memory_is_refused_beforehand(
    load_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(tmp_path / "large")
    spec = resolve_model(str(tmp_path / "large"), load_format, MODELS)
    for name in ("fill_with_dummy_weights", "_load_checkpoint"):
        monkeypatch.setattr(f"mfuscope.models.loader.{name}", nobody_allocates)
    with pytest.raises(
        InsufficientMemoryError, match=r"large' does not fit: .* 90627\.4 GB"
    ) as caught:
        load_model(spec, "fp32", "sdpa", CPU)
    assert caught.value.remedy == "set a shorter `dtype` or a smaller `model`"


def test_a_gpu_that_is_too_small_or_taken_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (3_200_000_000, 85 * 10**9))
    monkeypatch.setattr("mfuscope.models.loader.fill_with_dummy_weights", nobody_allocates)
    with pytest.raises(InsufficientMemoryError) as caught:
        load_model(resolve_model("deepseek-ocr", "auto", MODELS), "bf16", "sdpa", GPU)
    assert str(caught.value) == (
        "model: 'deepseek-ocr' does not fit: its weights alone need 6.7 GB in bf16, and 3.2 GB of "
        "the GPU's 85.0 GB are free. Remedy: end what else holds the GPU's memory (nvidia-smi "
        "shows it), or set a shorter `dtype` or a smaller `model`."
    )
    check_fits("deepseek-ocr", 3_200_000_000, "bf16", GPU)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_errors_that_say_that_memory_ran_out(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), report_out_of_memory("a page", 1, CPU):
        raise RuntimeError("shapes do not match")


def test_a_real_allocation_that_fails_is_reported() -> None:
    with (
        pytest.raises(OutOfMemoryError, match=r"the host's memory .* a page: weights 5 MB, peak"),
        report_out_of_memory("a page", 5_000_000, CPU),
    ):
        torch.empty(1 << 50, dtype=torch.uint8)


def test_a_gpu_whose_memory_runs_out_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (200_000_000, 85 * 10**9))
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 12_100_000_000)
    with pytest.raises(OutOfMemoryError) as caught, report_out_of_memory("a page", 67 * 10**8, GPU):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert caught.value.problem == (
        "the GPU's memory ran out in a page: weights 6.7 GB, peak so far 12.1 GB, "
        "200 MB of the GPU's 85.0 GB are free"
    )
    with pytest.raises(OutOfMemoryError, match="the host's"), report_out_of_memory("x", 1, GPU):
        torch.empty(1 << 50, dtype=torch.uint8)  # beside a GPU, it may be the host's


def test_a_gpu_that_is_full_to_begin_with_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no room for a context, without which it does not report its free memory."""

    def full(*_: object) -> NoReturn:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr("torch.cuda.mem_get_info", full)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda device: 0)
    with (
        pytest.raises(OutOfMemoryError, match=r"the device: no weights yet, peak so far 0 MB\. "),
        report_out_of_memory("preparing the device", None, GPU),
    ):
        full()


def test_memory_that_runs_out_in_loading_is_no_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published(tmp_path / "model")
    spec = resolve_model(str(tmp_path / "model"), "auto", MODELS)

    def load(*_: object, **__: object) -> NoReturn:
        torch.empty(1 << 50, dtype=torch.uint8)
        raise AssertionError

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", load)
    with pytest.raises(OutOfMemoryError, match="the host's memory ran out in loading '"):
        load_model(spec, "fp32", "sdpa", CPU)
