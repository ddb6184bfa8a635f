"""Results that were cut short: found before anything is built on them.

mfuscope writes whole files (`artefacts`), but copies break off, and some disks lose at a power cut
what they said they had. Cheap enough for every call: JSON is decoded, as it shows where its end is
missing; of other files the size is held against the one that a record or a note tells, and the last
bytes must not all be zero, which is what file systems fill with what they have lost.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from mfuscope.artefacts import size_note
from mfuscope.layout import RunFiles, records, texts

_TAIL: Final = 8  # bytes: gzip ends with a checksum and a size, which may well hold zeros

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that was cut short.

    Attributes:
        path: the file.
        consequence: what will become of it, in words.
        outdated: what must go, so that all is made again that is needed; the file among it.
    """

    path: Path
    consequence: str
    outdated: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.path} is cut short and {self.consequence}"

    def remove(self) -> None:
        """Remove the file and what must go with it."""
        for path in self.outdated:
            path.unlink(missing_ok=True)


# The parts of records that tell sizes.
@dataclass(frozen=True, slots=True)
class _RunSizes:
    trace_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _TableSizes:
    table_bytes: dict[str, int] = field(default_factory=dict)


class _CutError(Exception):
    """A record does not decode."""


def find_damage(results: Path, runs: Iterable[RunFiles]) -> list[Damage]:
    """The files that were cut short; those of runs first.

    Args:
        results: the folder of results.
        runs: those that the settings ask for; the files of others are nobody's business now.
    """
    found: list[Damage] = []
    for run in runs:
        found += _damage_of_run(run)
        found += _damage_of_tables(run)
    cut = [path for path in records(results) if _is_cut_record(path)]
    cut += [path for path in texts(results) if _is_cut(path, _noted(path))]
    return found + [Damage(path, "will be made again", (path,)) for path in cut]


def _damage_of_run(run: RunFiles) -> Iterator[Damage]:
    try:
        size = _read(run.record, _RunSizes()).trace_bytes
    except _CutError:
        yield Damage(run.record, "will be measured again", (run.record,))
        return
    if _is_cut(run.trace, size):
        if run.keeps_trace:  # it cannot be had without measuring
            outdated = run.trace, run.record
            yield Damage(run.trace, "its run will be measured again", outdated)
        else:
            yield Damage(run.trace, "will be removed, as it need not be kept", (run.trace,))


def _damage_of_tables(run: RunFiles) -> Iterator[Damage]:
    try:
        sizes = _read(run.activity, _TableSizes()).table_bytes
        tables = {"operators": run.operators, "kernels": run.kernels}
        cut = [path for kind, path in tables.items() if _is_cut(path, sizes.get(kind, 0))]
    except _CutError:
        cut = [run.activity]
    again = "will be made again" if run.trace.exists() else "its run will be measured again"
    for path in cut:
        # All three are made together, and the table of operators is the one that is asked for.
        yield Damage(path, again, (path, run.operators))


def _read(path: Path, absent: Record) -> Record:
    """A record of the kind of `absent`, or that itself where there is no such file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=type(absent))
    except FileNotFoundError:
        return absent
    except msgspec.DecodeError:
        raise _CutError from None


def _is_cut_record(path: Path) -> bool:
    try:
        _read(path, {})
    except _CutError:
        return True
    return False


def _noted(path: Path) -> int:
    """The size that is noted beside a text, 0 where none is."""
    try:
        return int(size_note(path).read_bytes())
    except (FileNotFoundError, ValueError):  # copied without its note, or the note is cut
        return 0


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
