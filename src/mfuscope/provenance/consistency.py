"""Runs that must not be averaged together, and which of them to measure again.

A run must be a measurement of what is asked for now: its settings, model files and page. All runs
must come from one device and the same software, those of one variant with the same precision,
weights and expert layers. Where they do not, the ones measured last are kept: what is measured next
most likely fits them. ceiling.json counts as measured, too. docs/measurement.md has which facts are
compared, and why others are not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mfuscope.core.errors import InconsistentRunsError, InvalidFileError
from mfuscope.core.records import Ceiling, Device
from mfuscope.provenance.facts import (
    Facts,
    Provenance,
    conditions,
    describe_device,
    differences,
    model_facts,
)
from mfuscope.provenance.remeasure import count, in_words, removal_command, run_names, shown
from mfuscope.storage.paths import CEILING, HARDWARE, RunPaths

_NAMED: Final = 10  # groups that are named


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are alike in some facts.

    Attributes:
        how: the facts in which they differ from others, or from what is asked for, in words.
    """

    how: str
    runs: Sequence[Provenance]


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """What must not be averaged or compared.

    Attributes:
        groups: which runs differ, and in what.
        again: the runs to measure again, so that all are consistent.
        ceiling_differs: whether ceiling.json is of another device than the runs.
        ceiling_again: whether the device is to be measured again, too.
    """

    groups: Sequence[Group]
    again: Sequence[Provenance]
    ceiling_differs: bool
    ceiling_again: bool


def check_consistent(
    runs: Iterable[Provenance],
    *,
    ceiling: Ceiling,
    hardware: Device,
    settings: Mapping[str, Mapping[str, Any]],
    pages: Mapping[str, str],
    results: Path,
    listing: Path,
) -> None:
    """Check that runs may be averaged, and compared with what was measured of the device.

    Args:
        ceiling: ceiling.json.
        hardware: the device of hardware.json.
        settings: what is asked for, by variant (`planning.parameters.run_parameters`).
        pages: SHA-256 of the pages as they are now, by image.
        results: the folder that holds the records, for the command that removes some.
        listing: lists the records of runs to measure again, where they are many.

    Raises:
        InconsistentRunsError: in a few lines, what differs and what to measure again.
        InvalidFileError: hardware.json is of another device than ceiling.json, or inputs.csv lacks
            a page.
    """
    device = describe_device(ceiling.device)
    if describe_device(hardware) != device:
        raise InvalidFileError(
            results / HARDWARE,
            f"is of another device, {describe_device(hardware)}, than {CEILING}, {device}",
        )
    runs = list(runs)
    if lacking := sorted({run.image for run in runs} - pages.keys()):
        raise InvalidFileError(results / "inputs.csv", f"lacks the page {shown(lacking[0])}")
    if found := find_inconsistency(runs, ceiling=ceiling, settings=settings, pages=pages):
        raise InconsistentRunsError("\n".join(_message(found, device, results, listing)))


def find_inconsistency(
    runs: Sequence[Provenance],
    *,
    ceiling: Ceiling,
    settings: Mapping[str, Mapping[str, Any]],
    pages: Mapping[str, str],
) -> Inconsistency | None:
    """What is inconsistent; None where nothing is. Arguments as of `check_consistent`."""
    groups, current = _outdated(runs, settings, pages)
    by_conditions = _grouped(current, conditions)
    kept = by_conditions[0] if by_conditions else []
    device = describe_device(ceiling.device)
    devices = {describe_device(run.device) for run in current}
    stale = bool(kept) and describe_device(kept[0].device) != device
    if stale and ceiling.measured_at > _last(kept):  # then the device changed since
        stale = False
        fitting = [group for group in by_conditions if describe_device(group[0].device) == device]
        kept = fitting[0] if fitting else []
    if len(by_conditions) > 1:
        groups += _described(by_conditions, conditions, kept)
    elif devices - {device}:
        groups.append(Group(in_words({"device": describe_device(current[0].device)}), current))
    fits: list[Provenance] = []
    for variant in dict.fromkeys(run.variant for run in kept):
        alike = _grouped([run for run in kept if run.variant == variant], model_facts)
        fits += alike[0]
        if len(alike) > 1:
            groups += _described(alike, model_facts, alike[0])
    if not groups:
        return None
    keys = {run.key for run in fits}
    again = [run for run in runs if run.key not in keys]
    unmatched = bool(devices) and device not in devices
    return Inconsistency(groups, again, unmatched or stale, stale)


def _outdated(
    runs: Sequence[Provenance],
    settings: Mapping[str, Mapping[str, Any]],
    pages: Mapping[str, str],
) -> tuple[list[Group], list[Provenance]]:
    """The runs that are not of what is asked for now, grouped by how; and the others."""
    outdated: dict[str, list[Provenance]] = {}
    current = []
    for run in runs:
        found = differences(run, settings[run.variant], pages[run.image])
        if found:
            how = ", ".join(
                f"{name} {shown(then)} instead of {shown(now)}"
                for name, (then, now) in found.items()
            )
            outdated.setdefault(how, []).append(run)
        else:
            current.append(run)
    return [Group(how, alike) for how, alike in outdated.items()], current


def _grouped(
    runs: Iterable[Provenance], facts: Callable[[Provenance], Facts]
) -> list[list[Provenance]]:
    """Runs by their facts, the group measured last first, of several the largest."""
    found: dict[tuple[tuple[str, str], ...], list[Provenance]] = {}
    for run in runs:
        found.setdefault(tuple(facts(run).items()), []).append(run)
    return sorted(found.values(), key=lambda group: (_last(group), len(group)), reverse=True)


def _last(runs: Iterable[Provenance]) -> str:
    """When the last of some runs was measured (ISO 8601, UTC: sorts as text)."""
    return max(run.measured_at for run in runs)


def _described(
    groups: Sequence[Sequence[Provenance]],
    facts: Callable[[Provenance], Facts],
    kept: Sequence[Provenance],
) -> Iterator[Group]:
    """Groups with the facts in which they differ from one another."""
    every = [facts(group[0]) for group in groups]
    names = dict.fromkeys(name for one in every for name in one)
    differing = [name for name in names if len({one.get(name) for one in every}) > 1]
    for one, group in zip(every, groups, strict=True):
        how = in_words({name: one[name] for name in differing if name in one})
        yield Group(f"{how} (kept)" if group is kept else how, group)


def _message(found: Inconsistency, device: str, results: Path, listing: Path) -> Iterator[str]:
    for group in found.groups[:_NAMED]:
        yield f"{count(len(group.runs))} with {group.how}: {run_names(group.runs)}"
    if len(found.groups) > _NAMED:
        yield f"... and {len(found.groups) - _NAMED} more such groups"
    ceiling = results / CEILING
    if found.ceiling_differs:
        yield f"{ceiling} with {in_words({'device': device})}"
    paths = [RunPaths.of(results, run.key).record for run in found.again]
    what = [count(len(paths))] if paths else []
    if found.ceiling_again:
        paths.append(ceiling)
        what.append("the device")
    yield (
        "results that differ so must not be averaged or compared. Remedy: to measure "
        f"{' and '.join(what)} again, `{removal_command(paths, listing)}` and run the same command "
        "again."
    )
