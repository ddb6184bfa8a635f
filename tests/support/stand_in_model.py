"""A model for tests of workers that starts at once, without torch.

It stands in for the modules of mfuscope.measure that a worker imports (faults/sitecustomize.py).
Its records are those in the folder MFUSCOPE_TEST_RECORDS, completed with what a worker decides.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from worker_faults import FAULTS, asked_for, hang_if_asked

from mfuscope.core.errors import InsufficientMemoryError, OutOfMemoryError, UserError
from mfuscope.core.records import Calibration, Run
from mfuscope.core.runs import CalibrationKey, RunKey

RECORDS = Path(os.environ["MFUSCOPE_TEST_RECORDS"])


@dataclass
class Session:
    """A model that is ready."""

    runs: int = 0


def open_session(settings: Mapping[str, Any], bundled_models: Path) -> Session:
    delay, crowd = FAULTS / "build", FAULTS / "crowded"
    if delay.exists():
        time.sleep(float(delay.read_text()))
    if crowd.exists():
        command = Path("/proc", crowd.read_text(), "cmdline")
        if command.exists() and command.read_bytes():  # it is empty once the process has ended
            raise InsufficientMemoryError("model: it does not fit", "set a smaller `model`")
    return Session()


class RunSettings:
    """The settings of a run decide nothing here."""

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "RunSettings":
        return cls()


def measure(
    session: Session,
    path: Path,
    trace: Path,
    settings: RunSettings,
    *,
    key: RunKey,
    max_megapixels: float,
    call: str,
) -> Run:
    hang_if_asked()
    if asked_for("raise"):
        raise RuntimeError("a fault\nin the model")
    if asked_for("refuse"):
        raise UserError("images: a bad page", "replace it")
    if asked_for("short"):
        raise OutOfMemoryError("the host's memory ran out", "set a smaller `resolution`")
    trace.write_text('{"traceEvents": []}')
    run = msgspec.json.decode((RECORDS / "run.json").read_bytes(), type=Run)
    session.runs += 1
    return replace(
        run,
        variant=key.variant,
        image=key.image,
        repeat=key.repeat,
        page=replace(run.page, path=str(path)),
        runs_before=session.runs - 1,
        session=replace(run.session, call=call),
        device=replace(run.device, threads=int(os.environ["OMP_NUM_THREADS"])),
        trace_bytes=0,
    )


def calibrate(session: Session, key: CalibrationKey, size: tuple[int, int] | None) -> Calibration:
    assert size is None
    counted = msgspec.json.decode((RECORDS / "calibration.json").read_bytes(), type=Calibration)
    return replace(counted, variant=key.variant, resolution=key.resolution)
