"""Resident workers from start to end, with real processes and the stand-in for a model."""

import os
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from messages import GARBAGE, RUN_REQUEST
from processes import Faults, wait_for
from stand_in import PAGE, Workflow

from mfuscope.core.records import Calibration, Run
from mfuscope.hardware.threads import measuring_threads
from mfuscope.storage.artefacts import read_json
from mfuscope.worker import server
from mfuscope.worker.protocol import GREETING
from mfuscope.worker.runtime import connect
from mfuscope.worker.watch import DeathWatch

# --- serving -------------------------------------------------------------------------------------


def test_one_worker_serves_all_jobs(workflow: Workflow) -> None:
    runs = [workflow.measure(name) for name in ("first", "second")]
    assert [run.runs_before for run in runs] == [0, 1]
    assert {run.device.threads for run in runs} == {measuring_threads()}
    assert runs[0].page.path == str(PAGE)
    # Counting needs the same model: the same worker.
    workflow.begin("calibration", resolution="512")
    assert workflow.wait()[0] == 0
    counted = read_json(workflow.folder / "calibration.json", Calibration)
    assert counted.resolution == "512"
    (worker,) = workflow.workers()
    workflow.end()
    assert not workflow.runtime.owner_folder.exists()
    assert worker not in workflow.faults.processes(), "the workflow waits for its end"


def test_jobs_that_come_at_once_are_served_in_turn(workflow: Workflow) -> None:
    """As without ``--resources gpu=``."""
    names = [f"job{number}" for number in range(3)]
    for name in names:
        workflow.begin(name)
    assert [workflow.wait()[0] for _ in names] == [0, 0, 0]
    runs = [read_json(workflow.folder / f"{name}.json", Run) for name in names]
    assert sorted(run.runs_before for run in runs) == [0, 1, 2]


@pytest.fixture
def other(tmp_path: Path, faults: Faults, workflow: Workflow) -> Iterator[Workflow]:
    """A second workflow beside `workflow`."""
    (tmp_path / "other").mkdir()
    with Workflow(tmp_path / "other", faults) as made:
        yield made


def test_two_workflows_share_a_device(workflow: Workflow, other: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("hang")
    workflow.begin("first")
    workflow.faults.wait_until_it_hangs()
    other.begin("second")
    waits = "waiting for another measurement on cpu"
    log = other.folder / "second.log"
    wait_for(lambda: log.exists() and waits in log.read_text(), "the other workflow to wait")
    assert len(workflow.workers()) == 1, "no second model beside a measurement"
    os.kill(workflow.workers()[0], signal.SIGKILL)
    workflow.faults.heal()
    assert workflow.wait()[0] == 1
    assert other.wait()[0] == 0


def test_an_idle_worker_ends(tmp_path: Path, faults: Faults) -> None:
    with Workflow(tmp_path, faults, keep_alive=0.3) as workflow:
        workflow.measure("first")
        wait_for(lambda: not workflow.workers(), "the worker's end")
        assert not list(workflow.runtime.owner_folder.iterdir())
        assert workflow.measure("second").runs_before == 0


def test_every_run_may_have_a_fresh_process(tmp_path: Path, faults: Faults) -> None:
    with Workflow(tmp_path, faults, keep_alive=0) as workflow:
        assert [workflow.measure(name).runs_before for name in ("first", "second")] == [0, 0]
        # The trace does not go with the process that wrote it.
        assert (workflow.folder / "second.json.gz").exists()


@pytest.mark.faults
def test_garbage_on_the_socket_leaves_the_worker_alone(workflow: Workflow) -> None:
    """Any process of the same user may send it; those of others cannot reach the socket."""
    workflow.measure("before")
    (worker,) = workflow.workers()
    (folder,) = (path.parent for path in workflow.runtime.owner_folder.glob("*/socket"))
    assert {path.stat().st_mode & 0o777 for path in (folder, workflow.runtime.folder)} == {0o700}
    run = msgspec.json.encode(RUN_REQUEST)
    without_files = struct.pack("!Q", len(run)) + run
    for sent in (*GARBAGE.values(), without_files, b"", b"\0\0\0", b"\0" * 7 + b"\x09half"):
        connection = connect(folder)
        assert connection is not None
        with connection, suppress(ConnectionError):
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(30)
            assert connection.recv(100) in (GREETING, b"")
    assert workflow.measure("after").runs_before == 1
    assert workflow.workers() == [worker]


def test_a_silent_connection_delays_others_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_REQUEST_S", 0.1)
    near, far = socket.socketpair()
    with near, far:
        goes_on = server._serve_one(far, server.Worker(), DeathWatch(sys.exit), last=False)
        assert goes_on
        assert near.recv(100) == GREETING


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.faults
def test_an_error_in_the_model_fails_its_run_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("raise")
    workflow.begin("bad")
    assert workflow.wait()[0] == 1
    log = workflow.log("bad").splitlines()
    assert log[-1] == "mfuscope: RuntimeError: a fault in the model"
    assert any("Traceback" in line for line in log), "what the worker printed"
    assert workflow.measure("after").runs_before == 0, "the old process may be damaged"


def test_a_user_error_leaves_the_worker_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("refuse")
    workflow.begin("bad")
    assert workflow.wait()[0] == 1
    assert workflow.log("bad") == "mfuscope: images: a bad page. Remedy: replace it.\n"
    assert workflow.measure("after").runs_before == 1


@pytest.mark.faults
def test_a_run_that_runs_out_of_memory_fails_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("short")
    workflow.begin("bad")
    assert workflow.wait()[0] == 1
    assert workflow.log("bad").startswith("mfuscope: the host's memory ran out. Remedy: ")
    assert not workflow.workers(), "the process may be damaged"
    assert workflow.measure("after").runs_before == 0


def test_idle_workers_of_other_variants_make_room(workflow: Workflow) -> None:
    workflow.measure("first")
    (first,) = workflow.workers()
    workflow.faults.ask_for("crowded", first)
    other = {"model": workflow.model | {"prompt": "Another variant."}}
    workflow.measure("second", **other)
    assert "does not fit" in workflow.log("second")
    assert "ended 1 idle workers of other variants; trying again ..." in workflow.log("second")
    (second,) = workflow.workers()
    # Where that does not help, the error is reported, and once.
    workflow.faults.ask_for("crowded", os.getpid())
    workflow.begin("third")
    assert workflow.wait()[0] == 1
    assert second not in workflow.workers()
    assert workflow.log("third").splitlines()[-1].startswith("mfuscope: model: it does not fit")
    workflow.begin("fourth")
    assert workflow.wait()[0] == 1
    assert "trying again" not in workflow.log("fourth")
    assert len(workflow.workers()) == 1, "it can report the error again without a new start"
    workflow.faults.heal()
    assert workflow.measure("fifth").runs_before == 0


# --- kills ---------------------------------------------------------------------------------------


@pytest.mark.faults
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


@pytest.mark.faults
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


@pytest.mark.faults
@pytest.mark.parametrize("in_a_run", [False, True])
def test_neither_worker_nor_job_outlives_its_workflow(
    tmp_path: Path, faults: Faults, in_a_run: bool
) -> None:
    workflow = Workflow(tmp_path, faults)
    workflow.measure("before")
    if in_a_run:
        faults.ask_for("hang")
        workflow.begin("bad")
        faults.wait_until_it_hangs()
    workflow.process.kill()
    workflow.process.wait()
    wait_for(lambda: not faults.processes(), "the end of every process", 10)
    assert not workflow.runtime.owner_folder.exists()


# --- hanging -------------------------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_that_takes_too_long_is_ended(workflow: Workflow, stopped: bool) -> None:
    workflow.faults.ask_for("build", 1)
    workflow.faults.ask_for("hang")
    workflow.begin("bad", run_timeout=0.5)
    worker = workflow.faults.wait_until_it_hangs()  # building took longer, and is no part of it
    if stopped:
        os.kill(worker, signal.SIGSTOP)
    assert workflow.wait()[0] == 1
    assert worker not in workflow.workers(), "it ends before its job does"
    (last,) = workflow.log("bad").splitlines()
    assert last.startswith("mfuscope: the run took longer than `worker.run_timeout` (0.5 s)")
    assert "Remedy: " in last
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.faults
@pytest.mark.parametrize("stopped", [False, True])
def test_a_model_that_is_never_ready_is_ended(workflow: Workflow, stopped: bool) -> None:
    workflow.faults.ask_for("build", 600)
    workflow.begin("bad", start_timeout=2)
    if stopped:  # before it listens, or soon afterwards
        wait_for(workflow.workers, "a worker that starts")
        os.kill(next(iter(workflow.workers())), signal.SIGSTOP)
    assert workflow.wait()[0] == 1
    assert not workflow.workers()
    (last,) = workflow.log("bad").splitlines()
    assert last.startswith("mfuscope: the model was not ready after `worker.start_timeout` (2 s)")
    assert "Remedy: " in last
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.faults
@pytest.mark.parametrize("workflow_ends", [False, True])
def test_an_idle_worker_that_was_stopped_is_ended(workflow: Workflow, workflow_ends: bool) -> None:
    workflow.measure("before")
    (worker,) = workflow.workers()
    os.kill(worker, signal.SIGSTOP)
    if workflow_ends:
        workflow.end()
    else:
        assert workflow.measure("after", greeting=0.5).runs_before == 0
    assert worker not in workflow.workers()
