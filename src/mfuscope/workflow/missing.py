"""What a report can be made of where something failed: which runs it lacks, and why.

The workflow then calls itself for the tables and reports alone, with a list of the runs to do
without (workflow/rules/rest.smk).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mfuscope.core.records import MissingRun
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import read_json

#: Environment variable with the list's path.
VARIABLE = "MFUSCOPE_MISSING_RUNS"
_PREFIX = "mfuscope: "
_LOG_TAIL = 20_000  # bytes
_STOPPED = "the workflow ended before it"


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job that has not made its results.

    Attributes:
        wildcards: variant and resolution of a calibration; variant, image and repeat of a run.
        log: its log if it failed, None if it never started.
        allocation: why its allocation of a cluster failed, if it did.
    """

    wildcards: Mapping[str, str]
    log: Path | None
    allocation: str | None = None

    @property
    def reason(self) -> str:
        """Why it has not made its results."""
        if self.log is None:
            return self.allocation or _STOPPED
        return failure_reason(self.log, self.allocation)


def missing_runs(
    wanted: Iterable[RunKey], jobs: Iterable[OpenJob], resolution: Callable[[str, str], str]
) -> list[MissingRun]:
    """The wanted runs that cannot be in a report, each with the reason.

    Args:
        jobs: those of calibrations, runs and their traces that are open.
        resolution: of a variant's page: a run needs the calibration of its resolution.
    """
    reasons: dict[tuple[str, ...], str] = {}
    for job in jobs:
        names = job.wildcards
        key: tuple[str, ...] = (
            (names["variant"], names["resolution"])
            if "resolution" in names
            else (names["variant"], names["image"], names["repeat"])
        )
        # A failure says more than the jobs that could not start after it.
        if job.log is not None or key not in reasons:
            reasons[key] = job.reason
    found = []
    for run in wanted:
        own = reasons.get((run.variant, run.image, str(run.repeat)))
        at = resolution(run.variant, run.image)
        calibration = reasons.get((run.variant, at))
        if own is None and calibration is not None:
            own = f"its FLOPs at {at} were not counted: {calibration}"
        if own is not None:
            found.append(MissingRun(**run._asdict(), reason=own))
    return found


def failure_reason(log: Path, allocation: str | None = None) -> str:
    """The last words of a failed job in its log, on one line.

    Args:
        allocation: why its allocation failed. Only a job that says that it failed, did so itself.
    """
    try:
        content = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")
    except OSError as error:
        unreadable = f"it failed, and its log cannot be read ({error.strerror or error})"
        return allocation or unreadable
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(_PREFIX)]
    if allocation and not told:
        return allocation
    if not lines:
        return "it ended without a word: it was killed"
    return (told or lines)[-1].removeprefix(_PREFIX)


def listed_missing(environment: Mapping[str, str]) -> list[MissingRun]:
    """The runs that this call does without."""
    path = environment.get(VARIABLE)
    return read_json(Path(path), list[MissingRun]) if path else []
