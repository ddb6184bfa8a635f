"""Results that are not as they were written: found before anything is built on them.

mfuscope writes whole files (`artefacts`), but copies break off, some disks lose at a power cut what
they said they had, and some return other bits than they were given. Cheap enough for every call:
records are decoded, and what every reader relies on is looked at; of other files the size is held
against the one that a record or a note tells, and the last bytes must not all be zero, which is
what file systems fill with what they have lost. Tables of the whole workflow, which more is derived
from, have their digest noted too.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.core.text import one_line
from mfuscope.storage.artefacts import CUT, file_note
from mfuscope.storage.paths import RunFiles, records, texts
from mfuscope.storage.validation import Record, read_record

_TAIL: Final = 8  # bytes: gzip ends with a checksum and a size, which may well hold zeros
# What people read, they may add to; what programs read is as it was written.
_DIGESTED: Final = (".csv", ".json")
_MOST_WORDS: Final = 200  # characters of a finding


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not as it was written.

    Attributes:
        path: the file.
        finding: what is wrong with it, in words.
        consequence: what will become of it, in words.
        outdated: what must go, so that all is made again that is needed; the file among it.
    """

    path: Path
    finding: str
    consequence: str
    outdated: tuple[Path, ...]

    def __str__(self) -> str:
        # What was found may quote the file.
        return one_line(f"{self.path} {self.finding[:_MOST_WORDS]} and {self.consequence}")

    def remove(self) -> None:
        """Remove the file and what must go with it."""
        for path in self.outdated:
            path.unlink(missing_ok=True)


def find_damage(results: Path, runs: Iterable[RunFiles]) -> list[Damage]:
    """The files that are not as they were written; those of runs first.

    Args:
        results: the folder of results.
        runs: those that the settings ask for; the files of others are nobody's business now.
    """
    found: list[Damage] = []
    for run in runs:
        found += _damage_of_run(run)
        found += _damage_of_tables(run)
    of_workflow = {path: _of_record(path) for path in records(results)}
    of_workflow |= {path: _of_text(path) for path in texts(results)}
    return found + [
        Damage(path, finding, "will be made again", (path,))
        for path, finding in of_workflow.items()
        if finding
    ]


def _damage_of_run(run: RunFiles) -> Iterator[Damage]:
    record, finding = _read(run.record, Run)
    if finding:
        yield Damage(run.record, finding, "will be measured again", (run.record,))
    elif _is_cut(run.trace, record.trace_bytes if record else 0):
        if run.keeps_trace:  # it cannot be had without measuring
            outdated = run.trace, run.record
            yield Damage(run.trace, CUT, "its run will be measured again", outdated)
        else:
            yield Damage(run.trace, CUT, "will be removed, as it need not be kept", (run.trace,))


def _damage_of_tables(run: RunFiles) -> Iterator[Damage]:
    activity, finding = _read(run.activity, Activity)
    damaged = {run.activity: finding}
    if not finding:
        sizes = activity.table_bytes if activity else {}
        tables = {"operators": run.operators, "kernels": run.kernels}
        damaged = {
            path: CUT if _is_cut(path, sizes.get(kind, 0)) else "" for kind, path in tables.items()
        }
    again = "will be made again" if run.trace.exists() else "its run will be measured again"
    for path, finding in damaged.items():
        if finding:
            # All three are made together, and the table of operators is the one that is asked for.
            yield Damage(path, finding, again, (path, run.operators))


def _of_record(path: Path) -> str:
    """What is wrong with a record that is not of a run; empty if nothing is."""
    match path.name:
        case "ceiling.json":
            return _read(path, Ceiling)[1]
        case "hardware.json":
            return _read(path, Hardware)[1]
        case _:
            return _read(path, Calibration)[1]


def _read(path: Path, kind: type[Record]) -> tuple[Record | None, str]:
    """A record, None where there is none that is sound, and what is wrong with it."""
    try:
        return read_record(path, kind), ""
    except FileNotFoundError:
        return None, ""
    except InvalidFileError as error:
        return None, error.finding


def _of_text(path: Path) -> str:
    """What is wrong with a table or text of the workflow; empty if nothing is."""
    size, digest = _noted(path)
    if _is_cut(path, size):
        return CUT
    if digest and path.suffix in _DIGESTED and path.exists() and _sha256(path) != digest:
        return "is not as it was written"
    return ""


def _noted(path: Path) -> tuple[int, str]:
    """The size and SHA-256 that are noted beside a text; 0 and none where they are not."""
    try:
        size, digest = file_note(path).read_text(encoding="ascii").split()
        return int(size), digest
    except (FileNotFoundError, ValueError):  # copied without its note, or the note is cut
        return 0, ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_cut(path: Path, size: int) -> bool:
    """Whether a file is there that is empty, shorter than `size`, or filled up with zeros."""
    try:
        with path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if not length or length < size:
                return True
            file.seek(-min(_TAIL, length), os.SEEK_END)
            return not any(file.read())
    except FileNotFoundError:
        return False
