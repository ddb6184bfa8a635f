"""Why an allocation of a cluster failed, from the words of Slurm's executor and of Slurm."""

from pathlib import Path
from typing import Any

import pytest

from mfuscope.workflow.allocations import (
    WORDS,
    Ending,
    last_words,
    listen,
    slurm_state,
    without_call,
)

CLOSING = (
    "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
)
ENDED = "SLURM-job '6' failed, SLURM status is: '{}'. Reason: Unknown."
REFUSED = (
    "SLURM sbatch failed. The error message was 'sbatch: error: it isn't allowed\n"
    "sbatch: error: Batch job submission failed'.\n    sbatch call:\n        sbatch -t 36\n"
)


class Batch:
    """As Snakemake's GroupJob, which drops the message."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []

    def log_error(self, msg: object = None, aux_logs: object = None, **named: object) -> None:
        self.logged.append({"aux_logs": aux_logs, **named})


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (ENDED.format("TIMEOUT"), "TIMEOUT"),
        (ENDED.format("CANCELLED by 1001"), "CANCELLED"),
        (REFUSED, None),
        (CLOSING, None),
    ],
)
def test_the_state_is_slurms(message: str, state: str | None) -> None:
    assert slurm_state(message) == state


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (REFUSED, "sbatch: error: it isn't allowed\nsbatch: error: Batch job submission failed"),
        ("Job submission failed with exception: no account", "no account"),
        ("something else.", "something else."),
        ("", ""),
    ],
)
def test_a_refusal_is_told_without_the_command(message: str, words: str) -> None:
    assert without_call(message + CLOSING) == words


@pytest.mark.parametrize(
    ("number", "words", "reason"),
    [
        ("6", "CANCELLED", "its allocation was cancelled (Slurm job 6)"),
        ("6", "TIMEOUT", "its allocation ran out of time (Slurm job 6)"),
        ("6", "OUT_OF_MEMORY", "its allocation ran out of memory (Slurm job 6)"),
        ("6", "FAILED", "its allocation failed (Slurm job 6)"),
        (None, "sbatch: error: no\n  such partition", "its allocation was refused: "),
    ],
)
def test_the_reason_in_a_report(number: str | None, words: str, reason: str) -> None:
    said = Ending(number, words).reason
    assert said.startswith(reason)
    assert "\n" not in said


def test_a_failed_batch_passes_on_why() -> None:
    class Group(Batch):
        pass

    heard = listen(Group)
    listen(Group)  # the same class once more, as where two workflows run in one process
    ended, refused = Group(), Group()
    ended.log_error(ENDED.format("TIMEOUT") + CLOSING, aux_logs=["6.log"], external_jobid="6")
    refused.log_error(REFUSED + CLOSING)
    refused.log_error()
    assert heard[ended] == Ending("6", "TIMEOUT")
    assert ended.logged == [{"aux_logs": ["6.log"], "external_jobid": "6", WORDS: "TIMEOUT"}]
    assert heard[refused] == Ending(None, "")
    assert [fields[WORDS][:15] for fields in refused.logged] == ["sbatch: error: ", ""]


CANCELLED = "slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-01-01T10:00:00 ***"
OVERDUE = (
    "slurmstepd: error: *** JOB 6 ON n1 CANCELLED AT 2026-01-01T10:00:00 DUE TO TIME LIMIT ***"
)
OOM = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=6.0. Some of your processes ..."


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([CANCELLED, "Will exit after finishing currently running jobs."], CANCELLED),
        ([OVERDUE, CANCELLED, "srun: error: n1: task 0: Terminated"], OVERDUE),
        ([OOM, CANCELLED, "srun: error: n1: task 0: Exited with exit code 1"], OOM),
        (["srun: error: n1: task 0: Out Of Memory"], "srun: error: n1: task 0: Out Of Memory"),
        (["RuntimeError: CUDA out of memory", "srun: error: n1: task 0: Exited"], None),
        ([], None),
    ],
)
def test_what_slurm_says_in_the_log(lines: list[str], words: str | None, tmp_path: Path) -> None:
    log = tmp_path / "6.log"
    assert last_words(log) is None
    log.write_text("".join(f"{line}\n" for line in lines))
    assert last_words(log) == words
