"""Resident workers with a real model: what a stand-in cannot show."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import SUPPORT, Faults
from stand_in import Workflow
from validate import validate

from mfuscope.core.records import Calibration, Run
from mfuscope.hardware.threads import measuring_threads
from mfuscope.storage.artefacts import read_json
from mfuscope.traces.columns import read_trace


@pytest.fixture
def workflow(published: Path, tmp_path: Path, faults: Faults) -> Iterator[Workflow]:
    """A stand-in for the workflow, with a small checkpoint."""
    with Workflow(tmp_path, faults, model=published) as made:
        yield made


def test_a_worker_measures_and_counts(workflow: Workflow) -> None:
    runs = [workflow.measure(name) for name in ("first", "second")]
    assert [bool(run.warmup_ms) for run in runs] == [True, False]
    assert {run.device.threads for run in runs} == {measuring_threads()}
    for name in ("first", "second"):
        assert "prefill" in read_trace(workflow.folder / f"{name}.json.gz").windows
    (workflow.folder / "bad.png").write_bytes(b"text")
    workflow.begin("bad", page=str(workflow.folder / "bad.png"))
    assert workflow.wait()[0] == 1
    (last,) = workflow.log("bad").splitlines()[-1:]
    assert last.startswith("mfuscope: ")
    assert "bad.png" in last
    workflow.begin("calibration", resolution="512")
    assert workflow.wait()[0] == 0
    counted = read_json(workflow.folder / "calibration.json", Calibration)
    assert counted.prompt_tokens == runs[0].prompt_tokens
    assert len(workflow.workers()) == 1


@pytest.mark.faults
def test_a_host_without_memory_is_reported(workflow: Workflow) -> None:
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
    assert not workflow.workers()


# --- clocks --------------------------------------------------------------------------------------


def check_durations(workflow: Workflow, name: str, run: Run) -> None:
    """The run is valid, and every duration in it one of a small model: far from a day."""
    validate("run", json.loads((workflow.folder / f"{name}.json").read_bytes()))
    for one in (*run.passes, run.traced):
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


@pytest.mark.faults
def test_a_time_of_day_that_jumps_changes_no_duration(workflow: Workflow) -> None:
    workflow.faults.ask_for("jump")
    check_durations(workflow, "run", workflow.measure("run"))


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_trace_during_which_the_clock_is_set_is_recorded_again(
    published: Path, tmp_path: Path, faults: Faults
) -> None:
    """Kineto takes durations from the system's clock, which Python cannot replace."""
    library, clock = tmp_path / "clock.so", faults.folder / "clock"
    source = SUPPORT / "faults" / "clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    faults.ask_for("set-clock")
    with Workflow(
        tmp_path, faults, model=published, LD_PRELOAD=str(library), CLOCK=str(clock)
    ) as workflow:
        run = workflow.measure("run")
        assert clock.exists(), "it was set"
        check_durations(workflow, "run", run)
