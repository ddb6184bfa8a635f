"""Which runs a report lacks after failures, and why."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.storage.paths import RunPaths, calibration_path
from mfuscope.workflow import missing
from mfuscope.workflow.missing import failure_reason, missing_runs

RESULTS = Path("results")
STOPPED = "the workflow ended before it"


@dataclass
class Plan:
    """What is asked of a plan: two variants, two pages at resolutions of their own, two repeats."""

    outdated: frozenset[RunKey] = frozenset()

    def runs(self) -> list[RunKey]:
        return [RunKey(v, image, r) for v in ("a", "b") for image in ("p", "q") for r in (0, 1)]

    def calibration(self, run: RunKey) -> CalibrationKey:
        return CalibrationKey(run.variant, {"p": "512", "q": "1024"}[run.image])


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A plan of which everything was made."""
    monkeypatch.chdir(tmp_path)
    made = Plan()
    for run in made.runs():
        paths = RunPaths.of(RESULTS, run)
        files = (paths.record, paths.operators, paths.kernels, paths.activity)
        for path in (*files, calibration_path(RESULTS, made.calibration(run))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def is_current(_: Plan, results: Path, run: RunKey) -> bool:
        return RunPaths.of(results, run).record.exists() and run not in made.outdated

    monkeypatch.setattr(missing, "is_current", is_current)
    return made


def log(name: str, content: str = "Traceback ...\nmfuscope: it broke\n", age_s: float = 0) -> None:
    path = Path("logs") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    then = time.time() - age_s
    os.utime(path, (then, then))


def found(plan: Plan, since: float = 0) -> dict[str, str]:
    runs = missing_runs(plan, RESULTS, since)  # type: ignore[arg-type]
    return {f"{run.variant}/{run.image}/{run.repeat}": run.reason for run in runs}


def test_nothing_is_missing_where_everything_was_made(plan: Plan) -> None:
    assert found(plan) == {}


def test_failed_runs_and_runs_that_never_began_are_missing(plan: Plan) -> None:
    for run in (RunKey("a", "p", 1), RunKey("b", "q", 0)):
        RunPaths.of(RESULTS, run).record.unlink()
    log("a/runs/p/1.log")
    assert found(plan) == {"a/p/1": "it broke", "b/q/0": STOPPED}


def test_a_record_of_other_settings_is_missing(plan: Plan) -> None:
    plan.outdated = frozenset({RunKey("a", "q", 0)})
    assert found(plan) == {"a/q/0": STOPPED}


def test_a_trace_that_was_not_read_is_missing(plan: Plan) -> None:
    RunPaths.of(RESULTS, RunKey("a", "p", 0)).kernels.unlink()
    log("a/operators/p/0.log", "mfuscope: no trace\n")
    assert found(plan) == {"a/p/0": "no trace"}


def test_runs_without_their_calibration_are_missing(plan: Plan) -> None:
    calibration_path(RESULTS, CalibrationKey("b", "1024")).unlink()
    log("b/calibration/1024.log", "mfuscope: out of memory\n")
    reason = "its FLOPs at 1024 were not counted: out of memory"
    assert found(plan) == {"b/q/0": reason, "b/q/1": reason}


def test_logs_of_earlier_calls_give_no_reason(plan: Plan) -> None:
    RunPaths.of(RESULTS, RunKey("a", "p", 0)).record.unlink()
    log("a/runs/p/0.log", age_s=100)
    assert found(plan, since=time.time() - 10) == {"a/p/0": STOPPED}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("one\nmfuscope: first\nmfuscope: last\n", "last"),
        ("mfuscope: ours\nnoise after it\n", "ours"),
        ("  only\n  other words  \n\n", "other words"),
        ("", "it ended without a message: it was killed"),
        ("x" * 30_000 + "\nmfuscope: at the end", "at the end"),
    ],
)
def test_the_reason_is_the_last_line_of_the_log(
    content: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log("job.log", content)
    assert failure_reason(Path("logs/job.log"), "variant=a,image=p,repeat=0", 0) == reason


TIMED_OUT = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***\n"
KILLED = "slurmstepd: error: Detected 1 oom_kill event in StepId=8.batch\n"


@pytest.fixture
def allocation(plan: Plan) -> Callable[[int, str, str], None]:
    """Writes the log of an allocation that failed: its command, and Slurm's line on its end."""

    def write(number: int, jobs: str, end: str) -> None:
        path = Path(f".snakemake/slurm_logs/group_measure/{number}.log")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"  Command: snakemake --target-jobs {jobs} --cores 4\n{end}")

    RunPaths.of(RESULTS, RunKey("a", "p", 0)).record.unlink()
    return write


MINE = "profile:variant=a,image=p,repeat=0"


@pytest.mark.parametrize("content", [None, "", "noise\n"])
def test_an_allocation_gives_the_reason_that_a_log_does_not(
    content: str | None, plan: Plan, allocation: Callable[[int, str, str], None]
) -> None:
    if content is not None:
        log("a/runs/p/0.log", content)
    allocation(7, f"{MINE} profile:variant=a,image=p,repeat=1", TIMED_OUT)
    allocation(8, "profile:variant=b,image=p,repeat=0", KILLED)
    assert found(plan) == {"a/p/0": "its allocation ran out of time (Slurm job 7)"}


def test_a_runs_own_reason_comes_first(
    plan: Plan, allocation: Callable[[int, str, str], None]
) -> None:
    log("a/runs/p/0.log")
    allocation(7, MINE, TIMED_OUT)
    assert found(plan) == {"a/p/0": "it broke"}


@pytest.mark.parametrize("jobs", ["profile:variant=a,image=p,repeat=01", f"x{MINE}x", MINE + "0"])
def test_the_allocations_of_other_runs_give_none(
    jobs: str, plan: Plan, allocation: Callable[[int, str, str], None]
) -> None:
    allocation(7, jobs, TIMED_OUT)
    assert found(plan) == {"a/p/0": STOPPED}
