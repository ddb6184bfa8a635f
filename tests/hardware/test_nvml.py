"""NVML missing, failing at any call, and recovering: unreported values are absent, with why."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pynvml
import pytest
from builders import CALL
from checkpoints import MODELS, ROOT
from processes import wait_for
from validate import validate

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core.errors import UserError
from mfuscope.core.records import Conditions, Run
from mfuscope.core.runs import RunKey
from mfuscope.hardware import nvml
from mfuscope.hardware.devices import describe_planned_device, plan_device
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Session
from mfuscope.models.spec import resolve_model
from mfuscope.worker.leases import candidates

LOST = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
UUIDS = ("GPU-a", "GPU-b")

# What mfuscope calls -> what a healthy GPU answers; its handle is its index.
ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlInit": lambda: None,
    "nvmlSystemGetDriverVersion": lambda: "580.65.06",
    "nvmlDeviceGetCount": lambda: len(UUIDS),
    "nvmlDeviceGetHandleByIndex": lambda index: index,
    "nvmlDeviceGetHandleByUUID": UUIDS.index,
    "nvmlDeviceGetUUID": lambda handle: UUIDS[handle],
    "nvmlDeviceGetName": lambda handle: "NVIDIA L4",
    "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
    "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 2040,
    "nvmlDeviceGetClockInfo": lambda handle, kind: 2025,
    "nvmlDeviceGetTemperature": lambda handle, kind: 40,
    "nvmlDeviceGetPowerUsage": lambda handle: 50_000,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0,
    "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 1000,
    "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=24 << 30),
    "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=os.getpid())],
    "nvmlDeviceGetGraphicsRunningProcesses": lambda handle: [],
}
CONDITIONS = {
    *("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetClockInfo"),
    *("nvmlDeviceGetTemperature", "nvmlDeviceGetPowerUsage"),
    "nvmlDeviceGetCurrentClocksThrottleReasons",
}
ENERGY = "nvmlDeviceGetTotalEnergyConsumption"
ALL = frozenset(ANSWERS)


@dataclass
class Driver:
    """A driver of two GPUs, some of whose calls fail.

    Attributes:
        failing: names of calls that fail.
        lost: handles for which every call fails.
        energy: what the energy counter shows, look by look.
    """

    failing: set[str] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    energy: list[int] = field(default_factory=list)

    def call(self, name: str, *arguments: Any) -> Any:
        if name in self.failing or (arguments and arguments[0] in self.lost):
            raise LOST
        if name == ENERGY and self.energy:
            return self.energy.pop(0)
        return ANSWERS[name](*arguments)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made = Driver()
    for name in ANSWERS:
        monkeypatch.setattr(pynvml, name, lambda *a, name=name: made.call(name, *a))
    return made


def test_every_call_is_faked(driver: Driver) -> None:
    """So that none can fail untested."""
    source = Path(nvml.__file__).read_text()
    assert set(re.findall(r"pynvml\.(nvml[A-Z]\w+)[(,)]", source)) == set(ANSWERS)


def test_total_memory_is_known_unless_the_driver_fails(driver: Driver) -> None:
    assert nvml.memory_bytes("GPU-a") == 24 << 30
    for failing in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetHandleByUUID", "nvmlInit"):
        driver.failing = {failing}
        assert nvml.memory_bytes("GPU-a") is None, failing


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(*_: object) -> None:
        raise OSError("no such file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", no_library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert nvml.visible_gpus() == ([], "NVML Shared Library Not Found")
    assert plan_device("auto") == "cpu"
    assert describe_planned_device("cpu").endswith(
        "no CUDA GPU is visible (NVML Shared Library Not Found)"
    )
    assert nvml.driver_version() is None
    assert nvml.max_sm_clock_mhz("GPU-a") == (None, "NVML Shared Library Not Found")
    assert nvml.read_energy_mj("GPU-a") == (None, "NVML Shared Library Not Found")
    assert set(nvml.read_conditions("GPU-a").absent.values()) == {"NVML Shared Library Not Found"}


@pytest.mark.parametrize("call", sorted(ANSWERS))
def test_any_call_may_fail(call: str, driver: Driver) -> None:
    """Nothing is raised, and what is absent has its reason."""
    driver.failing = {call}
    reason = nvml._reason(LOST)
    gpus, why = nvml.visible_gpus()
    assert bool(gpus) != bool(why)
    assert why in ("", reason, f"GPU 1: {reason}")
    nvml.driver_version()
    for value, absent in (
        nvml.max_sm_clock_mhz("GPU-a"),
        nvml.read_energy_mj("GPU-a"),
        nvml.other_processes("GPU-a"),
    ):
        assert (value is None) == (absent == reason)
    state = nvml.read_conditions("GPU-a")
    values = {name: getattr(state, name) for name in Conditions.__slots__ if name != "absent"}
    assert state.absent == {name: reason for name, value in values.items() if value is None}
    assert (len(state.absent) > 0) == (call in CONDITIONS)


def test_idle_workers_of_other_variants_are_no_neighbours(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep their models on the GPU, and compute nothing while this one measures."""
    code = "import time; time.sleep(60)"
    command = [sys.executable, "-c", code]
    with (
        subprocess.Popen([*command, "mfuscope.worker.server"]) as worker,
        subprocess.Popen(command) as stranger,
    ):
        pids = [os.getpid(), worker.pid, stranger.pid]
        running = [SimpleNamespace(pid=pid) for pid in pids]
        monkeypatch.setitem(ANSWERS, "nvmlDeviceGetComputeRunningProcesses", lambda handle: running)
        try:
            line = Path(f"/proc/{worker.pid}/cmdline")
            wait_for(lambda: b"server" in line.read_bytes(), "the worker's command")
            assert nvml.other_processes("GPU-a") == (1, "")
        finally:
            worker.kill()
            stranger.kill()


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetName"])
def test_a_job_that_cannot_ask_for_its_gpu_says_why(call: str, driver: Driver) -> None:
    driver.failing = {call}
    with pytest.raises(UserError, match=r"'cuda' is not visible to this job .*NVML"):
        candidates("cuda")


def test_a_lost_gpu_is_left_out_and_reported(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.lost = {0}
    gpus, reason = nvml.visible_gpus()
    assert [gpu.uuid for gpu in gpus] == ["GPU-b"]
    assert reason == f"GPU 0: {nvml._reason(LOST)}"
    assert [device.id for device in candidates("cuda")] == ["GPU-b"]
    with pytest.raises(UserError, match=r"'cuda:1' is not there, 1 .* visible .GPU 0: NVML"):
        plan_device("cuda:1")
    # It keeps its index: the other one's does not shift.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.uuid for gpu in nvml.visible_gpus()[0]] == ["GPU-b"]
    for visible in ("0", "0,1", "GPU-a"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert nvml.visible_gpus() == ([], reason)


@pytest.fixture(scope="module")
def session(published: Path) -> Session:
    """On the CPU, but with a GPU's number: what is asked of NVML is asked for it."""
    settings = ModelSettings(str(published), "auto", "auto", "sdpa", "Free OCR.", "auto", "none", 0)
    made = Session(resolve_model(str(published), "auto", MODELS), settings, "cpu")
    made.facts = replace(
        made.facts, uuid="GPU-a", absent={k: v for k, v in made.facts.absent.items() if k != "uuid"}
    )
    return made


def one_run(session: Session, folder: Path) -> Run:
    plain = ProfilerSettings(None, False, False, False)
    how = RunSettings("tiny", 2, True, 0, profiler=plain, timed_passes=1)
    page = ROOT / "data" / "samples" / "image_eu_map.png"
    key, trace = RunKey("a", "b.png", 0), folder / "trace.json"
    run = measure(session, page, trace, how, key=key, max_megapixels=150, call=CALL)
    validate("run", msgspec.to_builtins(replace(run, trace_bytes=1)))  # known once it is packed
    return run


def test_nvml_that_fails_within_a_pass_and_recovers(
    session: Session, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After the timed pass's call, the reference's and the traced one's.
    states = iter([ALL, ALL, set()])
    generate = session.generate

    def fail_or_recover(*arguments: Any, **named: Any) -> Any:
        tokens = generate(*arguments, **named)
        driver.failing = set(next(states))
        return tokens

    monkeypatch.setattr(session, "generate", fail_or_recover)
    run, reason = one_run(session, tmp_path), nvml._reason(LOST)
    assert run.timed.conditions_before.sm_clock_mhz == 2025
    assert set(run.timed.conditions_after.absent.values()) == {reason}
    assert run.timed.absent["energy_j"] == f"during the pass: {reason}"
    assert set(run.traced.conditions_before.absent.values()) == {reason}
    assert run.traced.absent["energy_j"] == reason
    assert run.traced.conditions_after.sm_clock_mhz == 2025


def test_an_energy_counter_that_starts_anew_is_no_energy(
    session: Session, driver: Driver, tmp_path: Path
) -> None:
    driver.energy = [5000, 8000, 9000, 20]
    run = one_run(session, tmp_path)
    assert run.timed.energy_j == 3.0
    assert run.traced.energy_j is None
    assert run.traced.absent["energy_j"] == "the counter started anew during the pass"
