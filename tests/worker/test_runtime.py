"""Where workers and locks lie, and who owns them."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from processes import wait_for

from mfuscope.core.errors import UserError
from mfuscope.worker.runtime import SOCKET, Owner, Runtime, adopt, remove_abandoned

# --- the folder ----------------------------------------------------------------------------------


def test_the_folder_is_private(runtime: Runtime) -> None:
    assert runtime.folder == runtime.base / f"mfuscope-{os.getuid()}" == runtime.folder
    assert runtime.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("kind", ["open to others", "link", "file"])
def test_a_folder_that_is_not_private_is_refused(
    kind: str, runtime: Runtime, tmp_path: Path
) -> None:
    folder = runtime.base / f"mfuscope-{os.getuid()}"
    if kind == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif kind == "link":
        (tmp_path / "private").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "private")
    else:
        folder.touch(mode=0o600)
    with pytest.raises(UserError) as caught:
        _ = runtime.folder
    assert str(caught.value) == (
        f"worker.runtime_dir: '{folder}' is not a folder that only you can enter. Remedy: remove "
        "it, or set `worker.runtime_dir` (or MFUSCOPE_RUNTIME_DIR) to another folder."
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of another user")
@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_a_folder_of_another_user_is_refused(kind: str, runtime: Runtime, tmp_path: Path) -> None:
    """However private it looks: its owner could read and replace the sockets within."""
    folder, planted = runtime.base / f"mfuscope-{os.getuid()}", tmp_path / "planted"
    planted.mkdir(mode=0o700)
    if kind == "folder":
        planted.rename(folder)
    elif kind == "link":
        folder.symlink_to(planted)
    else:
        folder.touch(mode=0o600)
    os.chown(folder, 12345, 12345, follow_symlinks=False)
    with pytest.raises(
        UserError, match=r"is not a folder that only you can enter\. Remedy: remove"
    ):
        runtime.lock_file("cpu")
    assert not planted.exists() or not list(planted.iterdir())


@pytest.mark.parametrize("base", ["nowhere", "file"])
def test_a_folder_that_cannot_be_made_is_reported(base: str, runtime: Runtime) -> None:
    (runtime.base / "file").touch()
    with pytest.raises(UserError, match=r"worker\.runtime_dir: '.*' cannot be made .*Remedy: set"):
        _ = replace(runtime, base=runtime.base / base).folder


def test_the_longest_folder_has_room_for_sockets(runtime: Runtime) -> None:
    """A longer one is refused before a socket is."""
    made = replace(runtime, owner=Owner(4_194_304, 999_999_999_999))
    address = made.owner_folder / ("f" * 25) / SOCKET
    longest = made.base / ("b" * (107 - len(os.fsencode(address)) - 1))
    longest.mkdir()
    place = replace(made, base=longest).owner_folder / ("f" * 25)
    place.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / SOCKET))
    with pytest.raises(UserError, match=r"too many for the addresses of sockets.* Remedy: set"):
        _ = replace(made, base=Path(f"{longest}b")).folder


def test_remains_of_ended_workflows_are_removed(runtime: Runtime) -> None:
    ended = replace(runtime, owner=Owner(os.getpid(), 1))
    for one in (runtime, ended):
        (one.owner_folder / "worker").mkdir(parents=True)
    runtime.lock_file("cpu").touch()
    remove_abandoned(runtime)
    assert {path.name for path in runtime.folder.iterdir()} == {str(runtime.owner), "locks"}


def test_a_worker_that_listens_is_not_abandoned(runtime: Runtime) -> None:
    """Seen from another PID namespace, for instance, its owner seems to have ended."""
    folder = replace(runtime, owner=Owner(os.getpid(), 1)).owner_folder / "worker"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / SOCKET))
        listening.listen()
        remove_abandoned(runtime)
        assert folder.is_dir()
    remove_abandoned(runtime)
    assert not folder.exists()


# --- owners --------------------------------------------------------------------------------------


def test_an_owner_is_a_process_and_its_start() -> None:
    me = Owner.of(os.getpid())
    assert me.alive
    assert Owner.parse(str(me)) == me
    assert not Owner(me.pid, me.started + 1).alive  # another process had the number
    child = subprocess.Popen(["sleep", "600"])
    owner = Owner.of(child.pid)
    assert owner.alive
    child.kill()
    wait_for(lambda: not owner.alive, "the end of a child", 10)  # before its parent waits for it
    child.wait()
    assert not owner.alive


def test_a_job_adopts_the_owner_above_it_only() -> None:
    """On a cluster node the workflow is no ancestor, whatever process has its number there."""
    me = Owner.of(os.getpid())
    parent = Owner.of(os.getppid())
    assert adopt(me) == me
    assert adopt(parent) == parent
    assert adopt(Owner(parent.pid, parent.started + 1)) == me
    sibling = subprocess.Popen(["sleep", "600"])
    try:
        assert adopt(Owner.of(sibling.pid)) == me
    finally:
        sibling.kill()
        sibling.wait()


# --- watching them -------------------------------------------------------------------------------

END_WITH = """
import sys, time
from mfuscope.worker.runtime import Owner
from mfuscope.worker.watch import end_with
end_with(Owner.parse(sys.argv[1]))
print("goes on", flush=True)
time.sleep(float(sys.argv[2]))
"""


def watching(owner: Owner, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", END_WITH, str(owner), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_job_ends_with_its_owner() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        owner = Owner.of(process.pid)
        with watching(owner, 600) as job:
            assert job.stdout is not None
            assert job.stdout.readline() == "goes on\n"
            process.kill()
            assert job.wait(10) == 1


@pytest.mark.parametrize("ended", [Owner(os.getpid(), 1), Owner(2**22 - 1, 1)])
def test_a_job_whose_owner_has_ended_does_not_begin(ended: Owner) -> None:
    with watching(ended, 600) as job:
        assert job.communicate(timeout=10)[0] == ""
        assert job.returncode == 1


def test_a_job_within_its_owner_is_not_watched() -> None:
    code = END_WITH.replace("Owner.parse(sys.argv[1])", "Owner.of(__import__('os').getpid())")
    done = subprocess.run([sys.executable, "-c", code, "", "0"], capture_output=True, check=True)
    assert done.stdout == b"goes on\n"
