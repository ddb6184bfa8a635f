"""Resident workers that hang, are stopped, or run out of memory, and clocks that jump."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from processes import TESTS, Faults, wait_for
from stand_in import Workflow
from validate import validate

from mfuscope.core.records import Run
from mfuscope.traces.columns import read_trace

pytestmark = pytest.mark.faults

# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_that_takes_too_long_is_ended(workflow: Workflow, stopped: bool) -> None:
    workflow.faults.ask_for("build", 3)
    workflow.faults.ask_for("hang")
    workflow.begin("bad", run_timeout="2")
    worker = workflow.faults.wait_until_it_hangs()  # the time to build was no part of the run
    if stopped:
        os.kill(worker, signal.SIGSTOP)
    assert workflow.wait()[0] == 1
    assert worker not in workflow.workers(), "ended before the job said so"
    log = workflow.log("bad").splitlines()
    assert log[-1].startswith("mfuscope: the run took longer than `worker.run_timeout` (2 s)")
    assert "Remedy: " in log[-1]
    assert not any("Traceback" in line for line in log)
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_model_that_is_never_ready_is_ended(workflow: Workflow, stopped: bool) -> None:
    if not stopped:
        workflow.faults.ask_for("build", 600)
    workflow.begin("bad", start_timeout="20" if stopped else "2")
    if stopped:  # before it listens
        wait_for(workflow.workers, "a worker that starts")
        os.kill(next(iter(workflow.workers())), signal.SIGSTOP)
    assert workflow.wait()[0] == 1
    assert not workflow.workers()
    log = workflow.log("bad").splitlines()
    assert log[-1].startswith("mfuscope: the model was not ready after `worker.start_timeout` (2")
    assert "Remedy: " in log[-1]
    workflow.faults.heal()
    assert workflow.measure("after").runs_before == 0


@pytest.mark.parametrize("workflow_ends", [False, True])
def test_an_idle_worker_that_was_stopped_is_ended(workflow: Workflow, workflow_ends: bool) -> None:
    workflow.measure("before")
    (worker,) = workflow.workers()
    os.kill(worker, signal.SIGSTOP)
    if workflow_ends:
        workflow.end()
    else:
        assert workflow.measure("after", greeting=3).runs_before == 0
    assert worker not in workflow.workers()


# --- memory --------------------------------------------------------------------------------------


def test_a_run_that_runs_out_of_memory_fails_alone(workflow: Workflow) -> None:
    workflow.measure("before")
    workflow.faults.ask_for("short")
    workflow.begin("bad", settings={"resolution": "large"})
    assert workflow.wait()[0] == 1
    last = workflow.log("bad").splitlines()[-1]
    assert last.startswith(
        "mfuscope: the host's memory ran out in a page at 1280 with 426 prompt tokens: "
        "weights 71 MB, peak so far "
    )
    assert " are free. Remedy: set a smaller `resolution` or" in last
    assert "Traceback" not in workflow.log("bad")
    assert not workflow.workers(), "nobody vouches for what is left of it"
    after = workflow.measure("after", settings={"resolution": "large"})
    assert after.runs_before == 0


def test_idle_workers_of_other_variants_make_room(workflow: Workflow) -> None:
    workflow.measure("first")
    (first,) = workflow.workers()
    workflow.faults.ask_for("crowded", first)
    other = {"model": workflow.model | {"prompt": "Another variant."}}
    workflow.measure("second", **other)
    assert "does not fit" in workflow.log("second")
    assert "idle workers of other variants ended: 1; once again ..." in workflow.log("second")
    (second,) = workflow.workers()
    # Where that is no help, it is told with the figures, and once.
    workflow.faults.ask_for("crowded", os.getpid())
    workflow.begin("third")
    assert workflow.wait()[0] == 1
    assert second not in workflow.workers()
    last = workflow.log("third").splitlines()[-1]
    assert last.startswith("mfuscope: model: ")
    assert "its weights alone need 71 MB in fp32, and 0 MB of the host's" in last
    workflow.begin("fourth")
    assert workflow.wait()[0] == 1
    assert "once again" not in workflow.log("fourth")
    assert len(workflow.workers()) == 1, "it can say so again without a new start"
    workflow.faults.heal()
    assert workflow.measure("fifth").runs_before == 0


# --- clocks --------------------------------------------------------------------------------------


def check_durations(workflow: Workflow, name: str, run: Run) -> None:
    """The run is valid, and every duration in it one of a small model: far from a day."""
    validate("run", json.loads((workflow.folder / f"{name}.json").read_bytes()))
    for one in (run.timed, run.traced):
        parts = (one.vision_ms, one.projector_ms, one.language_prefill_ms)
        for value in (one.prefill_ms, one.decode_ms, *one.step_ms, *parts):
            assert value is not None
            assert 0 < value < one.host_ms < 60_000
    windows = read_trace(workflow.folder / f"{name}.json.gz").windows
    for stage, milliseconds in (
        ("prefill", run.traced.prefill_ms),
        ("decode", run.traced.decode_ms),
    ):
        start, end = windows[stage]
        assert (end - start) / 1e6 == pytest.approx(milliseconds, rel=0.5)


def test_a_time_of_day_that_jumps_changes_no_duration(workflow: Workflow) -> None:
    workflow.faults.ask_for("jump")
    check_durations(workflow, "run", workflow.measure("run"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_trace_during_which_the_clock_is_set_is_made_again(
    published: Path, tmp_path: Path, faults: Faults
) -> None:
    """Kineto takes durations from the system's clock, whatever Python is told."""
    library, clock = tmp_path / "clock.so", faults.folder / "clock"
    source = TESTS / "faults" / "clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    workflow = Workflow(
        *(published, tmp_path, faults, 60), LD_PRELOAD=str(library), CLOCK=str(clock)
    )
    faults.ask_for("set-clock")
    run = workflow.measure("run")
    assert clock.exists(), "it was set"
    check_durations(workflow, "run", run)
    workflow.end()
