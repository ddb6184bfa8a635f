"""Why an allocation of a cluster failed: what Snakemake's executor for Slurm says, and Slurm's log.

Of a batch, Snakemake's GroupJob.log_error passes on which jobs failed, and drops the executor's
words on why. `listen` keeps them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["WORDS", "Ending", "last_words", "listen", "slurm_state", "without_call"]

#: What GROUP_ERROR records hold beyond what Snakemake puts there: the executor's words.
WORDS = "executor_says"
_LOG_TAIL = 64 * 1024  # bytes
_CLOSING = "For further error details see the cluster/cloud log"  # Snakemake's, after any words
_STATE = re.compile(r"SLURM status is: '(\w+)")
_REFUSED = re.compile(r"The error message was '(.*?)'\.\n +sbatch call:", re.DOTALL)
_BROKEN = re.compile(r"Job submission failed with exception: (.*)", re.DOTALL)
# From what says most to what says least; cancelling is how Slurm enforces limits, too.
_TELLING = (
    re.compile(r"\boom[-_]kill|: Out Of Memory"),
    re.compile(r"\*\*\* .* DUE TO .*\*\*\*"),
    re.compile(r"\*\*\* .* (CANCELLED|TERMINATED) .*\*\*\*"),
)
_REASONS = {
    "CANCELLED": "its allocation was cancelled",
    "DEADLINE": "its allocation ran out of time",
    "NODE_FAIL": "the node of its allocation failed",
    "OUT_OF_MEMORY": "its allocation ran out of memory",
    "TIMEOUT": "its allocation ran out of time",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How an allocation failed.

    Attributes:
        number: the cluster's, absent where it refused the allocation.
        words: the executor's: a state of Slurm, or why there is no allocation.
    """

    number: str | None
    words: str

    @property
    def reason(self) -> str:
        """Why a run that says nothing itself was not made."""
        if self.number is None:
            return f"its allocation was refused: {' '.join(self.words.split())}"
        told = _REASONS.get(self.words, "its allocation failed")
        return f"{told} (Slurm job {self.number})"


def listen(group: Any) -> Mapping[Any, Ending]:
    """Have failed batches keep why, for records of GROUP_ERROR and for the caller.

    Args:
        group: Snakemake's class GroupJob.

    Returns:
        The last failure of every batch that has failed, filled as they do.
    """
    heard: dict[Any, Ending] = {}
    original = group.log_error

    def log_error(
        batch: Any, msg: str | None = None, aux_logs: Sequence[str] | None = None, **named: Any
    ) -> None:
        words = slurm_state(msg or "") or without_call(msg or "")
        heard[batch] = Ending(named.get("external_jobid"), words)
        original(batch, msg, aux_logs, **named | {WORDS: words})

    group.log_error = log_error
    return heard


def slurm_state(message: str) -> str | None:
    """The state that Slurm's executor names in its message on a failed job, e.g. ``TIMEOUT``."""
    match = _STATE.search(message)
    return match[1] if match else None


def without_call(message: str) -> str:
    """An executor's message less the command that it submits: of a refusal, sbatch's own words."""
    own, _, _ = message.partition(_CLOSING)
    match = _REFUSED.search(own) or _BROKEN.search(own)
    return (match[1] if match else own).strip()


def last_words(log: Path) -> str | None:
    """The line of an allocation's log in which Slurm says why it ended, if there is one."""
    try:
        content = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    except OSError:
        return None  # it never began
    lines = content.splitlines()
    found = (line.strip() for sign in _TELLING for line in reversed(lines) if sign.search(line))
    return next(found, None)
