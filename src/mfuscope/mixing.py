"""Runs that must not be averaged together: measured on another device, by other software, with
other settings, or of another content of a page.

What settings and pages change is measured again, as Snakemake's records of them tell. Here is
caught what those records cannot see: a machine, a driver or a package that is another one by now,
results copied together from several places, records that were lost. docs/measurement.md tells what
is compared, and why other facts are not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mfuscope.artefacts import write_text
from mfuscope.errors import ToldError, UserError
from mfuscope.records import PROTOCOL, Device, Model, Page, Versions

_NAMED: Final = 3  # runs of a group that are named
_UNKNOWN: Final = "unknown"
_LISTED: Final = 5  # files that a command names; more go into a list

Facts = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The part of a run's record that says what it is a measurement of."""

    protocol: int
    variant: str
    image: str
    repeat: int
    measured_at: str
    page: Page
    model: Model
    settings: dict[str, Any]
    device: Device
    versions: Versions

    @property
    def name(self) -> str:
        """The run in short."""
        return f"{self.variant}/{self.image}/{self.repeat}"

    @property
    def record(self) -> str:
        """Where its record lies in a folder of results."""
        return f"{self.variant}/runs/{self.image}/{self.repeat}.json"


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that were measured alike.

    Attributes:
        facts: how; of a mixture, what differs between its groups.
    """

    facts: Facts
    runs: Sequence[Origin]


@dataclass(frozen=True, slots=True)
class Mixture:
    """Runs that were not all measured alike.

    Attributes:
        groups: largest first.
        redo: those to measure again, so that all are alike.
    """

    groups: Sequence[Group]
    redo: Sequence[Origin]


def find_mixture(
    runs: Sequence[Origin], pages: Mapping[str, str], installed: Callable[[], Versions]
) -> Mixture | None:
    """The first mixture among runs, None where all are alike.

    Device and software are compared over all runs, settings and model within a variant, and the
    content of a page with the page as it is.

    Args:
        pages: SHA-256 by image.
        installed: tells the software that would measure now; only asked where that matters.
    """
    groups = _grouped(runs, _conditions)
    if len(groups) > 1:
        now = {"measurement protocol": str(PROTOCOL)} | _software(installed())
        return _mixture(groups, {name: fact for name, fact in now.items() if fact != _UNKNOWN})
    for of_variant in _split(runs, lambda run: run.variant):
        groups = _grouped(of_variant, _settings)
        if len(groups) > 1:
            return _mixture(groups, {})
    for of_image in _split(runs, lambda run: run.image):
        now = {"page content": pages.get(of_image[0].image, of_image[0].page.sha256)}
        groups = _grouped(of_image, lambda run: {"page content": run.page.sha256})
        if [group.facts for group in groups] != [now]:
            return _mixture(groups, now)
    return None


def check_alike(
    runs: Iterable[Origin],
    pages: Mapping[str, str],
    devices: Mapping[str, Device],
    *,
    installed: Callable[[], Versions],
    results: Path,
    listing: Path,
) -> None:
    """Check that runs may be averaged, and held against what was measured of the device.

    Args:
        pages, installed: see `find_mixture`.
        devices: what other records in `results` tell of, by name.
        results: the folder that the runs' records lie in.
        listing: lists the records of runs to measure again, where they are many.

    Raises:
        ToldError: they may not; says in a few lines what differs, and what to measure again.
    """
    runs = list(runs)
    if mixture := find_mixture(runs, pages, installed):
        raise ToldError("\n".join(_told(mixture, results, listing)))
    for name, device in devices.items():
        theirs, ours = _device(device), _device(runs[0].device)
        if theirs != ours:
            raise UserError(
                f"{results / name} tells of another device, {theirs}, than the runs were measured "
                f"on, {ours}",
                f"on the latter, `rm {results / name}` and run the same command again",
            )


def _told(mixture: Mixture, results: Path, listing: Path) -> Iterator[str]:
    for group in mixture.groups:
        yield f"{run_count(group.runs)} with {in_words(group.facts)}: {run_names(group.runs)}"
    command = removal_command([str(results / run.record) for run in mixture.redo], listing)
    yield (
        "these runs were not measured alike, and must not be averaged. Remedy: to measure "
        f"{run_count(mixture.redo)} again, `{command}` and run the same command again."
    )


def _mixture(groups: Sequence[Group], now: Facts) -> Mixture:
    """The groups with what they differ in, and what to measure again.

    Args:
        now: facts that new measurements would have; what they would not fit to must go.
    """
    names = dict.fromkeys(name for group in groups for name in group.facts)
    differing = [n for n in names if len({g.facts.get(n) for g in groups}) > 1] or list(now)
    fitting = [g for g in groups if all(g.facts.get(name, now[name]) == now[name] for name in now)]
    # Of what else may differ, new measurements will be like the latest.
    latest = max(fitting, key=lambda g: max(run.measured_at for run in g.runs), default=None)
    told = [Group({n: g.facts[n] for n in differing if n in g.facts}, g.runs) for g in groups]
    redo = [run for g in groups if g is not latest for run in g.runs]
    return Mixture(told, redo)


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


def _conditions(run: Origin) -> Facts:
    """What changes times, whatever is measured."""
    facts = {"device": _device(run.device), "measurement protocol": str(run.protocol)}
    software = _software(run.versions)
    if run.device.kind == "cpu":  # which has no use for them
        del software["CUDA"], software["driver"]
    return facts | software


def _device(device: Device) -> str:
    """A device's model, in words; another card of the same model is the same."""
    if device.kind == "cpu":
        return f"{device.name} ({device.threads} threads)"
    # What a driver leaves of the memory differs a little.
    return f"{device.name} ({device.sm_count} SMs, {device.memory_bytes / 2**30:.0f} GiB)"


def _software(versions: Versions) -> Facts:
    return {
        "torch": versions.torch,
        "transformers": versions.transformers,
        "Python": ".".join(versions.python.split(".")[:2]),
        "CUDA": versions.cuda or _UNKNOWN,
        "driver": versions.driver or _UNKNOWN,
    }


def _settings(run: Origin) -> Facts:
    return dict(flat_settings(run.settings)) | {
        "model files": run.model.fingerprint,
        "weights": run.model.weights,
        "precision": run.model.dtype,
        "expert layers": str(run.model.experts_implementation),
    }


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as texts, sorted; of mappings within, the names joined by a dot."""
    for key, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def removal_command(paths: Sequence[str], listing: Path) -> str:
    """A command that removes records; ids are safe in shells. Many are listed in a file."""
    if len(paths) <= _LISTED:
        return f"rm {' '.join(paths)}"
    write_text(listing, "".join(f"{path}\n" for path in paths))
    return f"xargs rm < {listing}"


def in_words(facts: Facts) -> str:
    """Facts in a line."""
    return ", ".join(f"{name} {fact[:40]}" for name, fact in facts.items())


def run_names(runs: Sequence[Origin]) -> str:
    """The first runs by name, and how many more there are."""
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return ", ".join(run.name for run in runs[:_NAMED]) + more


def run_count(runs: Sequence[Origin]) -> str:
    """How many runs there are, in words."""
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"
