"""Records that hold what every reader of them relies on, beyond the types of their fields.

Whether a record tells of what lies under its name: `naming`.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
from mfuscope.storage.artefacts import read_json

Record = TypeVar("Record", Run, Activity, Calibration, Ceiling, Hardware)


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read a record of the results.

    Raises:
        InvalidFileError: the file is no such record, or lacks what such a record must hold.
    """
    record = read_json(path, kind)
    if lack := next(_lacks(record), None):
        raise InvalidFileError(path, f"is no sound {kind.__name__.lower()} record ({lack})")
    return record


def _lacks(record: Run | Activity | Calibration | Ceiling | Hardware) -> Iterator[str]:
    match record:
        case Run():
            yield from _of_run(record)
        case Activity():
            if "prefill" not in record.stages:
                yield "no stage `prefill`"
        case Calibration():
            yield from _of_calibration(record)
        case Ceiling():
            yield from _of_ceiling(record)
        case Hardware():
            yield from _of_hardware(record)


def _of_run(run: Run) -> Iterator[str]:
    for name, one in (("timed", run.timed), ("traced", run.traced)):
        if one.new_tokens < 1 or one.prefill_ms <= 0 or one.decode_ms < 0:
            yield f"times or tokens of its {name} pass are not above 0"


def _of_calibration(calibration: Calibration) -> Iterator[str]:
    totals = [calibration.prefill_total, *(step.total for step in calibration.decode_steps)]
    if any(total.get("counted", 0) <= 0 for total in totals):
        yield "no counted FLOPs"
    contexts = [step.context_tokens for step in calibration.decode_steps]
    if len(contexts) < 2 or any(first == second for first, second in pairwise(contexts)):
        yield "no two decode steps"


def _of_ceiling(ceiling: Ceiling) -> Iterator[str]:
    if ceiling.precision not in ceiling.precisions:
        yield f"{ceiling.precision} is not among the precisions in use"
    for precision in ceiling.precisions:
        if ceiling.gemm_tflops.get(precision, 0) <= 0 or precision not in ceiling.gemm_shape:
            yield f"no speed of {precision}"
    if ceiling.copy_gbs <= 0:
        yield "no speed of copies"


def _of_hardware(hardware: Hardware) -> Iterator[str]:
    if hardware.precision not in hardware.peaks:
        yield f"no peak of {hardware.precision}"
    if any(peak.tflops <= 0 for peak in hardware.peaks.values()) or hardware.bandwidth_gbs <= 0:
        yield "a peak is not above 0"
