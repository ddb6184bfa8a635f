"""Resident workers and device leases: the library's side, with real processes."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from checkpoints import MODELS, ROOT, write_published
from processes import TESTS, WORKER, Faults, wait_for

from mfuscope.artefacts import read_json
from mfuscope.errors import UserError
from mfuscope.hardware import nvml
from mfuscope.hardware.threads import measuring_threads
from mfuscope.models.spec import resolve_model
from mfuscope.records import Calibration, Run
from mfuscope.traces import read_trace
from mfuscope.worker import leases, messages, places
from mfuscope.worker.leases import MeasuringDevice, candidates, lease
from mfuscope.worker.messages import Calibrate, End, MeasureRun, Reply, Request, receive, send
from mfuscope.worker.places import Owner

PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
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
    longest = Owner(2**22, 10**12).folder / ("f" * 16) / places.SOCKET
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


# --- messages ------------------------------------------------------------------------------------

RUN_REQUEST = MeasureRun(
    model={"model": "a"},
    bundled="models",
    variant="baseline",
    page="pages/ä.png",
    trace="t.json",
    settings={"profiler": {"with_stack": False}},
    image="ä.png",
    repeat=2,
)


@pytest.mark.parametrize(
    "message",
    [RUN_REQUEST, Calibrate(model={}, bundled="b", variant="v", resolution="512"), End()],
)
def test_a_request_arrives_with_its_files(message: Request) -> None:
    near, far = socket.socketpair()
    with near, far:
        read, write = os.pipe()
        send(near, message, write)
        received, files = receive(far, Request, files=2)
        assert received == message
        os.write(files[0], b"x")
        assert os.read(read, 1) == b"x"
        for file in (read, write, *files):
            os.close(file)


def test_a_large_reply_arrives_whole() -> None:
    near, far = socket.socketpair()
    record = msgspec.json.encode({"steps": list(range(300_000))})
    with near, far:
        sending = threading.Thread(target=send, args=(near, Reply(record=msgspec.Raw(record))))
        sending.start()
        reply, _ = receive(far, Reply)
        sending.join()
    assert reply is not None
    assert bytes(reply.record) == record
    assert reply.error == ""


@pytest.mark.parametrize("sent", [b"", b"\0\0\0", b"\0\0\0\0\0\0\0\x09half"])
def test_a_broken_connection_is_no_message(sent: bytes) -> None:
    near, far = socket.socketpair()
    with far:
        near.sendall(sent)
        near.close()
        assert receive(far, Reply) == (None, [])


GARBAGE = {
    "a length beyond all memory": b"\xff" * 8 + b"x" * 1000,
    "a length beyond the limit": struct.pack("!Q", messages.MAX_BYTES + 1),
    "no JSON": struct.pack("!Q", 5) + b"\x80\x04K\x01.",  # a pickle, as it happens
    "JSON of another kind": struct.pack("!Q", 15) + b'{"type": "run"}',
    "a message of no type": struct.pack("!Q", 2) + b"[]",
    "too deep": struct.pack("!Q", 100_000) + b"[" * 100_000,
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_message(kind: str) -> None:
    near, far = socket.socketpair()
    with near, far:
        near.sendall(GARBAGE[kind])
        with pytest.raises(messages.MessageError):
            receive(far, Request, files=2)


def test_a_message_may_not_promise_memory() -> None:
    """Room is made for what has arrived, and not for what a header promises."""
    near, far = socket.socketpair()
    with far:
        near.sendall(struct.pack("!Q", messages.MAX_BYTES) + b"x")
        near.close()
        tracemalloc.start()
        assert receive(far, Request) == (None, [])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_request_that_breaks_off_leaves_no_file_open() -> None:
    near, far = socket.socketpair()
    read, write = os.pipe()
    with far:
        socket.send_fds(near, [b"\0\0\0\0\0\0\0\x09half"], [write])
        os.close(write)
        near.close()
        assert receive(far, Request, files=2) == (None, [])
    assert os.read(read, 1) == b"", "the other end of the pipe is closed everywhere"
    os.close(read)


# --- workers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "model"
    write_published(folder)
    return folder


class Workflow:
    """A process that owns workers, as Snakemake does, and runs jobs that it is sent."""

    def __init__(self, model: Path, folder: Path, faults: Faults, keep_alive: float) -> None:
        self.folder = folder
        self.faults = faults
        self._model = {
            "model": str(model),
            "load_format": "auto",
            "dtype": "auto",
            "attention": "sdpa",
            "prompt": "Free OCR.",
            "device": "cpu",
            "fingerprint": resolve_model(str(model), "auto", MODELS).fingerprint,
        }
        path = os.pathsep.join([str(TESTS / "faults"), str(ROOT / "src"), str(TESTS)])
        environment = os.environ | faults.environment | {"PYTHONPATH": path}
        # As under `--cores 1`: a worker must not inherit it.
        self._environment = environment | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "workflow_process.py"), str(keep_alive)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
        )

    def begin(self, name: str, **changes: Any) -> None:
        """Start a job."""
        job = {
            "page": str(PAGE),
            "run": str(self.folder / f"{name}.json"),
            "trace": str(self.folder / f"{name}.json.gz"),
            "log": str(self.folder / f"{name}.log"),
            "model": self._model,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(job | changes).decode() + "\n")
        self.process.stdin.flush()

    def wait(self) -> tuple[int, int]:
        """Wait for the oldest job; returns its exit status and its process number."""
        assert self.process.stdout is not None
        status, number = self.process.stdout.readline().split()
        return int(status), int(number)

    def measure(self, name: str, **changes: Any) -> Run:
        """A job that must succeed."""
        self.begin(name, **changes)
        status, _ = self.wait()
        assert status == 0, self.log(name)
        return read_json(self.folder / f"{name}.json", Run)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def workers(self) -> list[int]:
        return list(self.faults.processes(WORKER))

    def end(self) -> None:
        """As at the end of a workflow."""
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        assert self.process.wait(30) == 0


@pytest.fixture
def workflow(published: Path, tmp_path: Path, faults: Faults) -> Iterator[Workflow]:
    made = Workflow(published, tmp_path, faults, keep_alive=60)
    yield made
    made.end()


def test_one_worker_serves_all_jobs(workflow: Workflow) -> None:
    runs = [workflow.measure(name) for name in ("first", "second")]
    assert [run.runs_before for run in runs] == [0, 1]
    assert [run.warmup_passes for run in runs] == [1, 0]
    assert len(workflow.workers()) == 1
    assert {run.device.threads for run in runs} == {measuring_threads()}
    assert runs[0].page.path == str(PAGE)
    for name in ("first", "second"):
        assert "prefill" in read_trace(workflow.folder / f"{name}.json.gz").windows
    # Counting needs the same model: the same worker.
    workflow.begin("calibration", resolution="512")
    assert workflow.wait()[0] == 0
    counted = read_json(workflow.folder / "calibration.json", Calibration)
    assert counted.prompt_tokens == runs[0].prompt_tokens
    assert len(workflow.workers()) == 1
    (worker,) = workflow.workers()
    owner = Owner.of(workflow.process.pid)
    workflow.end()
    assert not owner.folder.exists()
    assert worker not in workflow.faults.processes(), "ended, and not only told to"


def test_jobs_that_come_at_once_are_served_in_turn(workflow: Workflow) -> None:
    """As when ``--resources gpu=`` was forgotten."""
    names = [f"job{number}" for number in range(3)]
    for name in names:
        workflow.begin(name)
    assert [workflow.wait()[0] for _ in names] == [0, 0, 0]
    runs = [read_json(workflow.folder / f"{name}.json", Run) for name in names]
    assert sorted(run.runs_before for run in runs) == [0, 1, 2]


def test_two_workflows_share_a_device(
    published: Path, tmp_path: Path, faults: Faults, workflow: Workflow
) -> None:
    (tmp_path / "other").mkdir()
    other = Workflow(published, tmp_path / "other", faults, keep_alive=60)
    workflow.measure("before")
    faults.ask_for("hang")
    workflow.begin("first")
    faults.wait_until_it_hangs()
    other.begin("second")
    waits = "waiting for another measurement on cpu"
    log = tmp_path / "other" / "second.log"
    wait_for(lambda: log.exists() and waits in log.read_text(), "the other workflow to wait")
    assert len(workflow.workers()) == 1, "no second model beside a measurement"
    os.kill(workflow.workers()[0], signal.SIGKILL)
    faults.heal()
    assert workflow.wait()[0] == 1
    assert other.wait()[0] == 0
    other.end()


def test_an_idle_worker_ends(published: Path, tmp_path: Path, faults: Faults) -> None:
    workflow = Workflow(published, tmp_path, faults, keep_alive=0.3)
    workflow.measure("first")
    wait_for(lambda: not workflow.workers(), "the worker's end")
    assert not Owner.of(workflow.process.pid).folder.exists()
    assert workflow.measure("second").runs_before == 0
    workflow.end()


def test_every_run_may_have_a_fresh_process(
    published: Path, tmp_path: Path, faults: Faults
) -> None:
    workflow = Workflow(published, tmp_path, faults, keep_alive=0)
    assert [workflow.measure(name).runs_before for name in ("first", "second")] == [0, 0]
    # The trace does not go with the process that wrote it.
    assert "prefill" in read_trace(workflow.folder / "second.json.gz").windows
    workflow.end()


def test_garbage_on_the_socket_leaves_the_worker_alone(workflow: Workflow) -> None:
    """Whatever the user's own processes send there; others cannot reach it."""
    workflow.measure("before")
    (worker,) = workflow.workers()
    (folder,) = (path.parent for path in Owner.of(workflow.process.pid).folder.glob("*/socket"))
    assert {path.stat().st_mode & 0o777 for path in (folder, places.runtime_folder())} == {0o700}
    run = msgspec.json.encode(RUN_REQUEST)
    without_files = struct.pack("!Q", len(run)) + run
    for sent in (*GARBAGE.values(), without_files, b"", b"\0\0\0", b"\0" * 7 + b"\x09half"):
        connection = places.connect(folder)
        assert connection is not None
        with connection, suppress(ConnectionError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(30)
            assert connection.recv(100) in (messages.GREETING, b"")
    # One who says nothing is not waited for for ever.
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(folder / places.SOCKET))
        run_after = workflow.measure("after")
    assert run_after.runs_before == 1
    assert workflow.workers() == [worker]


def test_an_error_in_the_model_fails_its_run_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("raise")
    workflow.begin("bad")
    assert workflow.wait()[0] == 1
    log = workflow.log("bad").splitlines()
    assert log[-1] == "mfuscope: RuntimeError: a fault in the model"
    assert any("Traceback" in line for line in log), "the worker's own words"
    assert workflow.measure("after").runs_before == 0, "nobody vouches for the old process"


def test_a_mistake_in_a_page_leaves_the_worker_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    (workflow.folder / "bad.png").write_bytes(b"text")
    workflow.begin("bad", page=str(workflow.folder / "bad.png"))
    assert workflow.wait()[0] == 1
    last = workflow.log("bad").splitlines()[-1]
    assert last.startswith("mfuscope: ")
    assert "bad.png" in last
    assert workflow.measure("after").runs_before == 1


def test_a_killed_worker_fails_its_run_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("hang")
    workflow.begin("bad")
    os.kill(workflow.faults.wait_until_it_hangs(), signal.SIGKILL)
    assert workflow.wait()[0] == 1
    assert "the model worker ended in the middle of this run" in workflow.log("bad")
    assert not (workflow.folder / "bad.json").exists()
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_does_not_outlive_its_job(
    workflow: Workflow, signal_number: signal.Signals
) -> None:
    """A job that Snakemake or a scheduler ends must not hold the device any longer."""
    workflow.faults.ask_for("hang")
    workflow.begin("bad")
    worker = workflow.faults.wait_until_it_hangs()
    (job,) = workflow.faults.processes("--job")
    os.kill(job, signal_number)
    workflow.wait()
    wait_for(lambda: worker not in workflow.faults.processes(), "the worker's end", 10)
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.parametrize("at_work", [False, True])
def test_a_worker_does_not_outlive_its_workflow(
    published: Path, tmp_path: Path, faults: Faults, at_work: bool
) -> None:
    workflow = Workflow(published, tmp_path, faults, keep_alive=60)
    workflow.measure("before")
    owner = Owner.of(workflow.process.pid)
    if at_work:
        faults.ask_for("hang")
        workflow.begin("bad")
        faults.wait_until_it_hangs()
    workflow.process.kill()
    workflow.process.wait()
    for job in faults.processes("--job"):  # Snakemake's jobs outlive it
        os.kill(job, signal.SIGKILL)
    wait_for(lambda: not faults.processes(), "the end of every process", 10)
    assert not owner.folder.exists()
