"""Which runs a report lacks after failures, and why: judged from result files and job logs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import MissingRun
from mfuscope.core.runs import RunKey
from mfuscope.planning.parameters import run_parameters
from mfuscope.planning.plan import Plan
from mfuscope.provenance.facts import matches, read_provenance
from mfuscope.storage.paths import RunPaths, calibration_path
from mfuscope.workflow import allocations

LOGS: Final = Path("logs")
#: Where Slurm's executor keeps the logs of allocations that failed.
ALLOCATION_LOGS: Final = Path(".snakemake/slurm_logs")
_PREFIX: Final = "mfuscope: "
_LOG_TAIL: Final = 20_000  # bytes
_COMMAND_BYTES: Final = 200_000  # an allocation's command names its jobs; it is at the beginning
_STOPPED: Final = "the workflow ended before it"


def is_current(plan: Plan, results: Path, run: RunKey) -> bool:
    """Whether a run's record is there and measures what is asked for now."""
    record = RunPaths.of(results, run).record
    if not record.is_file():
        return False
    try:
        measured = read_provenance(record)
    except InvalidFileError:
        return False
    return matches(measured, run_parameters(plan, run.variant), plan.digest(run.image))


def missing_runs(plan: Plan, results: Path, since: float) -> list[MissingRun]:
    """The runs that cannot be in a report, each with the reason.

    Args:
        since: Unix time; the logs of earlier calls give no reason.
    """
    found = []
    for run in plan.runs():
        reason = next(_reasons(plan, results, run, since), None)
        if reason is not None:
            found.append(
                MissingRun(variant=run.variant, image=run.image, repeat=run.repeat, reason=reason)
            )
    return found


def _reasons(plan: Plan, results: Path, run: RunKey, since: float) -> Iterator[str]:
    """Why a run cannot be in a report; nothing if it can."""
    paths, logs = RunPaths.of(results, run), LOGS / run.variant
    own = f"{run.image}/{run.repeat}.log"
    job = f"variant={run.variant},image={run.image},repeat={run.repeat}"
    if not is_current(plan, results, run):
        yield failure_reason(logs / "runs" / own, job, since)
    if not all(path.is_file() for path in (paths.operators, paths.kernels, paths.activity)):
        yield failure_reason(logs / "operators" / own, job, since)
    calibration = plan.calibration(run)
    if not calibration_path(results, calibration).is_file():
        at = calibration.resolution
        job = f"variant={run.variant},resolution={at}"
        reason = failure_reason(logs / "calibration" / f"{at}.log", job, since)
        yield f"its FLOPs at {at} were not counted: {reason}"


def failure_reason(log: Path, job: str, since: float) -> str:
    """Why a job made no result: the last line in its log, or how its allocation ended.

    Args:
        job: its wildcards, as Snakemake names jobs in the command of an allocation.
        since: Unix time; the logs of earlier calls give no reason.
    """
    lines: list[str] | None = None
    try:
        if log.stat().st_mtime >= since:
            content = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
            lines = [line.strip() for line in content.splitlines() if line.strip()]
    except FileNotFoundError:
        pass  # the job never began
    except OSError as error:
        return f"it failed, and its log cannot be read ({error.strerror or error})"
    reported = [line for line in lines or () if line.startswith(_PREFIX)]
    if not reported and (allocation := _allocation_reason(job, since)):
        return allocation
    if lines is None:
        return _STOPPED
    if not lines:
        return "it ended without a message: it was killed"
    return (reported or lines)[-1].removeprefix(_PREFIX)


def _allocation_reason(job: str, since: float) -> str | None:
    """How the allocation of a job ended, from the log that the executor keeps of failed ones."""
    names_job = re.compile(rf":{re.escape(job)}\s".encode())
    for log in ALLOCATION_LOGS.rglob("*.log"):
        if log.stat().st_mtime >= since and names_job.search(log.read_bytes()[:_COMMAND_BYTES]):
            return f"{allocations.failure_reason(log)} (Slurm job {log.stem})"
    return None
