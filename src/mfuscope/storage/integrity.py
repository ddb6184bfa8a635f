"""Finds all invalid results at once, for ``mfuscope check``.

mfuscope writes files atomically (`artefacts`), but copies may be truncated, and some disks lose
acknowledged data at a power cut. The check reads records as every reader does; other files must
have the size that a record has of them, or the end that their format requires. A missing trace or
table is no finding: Snakemake makes again what it needs, and users may remove traces.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mfuscope.core.counters import Counters
from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.core.text import one_line
from mfuscope.storage.artefacts import TRUNCATED, check_regular, read_json
from mfuscope.storage.paths import (
    CEILING,
    HARDWARE,
    TEXTS,
    RunPaths,
    stored_calibrations,
    stored_counters,
    stored_runs,
)
from mfuscope.storage.validation import Record, read_record, wrong_size

_ENDS: Final = {".csv": b"\n", ".md": b"\n", ".html": b"</html>", ".svg": b"</svg>"}
_END_BYTES: Final = 16  # an end and the newline after it
# gzip ends with a checksum and a size: one of the two is not zero unless the disk lost them.
_GZIP_END_BYTES: Final = 8
_MEASURED: Final = "its run is measured again"
_MADE: Final = "it is made again"
_UNNEEDED: Final = "its run's tables were read from it already"


@dataclass(frozen=True, slots=True)
class Finding:
    """An invalid file.

    Attributes:
        path: the file.
        problem: what is wrong with it, in words that follow the path.
        consequence: what the next call does once the file is gone, in words.
        removed: what a repair removes, so that all is made again that is needed.
    """

    path: Path
    problem: str
    consequence: str
    removed: tuple[Path, ...]

    def __str__(self) -> str:
        return one_line(f"{self.path} {self.problem}")


def find_invalid(results: Path) -> list[Finding]:
    """The invalid files in a folder of results, those of runs first; empty without a folder.

    Raises:
        OSError: a file cannot be read.
    """
    found = [
        finding
        for key in stored_runs(results)
        for finding in _run_findings(RunPaths.of(results, key))
    ]
    problems = {path: _read(path, Calibration)[1] for path in stored_calibrations(results)}
    for path in stored_counters(results):
        record, problems[path] = _read(path, Counters)
        table = path.with_suffix(".csv")
        size = record.table_bytes if record else 0
        problems[table] = _problem(_check_table, table, size)
    problems[results / CEILING] = _read(results / CEILING, Ceiling)[1]
    problems[results / HARDWARE] = _read(results / HARDWARE, Hardware)[1]
    problems |= {results / name: _problem(_check_text, results / name) for name in TEXTS}
    return found + [
        Finding(path, problem, _MADE, (path,)) for path, problem in problems.items() if problem
    ]


def _run_findings(paths: RunPaths) -> Iterator[Finding]:
    run, problem = _read(paths.record, Run)
    if problem:
        yield Finding(paths.record, problem, _MEASURED, (paths.record,))
    tables = _table_problems(paths)
    truncated = _problem(_check_trace, paths.trace, run.trace_bytes if run else 0)
    if truncated:
        # The measurement stays as long as nothing has to be read from the trace again.
        derived = (paths.operators, paths.kernels, paths.activity)
        was_read = run and not tables and all(path.exists() for path in derived)
        consequence = _UNNEEDED if was_read else _MEASURED
        yield Finding(paths.trace, truncated, consequence, (paths.trace,))
    again = _MADE if run and paths.trace.exists() and not truncated else _MEASURED
    for path, problem in tables.items():
        # All three are made together, and `all` asks for the operator table.
        yield Finding(path, problem, again, tuple(dict.fromkeys((path, paths.operators))))


def _table_problems(paths: RunPaths) -> dict[Path, str]:
    activity, problem = _read(paths.activity, Activity)
    sizes = activity.table_bytes if activity else {}
    problems = {paths.activity: problem} | {
        path: _problem(_check_table, path, sizes.get(kind, 0))
        for kind, path in (("operators", paths.operators), ("kernels", paths.kernels))
    }
    return {path: problem for path, problem in problems.items() if problem}


def _read(path: Path, kind: type[Record]) -> tuple[Record | None, str]:
    """A record, None where there is none that is valid, and what is wrong with it."""
    try:
        return read_record(path, kind), ""
    except FileNotFoundError:
        return None, ""
    except InvalidFileError as error:
        return None, error.finding


def _problem(check: Callable[..., None], path: Path, *recorded: int) -> str:
    """What is wrong with a file; empty if nothing is, or there is none."""
    try:
        check(path, *recorded)
    except FileNotFoundError:
        return ""
    except InvalidFileError as error:
        return error.finding
    return ""


def _check_trace(path: Path, recorded: int) -> None:
    _check_size(path, recorded)
    if not any(_tail(path, _GZIP_END_BYTES)):
        raise InvalidFileError(path, TRUNCATED)


def _check_table(path: Path, recorded: int) -> None:
    _check_size(path, recorded)
    _check_text(path)


def _check_size(path: Path, recorded: int) -> None:
    check_regular(path)
    if finding := wrong_size(path, recorded):
        raise InvalidFileError(path, finding)


def _check_text(path: Path) -> None:
    check_regular(path)
    if path.suffix == ".json":
        read_json(path, dict[str, Any])
    else:
        end = _ENDS[path.suffix]
        tail = _tail(path, _END_BYTES)
        if not (tail if end == b"\n" else tail.rstrip()).endswith(end):
            raise InvalidFileError(path, TRUNCATED)


def _tail(path: Path, length: int) -> bytes:
    """The last bytes of a file, fewer where it is shorter."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - length))
        return file.read()
