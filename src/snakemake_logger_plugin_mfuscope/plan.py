"""What a call is going to do, and why: the line before it, and the last one of a dry run."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mfuscope.core.runs import RunKey
from mfuscope.core.text import one_line
from mfuscope.workflow.outlook import Cause, Outlook, Reason, in_words
from mfuscope.workflow.words import counted
from snakemake_logger_plugin_mfuscope.messages import PREFIX, RUN_RULES, job_total, run_total

# Snakemake's reasons, as the texts begin that it logs with a job; None for what only follows.
_SNAKEMAKES = {
    "Forced execution": Cause.FORCED,
    "Missing output files: ": Cause.MISSING,
    "Incomplete output files: ": Cause.MISSING,
    "Updated input files: ": Cause.INPUTS,
    "Input files updated by another job: ": None,
    "Set of input files has changed": Cause.OTHER_INPUTS,
    "Code has changed": Cause.CODE,
    "Params have changed": Cause.PARAMETERS,
    "Software environment definition has changed": Cause.SOFTWARE,
}
_REASON = re.compile(rf"(?:^|; )({'|'.join(map(re.escape, _SNAKEMAKES))})([^;]*)")
# Parameters of which only a digest of code differs (`workflow.digests`).
_DIGESTS = re.compile(r"\bbefore: '?[0-9a-f]{16}'? now: '?[0-9a-f]{16}'?\s*$")
_SHOWN = 64  # characters of a reason that is not known here
# Snakemake's own advice on jobs whose parameters or code changed, which would keep old results.
_HARMFUL = (
    "Some jobs were triggered by provenance information",
    "Rules with provenance triggered jobs",
)


def is_harmful_advice(message: str) -> bool:
    """Whether a message of Snakemake's says how to keep results of other settings."""
    return message.startswith(_HARMFUL)


@dataclass
class Announced:
    """The jobs that a dry run announces, with Snakemake's reasons."""

    runs: dict[RunKey, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def add(self, job: Mapping[str, Any]) -> None:
        """Note a job: the fields of a JOB_INFO record."""
        if job["rule_name"] in RUN_RULES:
            names = job["wildcards"]
            key = RunKey(names["variant"], names["image"], int(names["repeat"]))
            self.runs[key] = job["reason"]
        else:
            self.others.append(job["reason"])


def plan_line(
    stats: Mapping[str, int], outlook: Outlook | None, announced: Announced | None = None
) -> str:
    """What is going to be measured, and why.

    Args:
        stats: number of jobs by rule.
        outlook: the call's; None before it has one.
        announced: the jobs one by one, where Snakemake has announced them.
    """
    runs, calibrations = run_total(stats), stats.get("calibrate", 0)
    others = job_total(stats) - runs - calibrations
    besides = [counted(calibrations, "calibration")] if calibrations else []
    besides += [counted(others, "other job")] if others else []
    why = ""
    if runs and outlook is not None:
        why = _why(runs, outlook, announced)
    elif announced is not None:
        why = in_words(_causes(announced.others))
    head = f"{counted(runs, 'run')} to measure" if runs else "no run to measure"
    if outlook is not None and runs == outlook.runs and runs:
        head += f" ({_product(outlook)})"
    if runs:
        parts = [f"{head}: {why}" if why else head, ", ".join(besides)]
    else:
        parts = [head, f"{', '.join(besides)}: {why}" if why and besides else ", ".join(besides)]
    return PREFIX + "; ".join(filter(None, parts))


def unreadable_line(outlook: Outlook) -> str:
    """What would be measured, were it not for pages that cannot be read."""
    due = len(outlook.due)
    pages = counted(outlook.unreadable, "page")
    head = f"{counted(due, 'run')} to measure" if due else "no run to measure"
    why = f": {in_words(_reasons(outlook))}" if due else ""
    return f"{PREFIX}{head}{why}; {pages} cannot be read: the call will stop"


def idle_lines(outlook: Outlook | None) -> list[str]:
    """The lines of a call that has nothing to do."""
    line = "Nothing to do: every result is up to date"
    if outlook is None:
        return [f"{line}."]
    if outlook.outdated_note:
        line = "Nothing to do, as Snakemake sees it"
    report = outlook.results / "report.html"
    lines = [f"{line}; report: {report}" if report.is_file() else f"{line}."]
    return lines + ([PREFIX + outlook.outdated_note] if outlook.outdated_note else [])


def _why(runs: int, outlook: Outlook, announced: Announced | None) -> str:
    due = len(outlook.due)
    if announced is not None and len(announced.runs) == runs:
        reasons: list[Reason] = []
        for key, said in announced.runs.items():
            reasons += outlook.due.get(key) or _causes([said], key)
        return in_words(reasons)
    if runs < due:
        return f"{due} lack a current result"
    known = in_words(_reasons(outlook))
    if runs == due:
        return known
    other = f"{runs - due} for another reason (`snakemake -n` names it)"
    return f"{known}, {other}" if known else other


def _reasons(outlook: Outlook) -> list[Reason]:
    return [reason for why in outlook.due.values() for reason in why]


def _product(outlook: Outlook) -> str:
    parts = [counted(outlook.pages, "page"), counted(outlook.repeats, "repeat")]
    if len(outlook.variants) > 1:
        parts.append(f"{len(outlook.variants)} variants")
    return " × ".join(parts)


def _causes(said: Iterable[str], run: RunKey | None = None) -> Sequence[Reason]:
    """Snakemake's reasons as ours; those that only follow from another job's are left out."""
    reasons = []
    for text in said:
        found = list(_REASON.finditer(text))
        if not found and text:
            reasons.append(Reason(Cause.OTHER, one_line(text)[:_SHOWN]))
        for match in found:
            cause = _SNAKEMAKES[match[1]]
            if cause is Cause.PARAMETERS and _DIGESTS.search(match[2]):
                cause = Cause.CODE
            if cause is Cause.MISSING and run is not None:
                reasons.append(Reason(Cause.REMOVED, run.image))
            elif cause in (Cause.MISSING, Cause.INPUTS):
                reasons += [Reason(cause, name) for name in match[2].split(", ")]
            elif cause is not None:
                reasons.append(Reason(cause))
    return reasons
