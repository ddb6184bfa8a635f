"""Why an allocation of a cluster failed, from Slurm's own lines in the allocation's log.

Snakemake drops the executor's message on a failed batch, so its log is the only source.
"""

import re
from pathlib import Path

_LOG_TAIL = 64 * 1024  # bytes
# Slurm's states by the lines that report them, the most specific first: Slurm also cancels what
# exceeds a limit.
_SIGNS = (
    ("OUT_OF_MEMORY", re.compile(r"\boom[-_]kill|: Out Of Memory")),
    ("TIMEOUT", re.compile(r"\*\*\* .* DUE TO TIME LIMIT .*\*\*\*")),
    ("NODE_FAIL", re.compile(r"\*\*\* .* DUE TO NODE FAILURE.*\*\*\*")),
    ("PREEMPTED", re.compile(r"\*\*\* .* DUE TO PREEMPTION .*\*\*\*")),
    ("CANCELLED", re.compile(r"\*\*\* .* (CANCELLED|TERMINATED) .*\*\*\*")),
)
_REASONS = {
    "CANCELLED": "its allocation was cancelled",
    "NODE_FAIL": "the node of its allocation failed",
    "OUT_OF_MEMORY": "its allocation ran out of memory",
    "PREEMPTED": "its allocation was preempted",
    "TIMEOUT": "its allocation ran out of time",
}


def last_words(log: Path) -> str | None:
    """The line of an allocation's log in which Slurm reports its end; None without such a line."""
    try:
        content = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    except OSError:
        return None  # the allocation never began, or its log cannot be read
    lines = content.splitlines()
    found = (line.strip() for _, sign in _SIGNS for line in reversed(lines) if sign.search(line))
    return next(found, None)


def slurm_state(words: str | None) -> str | None:
    """Slurm's state for a line that `last_words` found, e.g. ``TIMEOUT``; None where not known."""
    return next((state for state, sign in _SIGNS if words and sign.search(words)), None)


def failure_reason(log: Path) -> str:
    """Why a run has no results whose own log gives no reason, from its allocation's log."""
    return _REASONS.get(slurm_state(last_words(log)) or "", "its allocation failed")
