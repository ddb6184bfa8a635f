"""Which runs lack a current result, and why, as the results tell."""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.runs import RunKey
from mfuscope.planning.parameters import run_parameters
from mfuscope.planning.plan import Plan
from mfuscope.provenance.facts import Provenance, differences, read_provenance
from mfuscope.provenance.remeasure import shown
from mfuscope.storage.paths import RunPaths
from mfuscope.workflow.outlook import Cause, Outlook, Reason

_VALUE: Final = 24  # characters of a setting's value that are shown


def outlook(plan: Plan, results: Path, unreadable: int = 0) -> Outlook:
    """The outlook of a call; reads the record of every run that has one."""
    return Outlook(
        pages=len(plan.pages),
        repeats=plan.settings.repeats,
        variants=tuple(plan.variants),
        results=results,
        due=due_runs(plan, results),
        unreadable=unreadable,
    )


def due_runs(plan: Plan, results: Path) -> dict[RunKey, tuple[Reason, ...]]:
    """The runs without a current result, and why."""
    parameters = {variant: run_parameters(plan, variant) for variant in plan.variants}
    due: dict[RunKey, tuple[Reason, ...]] = {}
    lacking, recorded = [], False
    for run in plan.runs():
        paths = RunPaths.of(results, run)
        try:
            record = read_provenance(paths.record)
        except FileNotFoundError:
            lacking.append(run)
            continue
        except InvalidFileError:
            due[run] = (Reason(Cause.DAMAGED, run.image),)
            recorded = True
            continue
        recorded = True
        changed = differences(record, parameters[run.variant], plan.digest(run.image))
        if reasons := _of_changes(record, plan.device, changed):
            due[run] = reasons
        elif not paths.activity.is_file() and not paths.trace.is_file():
            due[run] = (Reason(Cause.REMOVED, run.image),)
    if lacking:
        reported = {
            RunKey(row["variant"], row["image"], int(row["repeat"]))
            for row in _rows(results / "metrics.csv", ("variant", "image", "repeat"))
        }
        listed = {row["image"] for row in _rows(results / "inputs.csv", ("image",))}
        first = not recorded and not reported
        for run in lacking:
            reason = Reason(Cause.FIRST) if first else _of_absence(run, plan, reported, listed)
            due[run] = (reason,)
    return {run: due[run] for run in plan.runs() if run in due}


def _of_changes(
    record: Provenance, device: str, changed: Mapping[str, tuple[str, str]]
) -> tuple[Reason, ...]:
    kind = device.partition(":")[0]
    reasons = []
    if record.device.kind != kind:
        reasons.append(Reason(Cause.DEVICE, f"{record.device.kind} → {kind}"))
    for name, (then, now) in changed.items():
        if name == "page content":
            reasons.append(Reason(Cause.CHANGED, record.image))
        elif name == "measurement protocol":
            reasons.append(Reason(Cause.PROTOCOL))
        elif name != "model files":
            reasons.append(Reason(Cause.SETTINGS, f"{name} {_value(then)} → {_value(now)}"))
        elif "model" not in changed:  # another model has other files
            reasons.append(Reason(Cause.MODEL))
    return tuple(reasons)


def _of_absence(
    run: RunKey, plan: Plan, reported: Collection[RunKey], listed: Collection[str]
) -> Reason:
    """Why a run has no record, by what the last report has and which pages the last call had."""
    if run in reported:
        return Reason(Cause.REMOVED, run.image)
    if reported and run.variant not in {one.variant for one in reported}:
        return Reason(Cause.VARIANT, run.variant)
    if listed and run.image not in listed:
        return Reason(Cause.NEW, run.image)
    before = max((one.repeat + 1 for one in reported), default=plan.settings.repeats)
    if run.repeat >= before:
        return Reason(Cause.REPEATS, f"{before} → {plan.settings.repeats}")
    return Reason(Cause.UNFINISHED, run.image)


def _rows(table: Path, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of a table of an earlier call; none without it, or where it is damaged."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [row for row in rows if all(row.get(column) for column in columns)]


def _value(text: str) -> str:
    text = shown(text)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"
