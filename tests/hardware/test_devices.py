"""The planned device, visible GPUs, precision."""

import pynvml
import pytest
import torch
from builders import gpu

from mfuscope.core.errors import UserError
from mfuscope.core.records import Conditions
from mfuscope.hardware import devices, nvml
from mfuscope.hardware.devices import (
    check_device_visible,
    describe_planned_device,
    pick_precision,
    plan_device,
)

CPU = torch.device("cpu")
GPUS = [nvml.Gpu(f"GPU-{index}{index}", "NVIDIA L4") for index in range(4)]


def test_precision() -> None:
    assert pick_precision("auto", gpu())[0] == "bf16"
    assert pick_precision("auto", gpu(compute_capability="7.5"))[0] == "fp16"
    assert pick_precision("fp32", gpu()) == ("fp32", "the setting dtype")
    assert pick_precision("bf16", gpu()) == ("bf16", "the setting dtype")
    # A job's own: where it was submitted, its GPU was not known.
    with pytest.raises(UserError, match=r"dtype: 'bf16' needs .* the Tesla T4 lacks .*7\.5"):
        pick_precision("bf16", gpu(name="Tesla T4", compute_capability="7.5"))


def test_the_planned_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (GPUS[:2], ""))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    assert [plan_device(s) for s in ("auto", "cpu", "cuda", "cuda:1")] == [
        "cuda",
        "cpu",
        "cuda",
        "cuda:1",
    ]
    with pytest.raises(UserError, match="'cuda:2' is not there, 2 CUDA GPUs are visible"):
        plan_device("cuda:2")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0+cpu")
    with pytest.raises(UserError, match=r"torch 2\.13\.0\+cpu is a build for CPUs"):
        plan_device("auto")
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([], "NVML: driver gone"))
    assert plan_device("auto") == "cpu"
    assert describe_planned_device("cpu") == "CPU, as no CUDA GPU is visible (NVML: driver gone)"
    with pytest.raises(UserError, match=r"'cuda:0' is not there, 0 .* visible .NVML: driver gone"):
        plan_device("cuda:0")
    with pytest.raises(UserError, match=r"torch 2\.13\.0\+cpu is a build for CPUs"):
        plan_device("cuda")


def test_planned_gpus_are_named_by_their_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def described(*gpus: nvml.Gpu) -> list[str]:
        monkeypatch.setattr(nvml, "visible_gpus", lambda: (list(gpus), ""))
        return [describe_planned_device(device) for device in ("cuda", "cuda:1")]

    one, two = nvml.Gpu("GPU-a", "NVIDIA H100"), nvml.Gpu("GPU-b", "NVIDIA T4")
    assert described() == ["GPU (cuda)", "GPU (cuda:1)"]
    assert described(one)[0] == "NVIDIA H100"
    assert described(one, two) == [
        "2 visible GPUs (NVIDIA H100, NVIDIA T4; each run takes a free one)",
        "NVIDIA T4 (cuda:1 of 2, GPU-b)",
    ]


def test_a_gpu_may_be_planned_where_jobs_run_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "visible_gpus", lambda: ([], "NVML: driver gone"))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.13.0")
    assert plan_device("cuda") == "cuda"
    with pytest.raises(UserError, match=r"'cuda' is not there, 0 .* visible .NVML: driver gone"):
        check_device_visible("cuda")
    check_device_visible("cpu")
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (GPUS[:1], ""))
    check_device_visible("cuda")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, "0123"),
        ("", ""),
        ("0", "0"),
        ("3, 2", "32"),
        ("0,9,1", "0"),  # one that is not there hides itself and all that follow
        ("GPU-2", "2"),
        ("GPU-", ""),  # could be any
        ("GPU-nowhere,1", ""),
        ("1,-1,2", "1"),
    ],
)
def test_visible_gpus(visible: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_initialise", lambda: "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 4)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: GPUS[handle].uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda handle: GPUS[handle].name)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    shown, reason = nvml.visible_gpus()
    assert shown == [GPUS[int(index)] for index in expected]
    assert bool(reason) == (not expected)


def test_a_mig_slice_is_visible_by_its_own_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_initialise", lambda: "")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5c2e")
    assert nvml.visible_gpus() == ([nvml.Gpu("MIG-5c2e", "MIG")], "")


def test_conditions_without_a_gpu_say_why() -> None:
    state = nvml.read_conditions(None)
    values = {f: getattr(state, f) for f in Conditions.__slots__ if f != "absent"}
    assert set(values.values()) == {None}
    assert state.absent == dict.fromkeys(values, "not a GPU")
    assert nvml.read_energy_mj(None) == (None, "not a GPU")


def test_a_gpu_is_made_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[int] = []

    def set_device(device: object) -> None:
        # torch's own first step: a device without an index is refused.
        current.append(torch.cuda._utils._get_device_index(device))

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    devices.use_device(CPU)
    assert current == []
    devices.use_device(torch.device("cuda"))
    devices.use_device(torch.device("cuda:3"))
    assert current == [0, 3]
