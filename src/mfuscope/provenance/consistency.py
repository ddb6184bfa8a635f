"""Runs that must not be averaged together: measured on another device, by other software, with
other settings, or of another content of a page.

What settings and pages change is measured again, as Snakemake's records of them tell. Here is
caught what those records cannot see: a machine, a driver or a package that is another one by now,
results copied together from several places, records that were lost. docs/measurement.md tells what
is compared, and why other facts are not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mfuscope.core.errors import InconsistentRunsError, UserError
from mfuscope.core.records import PROTOCOL, Ceiling, Device, Versions
from mfuscope.hardware.devices import DeviceHere
from mfuscope.provenance.facts import (
    Facts,
    Origin,
    asked_for,
    conditions,
    device_words,
    page_of,
    settings_of,
    software,
)
from mfuscope.provenance.remeasure import count, in_words, removal_command, run_names

_TOLD: Final = 10  # groups that are told

_CEILING: Final = "ceiling.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What would measure now, and what is asked for now.

    Attributes:
        here: the device of this machine; None where another one measures, or it is not known.
            What ceiling.json tells of is then taken for it.
        ceiling: ceiling.json.
        installed: tells the software; only asked where something differs, as it takes seconds.
        settings: by variant, see `planning.Plan.run_settings`.
        pages: SHA-256 by image.
    """

    here: DeviceHere | None
    ceiling: Ceiling
    installed: Callable[[], Versions]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    pages: Mapping[str, str] = field(default_factory=dict)

    def conditions(self) -> Facts:
        """What changes times beside the device."""
        versions = self.installed()
        if self.here is None or versions.driver is None:  # that of whoever submits says nothing
            versions = replace(versions, driver=self.ceiling.versions.driver)
        return {"measurement protocol": str(PROTOCOL)} | software(versions)

    def asked_for(self, run: Origin) -> Facts:
        """What the run would have to be a measurement of, as far as it is known."""
        settings = self.settings.get(run.variant)
        content = self.pages.get(run.image)
        page = {} if content is None else {"page content": content}
        return page | (asked_for(settings) if settings else {})

    def may_be(self, device: Device) -> bool:
        """Whether this device would measure now."""
        if self.here is None or self.here.may_be(self.ceiling.device):  # which tells more of it
            return device_words(device) == device_words(self.ceiling.device)
        return self.here.may_be(device)

    def doubts(self, run: Origin) -> bool:
        """Whether it may be for ceiling.json alone that a run would not be measured so now."""
        if self.here is None and run.versions.driver != self.ceiling.versions.driver:
            return True
        possible = self.here is None or self.here.may_be(run.device)
        return possible and not self.may_be(run.device)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that were measured alike.

    Attributes:
        facts: how, as far as groups differ in it.
    """

    facts: Facts
    runs: Sequence[Origin]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Runs that were not all measured alike, or not on the device of ceiling.json.

    Attributes:
        groups: what differs.
        now: what would measure now, as far as no run was measured so.
        redo: those to measure again, so that all are alike.
        ceiling: whether that is to be measured again too.
    """

    groups: Sequence[Group]
    now: Facts
    redo: Sequence[Origin]
    ceiling: bool


def find_mixture(runs: Sequence[Origin], present: Present) -> Mixture | None:
    """What is mixed, None where all are alike.

    Device and software are compared over all runs and with ceiling.json, settings and model within
    a variant, and the content of a page with the page as it is. Kept is what would be measured so
    now: all that is measured again is alike then.
    """
    mixed = list(_mixed(runs, present))
    foreign = {device_words(run.device) for run in runs} - {device_words(present.ceiling.device)}
    if not mixed and not foreign:
        return None
    now = present.conditions()
    kept = [
        run
        for run in runs
        if present.may_be(run.device)
        and _agree(conditions(run), now)
        and _agree(settings_of(run) | page_of(run), present.asked_for(run))
    ]
    # Of what is not known of now, most are taken for it.
    for key, facts in _COMPARED:
        kept = [run for among in _split(kept, key) for run in _grouped(among, facts)[0].runs]
    names = {run.name for run in kept}
    return Mixture(
        groups=mixed or [Group({"device": device_words(runs[0].device)}, runs)],
        now=_unmatched(runs, present, now),
        redo=[run for run in runs if run.name not in names],
        ceiling=not present.may_be(present.ceiling.device),
    )


# What is compared among which runs.
_COMPARED: Final[Sequence[tuple[Callable[[Origin], str], Callable[[Origin], Facts]]]] = (
    (lambda run: "", conditions),
    (lambda run: run.variant, settings_of),
    (lambda run: run.image, page_of),
)


def _mixed(runs: Sequence[Origin], present: Present) -> Iterator[Group]:
    """The groups of runs that differ from one another, with what they differ in."""
    merged: dict[tuple[tuple[str, str], ...], list[Origin]] = {}
    for key, facts in _COMPARED:
        for among in _split(runs, key):
            groups = _grouped(among, facts)
            names = dict.fromkeys(name for group in groups for name in group.facts)
            differing = [n for n in names if len({g.facts.get(n) for g in groups}) > 1]
            if facts is page_of and not _agree(groups[0].facts, present.asked_for(among[0])):
                differing = list(names)
            for group in groups if differing else ():
                told = tuple((n, group.facts[n]) for n in differing if n in group.facts)
                told = told or tuple((n, "unset") for n in differing)
                merged.setdefault(told, []).extend(group.runs)
    for told, alike in merged.items():
        yield Group(dict(told), alike)


def _agree(facts: Facts, known: Facts) -> bool:
    return all(known.get(name, fact) == fact for name, fact in facts.items())


def _unmatched(runs: Sequence[Origin], present: Present, now: Facts) -> Facts:
    """What of now no run was measured with."""
    had = [conditions(run) for run in runs]
    facts = {
        name: fact for name, fact in now.items() if all(one.get(name, fact) != fact for one in had)
    }
    if any(present.may_be(run.device) for run in runs):
        return facts
    device = str(present.here) if present.here else device_words(present.ceiling.device)
    return {"device": device} | facts


def _grouped(runs: Iterable[Origin], facts: Callable[[Origin], Facts]) -> list[Group]:
    """Runs by their facts, largest group first."""
    found: dict[tuple[tuple[str, str], ...], list[Origin]] = {}
    for run in runs:
        found.setdefault(tuple(facts(run).items()), []).append(run)
    groups = [Group(dict(key), alike) for key, alike in found.items()]
    return sorted(groups, key=lambda group: -len(group.runs))


def _split(runs: Iterable[Origin], key: Callable[[Origin], str]) -> list[list[Origin]]:
    found: dict[str, list[Origin]] = {}
    for run in runs:
        found.setdefault(key(run), []).append(run)
    return list(found.values())


def check_alike(
    runs: Iterable[Origin], present: Present, hardware: Device, *, results: Path, listing: Path
) -> None:
    """Check that runs may be averaged, and held against what was measured of the device.

    Args:
        hardware: what hardware.json tells of.
        results: the folder that the records lie in, under the names that they tell (`naming`).
        listing: lists the records of runs to measure again, where they are many.

    Raises:
        InconsistentRunsError: they may not; says in a few lines what differs, and what to measure again.
    """
    path, ours = results / "hardware.json", device_words(present.ceiling.device)
    if device_words(hardware) != ours:
        raise UserError(
            f"{path} tells of another device, {device_words(hardware)}, than {results / _CEILING} "
            f"that it is made from, {ours}",
            f"`rm {path}` and run the same command again",
        )
    if mixture := find_mixture(list(runs), present):
        raise InconsistentRunsError("\n".join(_told(mixture, present, results, listing)))


def _told(mixture: Mixture, present: Present, results: Path, listing: Path) -> Iterator[str]:
    for group in mixture.groups[:_TOLD]:
        yield f"{count(len(group.runs))} with {in_words(group.facts)}: {run_names(group.runs)}"
    if len(mixture.groups) > _TOLD:
        yield f"... and {len(mixture.groups) - _TOLD} more such groups"
    ceiling = results / _CEILING
    of_ceiling = device_words(present.ceiling.device)
    devices = {group.facts["device"] for group in mixture.groups if "device" in group.facts}
    if mixture.ceiling or (devices and of_ceiling not in devices):
        yield f"{ceiling} with {in_words({'device': of_ceiling})}"
    if mixture.now:
        yield f"what measures now: {in_words(mixture.now)}"
    redo = [results / run.record for run in mixture.redo] + [ceiling] * mixture.ceiling
    what = [count(len(mixture.redo))] if mixture.redo else []
    what += ["the device"] * mixture.ceiling
    yield (
        "what was not measured alike must not be averaged, nor held against one another. "
        f"Remedy: to measure {' and '.join(what)} again, `{removal_command(redo, listing)}` and "
        "run the same command again."
    )
    if any(map(present.doubts, mixture.redo)):
        yield (
            f"The device and driver that measure now are taken to be those of {ceiling}. If they "
            f"are not, `rm {ceiling}` instead and run the same command again."
        )
