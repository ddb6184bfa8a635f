"""Where workers and locks lie, and who holds a device."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from processes import wait_for

from mfuscope.core.errors import UserError
from mfuscope.hardware import nvml
from mfuscope.worker import leases
from mfuscope.worker import runtime as places
from mfuscope.worker.leases import MeasuringDevice, candidates, lease
from mfuscope.worker.runtime import Owner

ONE, OTHER = MeasuringDevice("GPU-one", "cuda"), MeasuringDevice("GPU-other", "cuda")

# --- places --------------------------------------------------------------------------------------


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "_BASE", tmp_path)
    return tmp_path / f"mfuscope-{os.getuid()}"


def test_the_folder_is_private(runtime: Path) -> None:
    assert places.runtime_folder() == runtime == places.runtime_folder()
    assert runtime.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_others_is_refused(runtime: Path, tmp_path: Path) -> None:
    runtime.mkdir(mode=0o755)
    with pytest.raises(UserError, match="only you can enter"):
        places.runtime_folder()
    runtime.rmdir()
    (tmp_path / "private").mkdir(mode=0o700)
    runtime.symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="only you can enter"):
        places.runtime_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of somebody else")
@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_what_somebody_else_put_there_is_refused(kind: str, runtime: Path, tmp_path: Path) -> None:
    """Private as it looks: its owner could read and replace the sockets within."""
    planted = tmp_path / "planted"
    planted.mkdir(mode=0o700)
    if kind == "folder":
        planted.rename(runtime)
    elif kind == "link":
        runtime.symlink_to(planted)
    else:
        runtime.touch(mode=0o600)
    os.chown(runtime, 12345, 12345, follow_symlinks=False)
    with pytest.raises(UserError, match=f"{runtime} is not a folder that only you") as caught:
        places.lock_file("cpu")
    assert "Remedy: remove it, or have its owner remove it" in str(caught.value)
    assert not planted.exists() or not list(planted.iterdir())


def test_addresses_are_short() -> None:
    longest = Owner(2**22, 10**12).folder / ("f" * 25) / places.SOCKET
    assert len(os.fsencode(longest)) < 100


def test_an_owner_is_a_process_and_its_start() -> None:
    me = Owner.of(os.getpid())
    assert me.alive
    assert Owner.parse(str(me)) == me
    assert not Owner(me.pid, me.started + 1).alive  # another process had the number
    child = subprocess.Popen(["sleep", "600"])
    owner = Owner.of(child.pid)
    assert owner.alive
    child.kill()
    wait_for(lambda: not owner.alive, "the end of a child", 10)  # though nobody has waited for it
    child.wait()
    assert not owner.alive


def test_what_the_dead_left_is_removed(runtime: Path) -> None:
    mine, dead = Owner.of(os.getpid()), Owner(os.getpid(), 1)
    for owner in (mine, dead):
        (owner.folder / "worker").mkdir(parents=True)
    places.lock_file("cpu").touch()
    places.remove_abandoned()
    assert {path.name for path in runtime.iterdir()} == {str(mine), "locks"}


def test_a_worker_that_listens_is_not_abandoned(runtime: Path) -> None:
    # Seen from another PID namespace, say: its owner seems dead.
    folder = Owner(os.getpid(), 1).folder / "worker"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / places.SOCKET))
        listening.listen()
        places.remove_abandoned()
        assert folder.is_dir()
    places.remove_abandoned()
    assert not folder.exists()


# --- leases --------------------------------------------------------------------------------------


def test_a_device_has_one_holder(runtime: Path, capfd: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with lease([ONE]):
            order.append("second")

    with lease([ONE]) as held:
        assert held.device == ONE
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert capfd.readouterr().err.count("waiting for another measurement on GPU-one") == 1


def test_several_devices_are_held_side_by_side(runtime: Path) -> None:
    with lease([ONE, OTHER]) as first, lease([ONE, OTHER]) as second:
        assert {first.device, second.device} == {ONE, OTHER}


def test_the_device_with_the_model_is_preferred(runtime: Path) -> None:
    def prefer(device: MeasuringDevice) -> bool:
        return device == OTHER

    with lease([ONE, OTHER], prefer) as first:
        assert first.device == OTHER
        with lease([ONE, OTHER], prefer) as second:
            assert second.device == ONE


def test_a_lease_lasts_while_anybody_has_it(runtime: Path) -> None:
    """The worker goes on for a moment when its job is killed: so does the lease."""
    with lease([ONE]) as held:
        handed_on = os.dup(held.file)
    assert leases._try([ONE]) is None
    os.close(handed_on)
    with lease([ONE]):
        pass


def test_a_killed_holder_holds_nothing(runtime: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mfuscope.worker import places\n"
        "from mfuscope.worker.leases import MeasuringDevice, lease\n"
        "places._BASE = Path(sys.argv[1])\n"
        "with lease([MeasuringDevice('GPU-one', 'cuda')]):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(runtime.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert leases._try([ONE]) is None
        holder.kill()
    with lease([ONE]):
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
def test_a_gpu_that_went_after_planning_is_told(
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
