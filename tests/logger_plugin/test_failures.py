"""What the terminal shows of failed jobs and of failed allocations."""

import logging
import os
from pathlib import Path

import pytest
from log_records import batch_error, failed_command, handler, job_error, job_info, record
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_mfuscope import LogHandler, messages
from snakemake_logger_plugin_mfuscope.failures import Failures


@pytest.mark.parametrize("jump", [0, 86400, -86400])
@pytest.mark.parametrize("before", [True, False])
def test_a_failed_jobs_log_is_shown_after_the_clock_was_set(
    jump: int,
    before: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whether it was set before or after the log was written."""
    log, began = tmp_path / "run.log", 1e9
    log.write_text("mfuscope: why it failed\n")
    written = began + 60 + (jump if before else 0)
    os.utime(log, (written, written))
    shown = handler()
    for seconds, what in ((0, job_info(1)), (90, job_error(1, log))):
        for room in ("snakemake_logger_plugin_mfuscope", Failures.__module__):
            monkeypatch.setattr(f"{room}.monotonic", lambda s=seconds: 500 + s)
        now = began + seconds + jump * (seconds > 0)
        monkeypatch.setattr(f"{Failures.__module__}.time", lambda now=now: now)
        what.created = began + seconds
        shown.emit(what)
    assert "mfuscope: why it failed" in capsys.readouterr().err


def test_a_killed_job_with_the_log_of_an_earlier_try(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("mfuscope: an old error\n")
    os.utime(log, (0, 0))
    shown = handler()
    shown.emit(job_info(1))
    shown.emit(failed_command("'x' died with <Signals.SIGKILL: 9>."))
    shown.emit(job_error(1, log))
    assert capsys.readouterr().err.splitlines() == [
        "run failed: text.png, baseline, repeat 2",
        "stopped by signal SIGKILL (out of host memory?)",
        "RuleException:",
        "CalledProcessError in file 'Snakefile', line 1:",
        "Command 'x' died with <Signals.SIGKILL: 9>.",
        f"log: {os.path.relpath(log)}",
    ]


SLURM_LOG = """\
Error in rule profile:
slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-01-01T10:00:00 DUE TO TIME LIMIT ***
srun: error: n1: task 0: Exited with exit code 1
"""


TIME_LIMIT = f"    {SLURM_LOG.splitlines()[1]}"


def in_batch(tmp_path: Path, repeats: int) -> tuple[LogHandler, dict[int, Path]]:
    """A handler that knows of so many runs, and their logs, of which none is written."""
    shown = handler()
    shown.emit(record(event=LogEvent.GROUP_INFO))
    for jobid in range(repeats):
        shown.emit(job_info(jobid, repeat=str(jobid)))
    return shown, {jobid: tmp_path / f"{jobid}.log" for jobid in range(repeats)}


@pytest.mark.parametrize("fails", [False, True])
def test_a_failed_allocation_is_reported_once(
    fails: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a run of its own error, without the runs that could not begin."""
    shown, jobs = in_batch(tmp_path, 4)
    Path(f"{jobs[0]}.json").touch()
    jobs[1].write_text("mfuscope: no memory\n" if fails else "USDT: profiler_start\n")
    log = tmp_path / "6.log"
    log.write_text(SLURM_LOG)
    for what in batch_error(jobs, log, external_jobid="6"):
        shown.emit(what)
    shown.emit(
        record(
            "WorkflowError:\nAt least one job did not complete successfully.",
            logging.ERROR,
            event=LogEvent.ERROR,
        )
    )
    own = [
        "run failed: text.png, baseline, repeat 2",
        "mfuscope: no memory",
        f"log: {os.path.relpath(jobs[1])}",
    ]
    assert capsys.readouterr().err.splitlines() == [
        *(own if fails else []),
        "allocation failed: Slurm job 6, TIMEOUT (3 of 4 runs not made)",
        TIME_LIMIT,
        f"log: {os.path.relpath(log)}",
        f"mfuscope: 3 jobs failed; finished results are kept. {messages.RERUN}",
    ]


def test_runs_that_failed_by_themselves_explain_their_allocation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 2)
    jobs[1].write_text("mfuscope: no memory\n")
    Path(f"{jobs[0]}.json").touch()
    log = tmp_path / "6.log"
    log.write_text("srun: error: n1: task 0: Exited with exit code 1\n")
    for what in batch_error(jobs, log, external_jobid="6"):
        shown.emit(what)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["run failed: text.png, baseline, repeat 2", "mfuscope: no memory"]
    assert len(lines) == 3


def test_an_allocation_that_ends_without_a_line_of_slurm(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 1)
    log = tmp_path / "6.log"
    log.write_text("/usr/bin/python: No module named snakemake\n")
    for what in batch_error(jobs, log, external_jobid="6"):
        shown.emit(what)
    assert capsys.readouterr().err.splitlines() == [
        "allocation failed: Slurm job 6 (1 of 1 run not made)",
        "    /usr/bin/python: No module named snakemake",
        f"log: {os.path.relpath(log)}",
    ]


def test_a_refused_batch_names_the_way_to_the_reason_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 3)
    first, second = {0: jobs[0], 1: jobs[1]}, {2: jobs[2]}
    for what in (*batch_error(first, None), *batch_error(second, None, rule="calibrate")):
        shown.emit(what)
    assert capsys.readouterr().err.splitlines() == [
        "allocation refused (2 of 2 runs not made)",
        f"    {messages.REFUSED_HINT}",
        "allocation refused (1 of 1 calibration not made)",
    ]


def test_sbatchs_message_on_single_jobs_is_shown_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, log = handler(), tmp_path / "no.log"
    words = "sbatch: error: invalid partition\nsbatch: error: submission failed"
    call = "\n    sbatch call:\n        sbatch -p x\n"
    for jobid, rule in ((7, "probe_device"), (8, "resolve_hardware")):
        alone = job_error(jobid, log)
        alone.rule_name = rule
        alone.rule_msg = f"SLURM sbatch failed. The error message was '{words}'.{call}"
        shown.emit(alone)
    assert capsys.readouterr().err.splitlines() == [
        "probe_device failed",
        "    sbatch: error: invalid partition",
        "    sbatch: error: submission failed",
        f"log: {os.path.relpath(log)}",
        "resolve_hardware failed",
        f"log: {os.path.relpath(log)}",
    ]


def test_a_batch_that_is_tried_again_may_fail_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 1)
    for number in ("6", "7"):
        shown.emit(job_info(0, repeat="0"))
        for what in batch_error(jobs, tmp_path / "no.log", external_jobid=number):
            shown.emit(what)
    assert capsys.readouterr().err.splitlines() == [
        line
        for number in ("6", "7")
        for line in (
            f"allocation failed: Slurm job {number} (1 of 1 run not made)",
            f"    it logged nothing; `scontrol show job {number}` or `sacct -j {number}` shows its "
            "state",
        )
    ]


def test_show_failed_logs_shows_the_whole_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("one\ntwo\nthree\nfour\nmfuscope: five\n")
    shown = handler(show_failed_logs=True)
    shown.emit(job_info(1))
    shown.emit(job_error(1, log))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:6] == ["one", "two", "three", "four", "mfuscope: five"]


def test_jobs_that_ctrl_c_ends_have_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(job_info(1))
    shown.emit(job_info(2))
    shown.emit(failed_command("'x' died with <Signals.SIGINT: 2>."))
    shown.emit(job_error(1, Path("no.log")))
    shown.emit(record("Terminating processes on user request, this might take some time."))
    shown.emit(failed_command("'x' returned non-zero exit status 1."))
    shown.emit(job_error(2, Path("no.log")))
    final = "WorkflowError:\nAt least one job did not complete successfully."
    shown.emit(record(final, logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err.splitlines() == [
        "mfuscope: stopping ...",
        f"mfuscope: stopped; finished results are kept. {messages.RERUN}",
    ]


def test_a_failed_command_that_no_job_claims_is_shown_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = handler()
    shown.emit(failed_command("'conda' returned non-zero exit status 1."))
    assert capsys.readouterr().err == ""
    shown.emit(failed_command("'tar' returned non-zero exit status 2."))
    assert "Command 'conda' returned non-zero exit status 1." in capsys.readouterr().err
    shown.close()
    assert "Command 'tar' returned non-zero exit status 2." in capsys.readouterr().err


def test_control_characters_in_a_failed_jobs_log_are_escaped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, log = handler(), tmp_path / "log\x1b[31m"
    shown.emit(job_info(1, image="page\x1b[31m.png"))
    log.write_text("mfuscope: cannot read page\x1b[31m.png\n")
    shown.emit(failed_command("'x' returned non-zero exit status 1."))
    shown.emit(job_error(1, log))
    seen = capsys.readouterr().err
    assert seen.count("\\x1b[31m") == 3
    assert "\x1b" not in seen
