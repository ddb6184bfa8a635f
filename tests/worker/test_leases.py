"""Who holds a device, and which devices a setting means."""

import os
import subprocess
import sys
import threading
import time

import pytest

from mfuscope.core.errors import UserError
from mfuscope.hardware import nvml
from mfuscope.worker import leases
from mfuscope.worker.leases import MeasuringDevice, candidates, lease
from mfuscope.worker.runtime import Runtime

ONE, OTHER = MeasuringDevice("GPU-one", "cuda"), MeasuringDevice("GPU-other", "cuda")


def test_a_device_has_one_holder(runtime: Runtime, capfd: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with lease(runtime, [ONE]):
            order.append("second")

    with lease(runtime, [ONE]) as held:
        assert held.device == ONE
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert capfd.readouterr().err.count("waiting for another measurement on GPU-one") == 1


def test_several_devices_are_held_side_by_side(runtime: Runtime) -> None:
    with lease(runtime, [ONE, OTHER]) as first, lease(runtime, [ONE, OTHER]) as second:
        assert {first.device, second.device} == {ONE, OTHER}


def test_the_device_with_the_model_is_preferred(runtime: Runtime) -> None:
    def prefer(device: MeasuringDevice) -> bool:
        return device == OTHER

    with lease(runtime, [ONE, OTHER], prefer) as first:
        assert first.device == OTHER
        with lease(runtime, [ONE, OTHER], prefer) as second:
            assert second.device == ONE


def test_a_lease_lasts_while_any_process_has_it(runtime: Runtime) -> None:
    """A worker runs on for a moment when its job is killed; the lease lasts as long."""
    with lease(runtime, [ONE]) as held:
        handed_on = os.dup(held.file)
    assert leases._try(runtime, [ONE]) is None
    os.close(handed_on)
    with lease(runtime, [ONE]):
        pass


def test_a_killed_holder_holds_nothing(runtime: Runtime) -> None:
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from mfuscope.worker.leases import MeasuringDevice, lease\n"
        "from mfuscope.worker.runtime import Limits, Owner, Runtime\n"
        "runtime = Runtime(Owner.of(os.getpid()), Limits(0, 0, 0), Path(sys.argv[1]))\n"
        "with lease(runtime, [MeasuringDevice('GPU-one', 'cuda')]):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(runtime.base)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert leases._try(runtime, [ONE]) is None
        holder.kill()
    with lease(runtime, [ONE]):
        pass


GPUS = [nvml.Gpu("GPU-a", "NVIDIA L4"), nvml.Gpu("GPU-b", "NVIDIA L4"), nvml.Gpu("GPU-c", "A100")]


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cuda", ["GPU-a", "GPU-b"]), ("cuda:1", ["GPU-b"]), ("cuda:2", ["GPU-c"])],
)
def test_which_devices_a_setting_means(
    device: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (GPUS, ""))
    found = candidates(device)
    assert [one.id for one in found] == expected
    # Shown one card alone, torch has no other name for it.
    assert {one.torch_name for one in found} == {"cuda"}
    assert found[0].environment == {"CUDA_VISIBLE_DEVICES": expected[0]}


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_that_went_after_planning_is_reported(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = [] if device == "cuda" else GPUS
    monkeypatch.setattr(nvml, "visible_gpus", lambda: (gpus, "NVML: driver gone"))
    with pytest.raises(
        UserError, match=f"'{device}' is not visible to this job .NVML: driver gone"
    ):
        candidates(device)


def test_the_cpu_is_a_device() -> None:
    assert candidates("cpu") == [MeasuringDevice("cpu", "cpu")]
    assert candidates("cpu")[0].environment == {"CUDA_VISIBLE_DEVICES": ""}
