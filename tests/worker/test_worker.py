"""Resident workers: the library's side, with real processes."""

import os
import signal
import socket
import struct
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
from mfuscope.traces.columns import read_trace
from mfuscope.worker import protocol as messages
from mfuscope.worker import runtime as places
from mfuscope.worker.runtime import Owner


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
