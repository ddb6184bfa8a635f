"""Records and tables that hold what every reader of them relies on, checked when they are read."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from mfuscope.core.counters import Counters
from mfuscope.core.errors import InvalidFileError, TraceError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.storage.artefacts import TRUNCATED, read_json
from mfuscope.storage.paths import RunPaths, calibration_key, run_key

Record = TypeVar("Record", Run, Activity, Calibration, Counters, Ceiling, Hardware)
_SHOWN = 100  # characters of a key: a record may hold anything


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read a record of the results.

    Raises:
        InvalidFileError: the file is no such record, lacks what such a record must hold, or is
            the record of another run or calibration than its path names.
        FileNotFoundError: there is no file.
    """
    record = read_json(path, kind)
    if lack := next(_lacks(record), None):
        raise InvalidFileError(path, f"is no valid {kind.__name__.lower()} record ({lack})")
    if isinstance(record, Run | Activity):
        check_filing(path, RunKey(record.variant, record.image, record.repeat))
    elif isinstance(record, Calibration | Counters):
        check_filing(path, CalibrationKey(record.variant, record.resolution))
    return record


def check_filing(path: Path, key: RunKey | CalibrationKey) -> None:
    """Check that a record lies under its own name: elsewhere it would count for another run.

    Args:
        key: the run or calibration that the record names.

    Raises:
        InvalidFileError: the path is another one's.
    """
    of_run = isinstance(key, RunKey)
    if key != (run_key(path) if of_run else calibration_key(path)):
        noun = "run" if of_run else path.parts[-2]
        raise InvalidFileError(path, f"is the record of the {noun} {str(key)[:_SHOWN]}")


def check_table(path: Path) -> None:
    """Check that an operator or kernel table has the size that its run's activity records.

    A table that was truncated at the end of a line is still a table. Without an activity nothing is
    known of its size.

    Raises:
        InvalidFileError: it has another size, or the activity is invalid.
    """
    paths = RunPaths.of(path.parents[3], run_key(path))
    if paths.activity.exists():
        sizes = read_record(paths.activity, Activity).table_bytes
        if finding := wrong_size(path, sizes.get(path.parts[-3], 0)):
            raise InvalidFileError(path, finding)


def check_trace(path: Path, run: Run) -> None:
    """Check that a trace has the size that its run's record has of it.

    Raises:
        TraceError: it was truncated, or is another run's.
    """
    if finding := wrong_size(path, run.trace_bytes):
        raise TraceError(path, finding)


def wrong_size(path: Path, recorded: int) -> str:
    """What is wrong with the size of a file; empty if nothing is.

    Args:
        recorded: bytes; 0 where no size was recorded.
    """
    size = path.stat().st_size
    if not size or size < recorded:
        return TRUNCATED
    if recorded and size > recorded:
        return f"has {size} bytes, but {recorded} were recorded"
    return ""


def _lacks(record: Run | Activity | Calibration | Counters | Ceiling | Hardware) -> Iterator[str]:
    match record:
        case Run():
            yield from _run_lacks(record)
        case Activity():
            if "prefill" not in record.stages:
                yield "no stage `prefill`"
        case Calibration():
            yield from _calibration_lacks(record)
        case Counters():
            yield from _counters_lacks(record)
        case Ceiling():
            yield from _ceiling_lacks(record)
        case Hardware():
            yield from _hardware_lacks(record)


def _run_lacks(run: Run) -> Iterator[str]:
    if not run.passes:
        yield "no timed pass"
    for name, one in (*(("timed", one) for one in run.passes), ("traced", run.traced)):
        if one.new_tokens < 1 or one.prefill_ms <= 0 or one.decode_ms < 0:
            yield f"times or tokens of a {name} pass are not above 0"
    if len({one.new_tokens for one in run.passes}) > 1:
        yield "its timed passes made different numbers of tokens"


def _calibration_lacks(calibration: Calibration) -> Iterator[str]:
    totals = [calibration.prefill_total, *(step.total for step in calibration.decode_steps)]
    if any(total.get("counted", 0) <= 0 for total in totals):
        yield "no counted FLOPs"
    contexts = [step.context_tokens for step in calibration.decode_steps]
    if len(contexts) < 2 or any(first == second for first, second in pairwise(contexts)):
        yield "no two decode steps"


def _counters_lacks(counters: Counters) -> Iterator[str]:
    if not counters.stages and "stages" not in counters.absent:
        yield "neither stages nor a reason"


def _ceiling_lacks(ceiling: Ceiling) -> Iterator[str]:
    if ceiling.precision not in ceiling.precisions:
        yield f"{ceiling.precision} is not among the precisions in use"
    for precision in ceiling.precisions:
        if ceiling.gemm_tflops.get(precision, 0) <= 0 or precision not in ceiling.gemm_shape:
            yield f"no speed of {precision}"
    if ceiling.copy_gbs <= 0:
        yield "no speed of copies"


def _hardware_lacks(hardware: Hardware) -> Iterator[str]:
    if hardware.precision not in hardware.peaks:
        yield f"no peak of {hardware.precision}"
    if any(peak.tflops <= 0 for peak in hardware.peaks.values()) or hardware.bandwidth_gbs <= 0:
        yield "a peak is not above 0"
