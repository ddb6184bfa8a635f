"""The lines of the terminal output: pure functions, independent of Snakemake's objects."""

import math
import re
import shlex
import signal
import textwrap
from collections.abc import Mapping, Sequence
from statistics import fmean

from mfuscope.workflow.outcome import RunTimes
from mfuscope.workflow.outlook import Outlook
from mfuscope.workflow.words import amount, counted, rough_duration

PREFIX = "mfuscope: "
RERUN = "Run the same command again to make only what is missing."

#: Snakemake drops sbatch's message on a refused batch: no log has it, nor --verbose.
REFUSED_HINT = (
    "Snakemake keeps no reason for a batch. Remedy: call again with --verbose and run the command "
    "after `sbatch call:` with --test-only: Slurm then prints the reason."
)

# What Snakemake's errors mean here.
_MEANINGS = {
    # Calls outside of the profile alone: it switches Snakemake's lock off (`nolock`).
    "Directory cannot be locked": "another call is making these results. Remedy: wait until it has "
    "ended, then run the same command again (if none runs, after `snakemake --unlock`).",
    "Write-protected output files": "results that must be made again are write-protected, or "
    "another call removed them meanwhile. Remedy: give yourself write permission for them "
    "(chmod -R u+w results) or mount their disk for writing, then run the same command again.",
    "No space left on device": "the disk is full. Remedy: free space for results, logs and "
    ".snakemake, then run the same command again.",
}
# Snakemake rejects outputs older than an input, even if the input is `ancient()`.
_OLDER = re.compile(
    r"Output (?P<output>.+) has older modification time .*? than input (?P<input>.+) \(\d{4}-"
)
# A page that somebody removes in mid-call: Snakemake ends the call before the job that reads it.
_MISSING = re.compile(
    r"(?s)Missing files after \S+ seconds\..*?--latency-wait:\n"
    r"(?P<files>\S[^\n]*(?:\n\S[^\n]*)*)"
)
_OWN_LINE = re.compile(r"^\s*(?:\w+: )?(?=mfuscope: )")
_SUBMITTED = re.compile(
    r"Job \S+ has been submitted with SLURM jobid (\S+) \(log: .*/(?:rule_([^/]+)|group_([^_/]+))"
)
_CLOSING = "For further error details see the cluster/cloud log"  # Snakemake's, at the end
_REFUSED = re.compile(r"The error message was '(.*?)'\.\n +sbatch call:", re.DOTALL)
_BROKEN = re.compile(r"Job submission failed with exception: (.*)", re.DOTALL)
# Blanks that a line is not folded at; no line has the other one, which is not printable.
_GLUE = "\N{NO-BREAK SPACE}"
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=[^\W\d]|%)")
_WITHIN_RUN = re.compile(r"(?<!,) ")
_TRACEBACK = ('  File "', "Wildcards:", "Traceback:")
# Such names do no harm: paths of results use the pages' ids.
_IDLE_WARNING = re.compile(
    r"File path '.*' (starts with whitespace|ends with whitespace|contains line break)\.", re.DOTALL
)
_TARGETS = ("all", "flops", "total")  # rules that only request files, and the sum
RUN_RULES = ("profile", "profile_again")  # the latter where only first traces are kept
_NAMES = {**dict.fromkeys(RUN_RULES, "run"), "calibrate": "calibration"}
# Rules of a batch, what they make, and the verb. The first with a job missing is counted.
_BATCHED = (
    (RUN_RULES, "run", "made"),
    (("calibrate",), "calibration", "made"),
    (("read_operators",), "trace", "read"),
)


def seconds_left(remaining: int, recent: Sequence[float], parallel: int) -> float:
    """Time in seconds for the remaining runs, if each takes as long as the recent ones did.

    Args:
        remaining: runs that have not ended, running ones included.
        recent: durations of the last few runs in seconds, at least one.
        parallel: how many runs run at the same time.
    """
    return math.ceil(remaining / max(1, parallel)) * fmean(recent)


def run_total(stats: Mapping[str, int]) -> int:
    """Number of runs to measure."""
    return sum(stats.get(rule, 0) for rule in RUN_RULES)


def job_total(stats: Mapping[str, int]) -> int:
    """Number of jobs, without those of target rules."""
    return sum(count for rule, count in stats.items() if rule not in _TARGETS)


def job_label(wildcards: Mapping[str, str], outlook: Outlook | None = None) -> str:
    """The name of a job's run, calibration or other wildcards; empty without wildcards.

    The only variant needs no name, and the only repeat no number. Repeats are counted from 1.
    """
    known = dict(wildcards)
    variant = known.get("variant", "")
    if outlook is not None and len(outlook.variants) == 1:
        variant = ""
    if {"variant", "image", "repeat"} <= known.keys():
        number = int(known["repeat"]) + 1
        of = f" of {outlook.repeats}" if outlook is not None and number <= outlook.repeats else ""
        repeat = "" if of == " of 1" else f"repeat {number}{of}"
        return ", ".join(filter(None, (known["image"], variant, repeat)))
    if {"variant", "resolution"} <= known.keys():
        return f"{variant} at {known['resolution']}".strip()
    return ", ".join(f"{name} {value}" for name, value in known.items())


def start_line(
    rule: str, wildcards: Mapping[str, str], outlook: Outlook | None = None
) -> str | None:
    """The line for a job that begins, if it takes long; None for all other jobs."""
    if rule == "calibrate":
        return f"calibrating {job_label(wildcards, outlook)} ..."
    return "probing the device ..." if rule == "probe_device" else None


def run_line(done: int, total: int, label: str, times: RunTimes | None, left: float | None) -> str:
    """The line for a finished run.

    Args:
        times: None where its record cannot be read.
        left: the estimated time left in seconds, None where not known.
    """
    parts = []
    if times is not None:
        parts.append(f"prefill {amount(times.prefill_ms)} ms")
        if times.tokens_per_s is not None:
            parts.append(f"{amount(times.tokens_per_s)} tokens/s")
    if left is not None:
        parts.append(f"{rough_duration(left)} left")
    counter = f"[{done:>{len(str(total))}}/{total}]"
    return f"{counter} {label}: {', '.join(parts)}" if parts else f"{counter} {label}"


def submission_line(message: str) -> str | None:
    """The line for a submitted allocation, from the Slurm executor's message on it."""
    if match := _SUBMITTED.match(message):
        return f"submitted Slurm job {match[1]}: {match[2] or match[3]}"
    return None


def failure_line(rule: str, wildcards: Mapping[str, str], outlook: Outlook | None = None) -> str:
    """The first line about a failed job."""
    label = job_label(wildcards, outlook)
    return f"{_NAMES.get(rule, rule)} failed" + (f": {label}" if label else "")


def allocation_line(
    number: str | None, state: str | None, missing: Sequence[str], batch: Sequence[str]
) -> str:
    """The first line about a failed batch, from the rules of its jobs.

    Args:
        number: Slurm's job id; None if the batch was not submitted.
        state: Slurm's, None where not known.
        missing: rules of the jobs that lack their results.
        batch: rules of all jobs.
    """
    kind = next((kind for kind in _BATCHED if set(kind[0]) & set(missing)), None)
    rules, noun, verb = kind or (set(batch), "job", "done")
    lacking, total = (sum(rule in rules for rule in jobs) for jobs in (missing, batch))
    unread = missing.count("read_operators") - lacking if noun == "run" else 0
    count = f"({lacking} of {counted(total, noun)} not {verb}"
    count += f", {unread} not read)" if unread > 0 else ")"
    if number is None:
        return f"allocation refused {count}"
    known = f", {state}" if state else ""
    return f"allocation failed: Slurm job {number}{known} {count}"


def executor_reason(message: str) -> str:
    """Why a job was not submitted, or failed on a cluster, from the executor's message on it."""
    own, _, _ = message.partition(_CLOSING)
    match = _REFUSED.search(own) or _BROKEN.search(own)
    return (match[1] if match else own).strip()


def says_why(log: str) -> bool:
    """Whether a job's log has one of our error messages."""
    return any(line.startswith(PREFIX) for line in log.splitlines())


def log_excerpt(log: str) -> list[str]:
    """The lines of a failed job's log to show: our error messages, else the last three lines."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip(" \t\r^~")]
    own = [line for line in lines if line.startswith(PREFIX)]
    return list(dict.fromkeys(own)) or [f"    {line}" for line in lines[-3:]]


def error_text(message: str) -> str:
    """An error of Snakemake or the Snakefile: its known meaning, else the whole message."""
    return meaning(message) or PREFIX + message.rstrip()


def meaning(message: str) -> str | None:
    """Our own error inside a message, the meaning of Snakemake's, or a traceback's last line."""
    lines = message.rstrip().splitlines()
    for index, line in enumerate(lines):
        if match := _OWN_LINE.match(line):
            rest = lines[index + 1 :]
            end = next((i for i, text in enumerate(rest) if text.startswith(_TRACEBACK)), None)
            return "\n".join([line[match.end() :], *rest[:end]]).rstrip()
    if match := _OLDER.search(message):
        return (
            f"{PREFIX}{match['output']} was made, but {match['input']} is dated later: in the "
            "future, or before the clock was set back. Remedy: "
            f"`touch {shlex.quote(match['input'])}` and run the same command again."
        )
    # The files of a job that left none have their own error.
    of_job = "MissingOutputException" in message
    if not of_job and (match := _MISSING.search(message)):
        files = ", ".join(match["files"].split("\n"))
        return (
            f"{PREFIX}files are gone that jobs of this call read: {files}. Remedy: run the same "
            "command again; finished results are kept."
        )
    for sign, words in _MEANINGS.items():
        if sign in message:
            return PREFIX + words
    if lines and "Traceback (most recent call last):" in lines[0]:
        last = next(line for line in reversed(lines) if line[:1].strip())
        return f"{PREFIX}{last} (--verbose shows where)"
    return None


def is_idle_warning(message: str) -> bool:
    """Whether a warning is about a file name that does no harm here."""
    return _IDLE_WARNING.match(message) is not None


def stop_signal(message: str) -> str | None:
    """The signal that ended a job's command, e.g. ``SIGKILL``, from Snakemake's message."""
    if match := re.search(r"died with <Signals\.(SIG\w+)", message):
        return match[1]
    if match := re.search(r"non-zero exit status (\d+)", message):
        number = int(match[1]) - 128
        if number in set(signal.Signals):
            return signal.Signals(number).name
    return None


def end_line(failed: int, total: int | None) -> str:
    """The last line after failures; ``total`` is the number of jobs, where known."""
    count = f"{failed} of {counted(total, 'job')}" if total else counted(failed, "job")
    return f"{PREFIX}{count} failed; finished results are kept. {RERUN}"


def folded(line: str, width: int) -> str:
    """A line in several, indented after the first; one with a command stays whole, for copying.

    Numbers stay with their units, and what the line of a run says stays together.
    """
    if len(line) <= width or "`" in line or "\n" in line:
        return line
    glued = (_WITHIN_RUN if line.startswith("[") else _BEFORE_UNIT).sub(_GLUE, line)
    return textwrap.fill(
        glued, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    ).replace(_GLUE, " ")
