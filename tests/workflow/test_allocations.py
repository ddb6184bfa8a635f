"""Why an allocation of a cluster failed, from Slurm's lines in its log."""

from pathlib import Path

import pytest

from mfuscope.workflow.allocations import failure_reason, last_words, slurm_state

CANCELLED = "slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-01-01T10:00:00 ***"
OVERDUE = f"{CANCELLED[:-4]} DUE TO TIME LIMIT ***"
PREEMPTED = f"{CANCELLED[:-4]} DUE TO PREEMPTION ***"
NODE = f"{CANCELLED[:-4]} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***"
OOM = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=6.0. Some of your processes ..."
TASK_OOM = "srun: error: n1: task 0: Out Of Memory"


@pytest.mark.parametrize(
    ("lines", "words", "state", "reason"),
    [
        (
            [CANCELLED, "Will exit after finishing currently running jobs."],
            CANCELLED,
            "CANCELLED",
            "its allocation was cancelled",
        ),
        (
            [OVERDUE, CANCELLED, "srun: error: n1: task 0: Terminated"],
            OVERDUE,
            "TIMEOUT",
            "its allocation ran out of time",
        ),
        (
            [OOM, CANCELLED, "srun: error: n1: task 0: Exited with exit code 1"],
            OOM,
            "OUT_OF_MEMORY",
            "its allocation ran out of memory",
        ),
        ([TASK_OOM], TASK_OOM, "OUT_OF_MEMORY", "its allocation ran out of memory"),
        ([NODE, CANCELLED], NODE, "NODE_FAIL", "the node of its allocation failed"),
        ([CANCELLED, PREEMPTED], PREEMPTED, "PREEMPTED", "its allocation was preempted"),
        (
            ["RuntimeError: CUDA out of memory", "srun: error: n1: task 0: Exited"],
            None,
            None,
            "its allocation failed",
        ),
        ([], None, None, "its allocation failed"),
    ],
)
def test_slurms_line_in_the_log(
    lines: list[str], words: str | None, state: str | None, reason: str, tmp_path: Path
) -> None:
    log = tmp_path / "6.log"
    assert last_words(log) is None
    assert failure_reason(log) == "its allocation failed"
    log.write_text("".join(f"{line}\n" for line in lines))
    assert last_words(log) == words
    assert slurm_state(words) == state
    assert failure_reason(log) == reason
