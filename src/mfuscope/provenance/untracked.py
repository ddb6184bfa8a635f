"""Results that Snakemake has no record of: its folder was lost, or they were copied without it.

What settings and pages change is made again because it remembers what every result was made with.
Where it remembers nothing, or cannot read it any more, it goes by dates alone, and takes what is
there for up to date.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from mfuscope.core.errors import MfuscopeError, UserError
from mfuscope.core.records import PROTOCOL
from mfuscope.hardware.devices import DeviceHere
from mfuscope.planning.plan import Plan
from mfuscope.provenance.facts import Facts, Origin, asked_for, device_words, flat_settings
from mfuscope.provenance.remeasure import count, in_words, removal_command, run_names
from mfuscope.storage.artefacts import read_json
from mfuscope.storage.naming import check_names
from mfuscope.storage.paths import records, texts

# Records of an older format are not held against what is asked for now.
_FORMAT: Final = 6


@dataclass(frozen=True, slots=True)
class _Known:
    """What Snakemake's record of a result must tell, so that it sees a change.

    Of a value that is absent, or null, it takes for granted that it did not change.
    """

    params: list[str]
    input: list[str]
    record_format_version: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What Snakemake remembers of results.

    Attributes:
        folder: where it keeps a file for each, as ``.snakemake/metadata``.
    """

    folder: Path

    def holds(self, *results: Path) -> bool:
        """Whether it knows how results were made; of one job, it needs to know all of them."""
        return self.folder.is_dir() and all(map(self._knows, results))

    def _knows(self, result: Path) -> bool:
        try:
            known = msgspec.json.decode(self._record(result).read_bytes(), type=_Known)
        except (FileNotFoundError, msgspec.DecodeError):  # a power cut leaves them empty
            return False
        return known.record_format_version >= _FORMAT

    def _record(self, result: Path) -> Path:
        # Named by the result's path in Base64; where that is too long for a name, in folders.
        name = urlsafe_b64encode(str(result).encode()).decode()
        length = os.pathconf(self.folder, "PC_NAME_MAX") - 1
        parts = [name[start : start + length] for start in range(0, len(name), length)]
        return self.folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])

    def drop_unreadable(self) -> None:
        """Remove what Snakemake would stumble over, or warn of at every call.

        Raises:
            UserError: it cannot be read or removed.
        """
        try:
            for record in filter(Path.is_file, self.folder.rglob("*")):
                if not _is_record(record.read_bytes()):
                    record.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read or removed ({error.strerror})",
                f"give yourself permission to read and write what is in {self.folder}",
            ) from error


def _is_record(content: bytes) -> bool:
    try:
        msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        return False
    return True


def forgotten_tables(results: Path, memory: Memory) -> list[Path]:
    """What is made of runs, or can be measured again in seconds, and is not remembered."""
    made = [path for path in (*records(results), *texts(results)) if path.exists()]
    return [path for path in made if not memory.holds(path)]


def check_runs(
    plan: Plan, results: Path, memory: Memory, here: DeviceHere | None, listing: Path
) -> None:
    """Check that what is not remembered was measured as it would be now.

    Args:
        here: the device of this machine, None where another one measures, or it is not known.
        listing: lists the records of runs to measure again, where they are many.

    Raises:
        MfuscopeError: it was not; says in a few lines what differs, and what to do.
    """
    runs = dict(_forgotten_runs(plan, results, memory))
    check_names(runs, (), listing)
    unlike: dict[str, list[Origin]] = {}
    for run in runs.values():
        if facts := _differing(run, plan, here):
            unlike.setdefault(in_words(facts), []).append(run)
    if unlike:
        raise MfuscopeError("\n".join(_told(unlike, here, results, listing)))


def _forgotten_runs(plan: Plan, results: Path, memory: Memory) -> Iterator[tuple[Path, Origin]]:
    for files in plan.runs(results):
        if files.record.exists() and not memory.holds(files.record, files.trace):
            with suppress(ValueError):  # cut short: `mending` sees to that
                yield files.record, read_json(files.record, Origin)


def _told(
    unlike: Mapping[str, list[Origin]], here: DeviceHere | None, results: Path, listing: Path
) -> Iterator[str]:
    for facts, runs in unlike.items():
        yield f"{count(len(runs))} with {facts}: {run_names(runs)}"
    every = [run for runs in unlike.values() for run in runs]
    if here is not None and not all(here.may_be(run.device) for run in every):
        yield f"the device here: {here}"
    command = removal_command([results / run.record for run in every], listing)
    yield (
        "that is not what is asked for now, and Snakemake remembers nothing of these results: it "
        "would take them for up to date. Remedy: bring .snakemake along with the results; or, to "
        f"measure {count(len(every))} again, `{command}` and run the same command again."
    )


def _differing(run: Origin, plan: Plan, here: DeviceHere | None) -> Facts:
    """How a run was measured, as far as it would be measured otherwise now."""
    now = asked_for(plan.run_settings(run.variant)) | {
        "measurement protocol": str(PROTOCOL),
        "page content": plan.digest(run.image),
    }
    then = dict(flat_settings(run.settings)) | {
        "model files": run.model.fingerprint,
        "measurement protocol": str(run.protocol),
        "page content": run.page.sha256,
    }
    kind = plan.device.partition(":")[0]
    known = run.device.kind == kind if here is None else here.may_be(run.device)
    device = {} if known else {"device": device_words(run.device)}
    return device | {name: fact for name, fact in then.items() if fact != now.get(name)}
