"""The measuring jobs: each sends the worker a request and writes its record. Without torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from mfuscope.core.errors import UserError
from mfuscope.core.records import Run
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.storage.artefacts import write_encoded, write_json
from mfuscope.traces.file import pack_trace
from mfuscope.worker.client import leased_worker
from mfuscope.worker.protocol import Calibrate, MeasureRun
from mfuscope.worker.runtime import Runtime


def measure_run(
    runtime: Runtime,
    page: Path,
    *,
    page_sha256: str,
    max_megapixels: float,
    run: Path,
    trace: Path,
    settings: Mapping[str, Any],
    bundled_models: Path,
    key: RunKey,
    call: str,
) -> None:
    """Have the worker measure a page; write the gzipped trace, then the run's record.

    Args:
        page_sha256: digest of the page that was planned.
        max_megapixels: a page with more pixels is refused.
        run: where the record goes.
        trace: where the gzipped trace goes.
        settings: see `planning.parameters.run_parameters`.
        call: the id of the workflow's call.

    Raises:
        UserError: the page has changed since it was planned.
        WorkerError: see `client.Link.ask`.
    """
    with runtime.job_folder() as folder:
        plain = folder / "trace.json"
        with leased_worker(runtime, settings["model"]) as worker:
            record = worker.ask(
                MeasureRun(
                    model=worker.model,
                    bundled=str(bundled_models),
                    key=key,
                    page=str(page),
                    max_megapixels=max_megapixels,
                    trace=str(plain),
                    settings=dict(settings),
                    call=call,
                )
            )
        measured = msgspec.json.decode(record, type=Run)
        if measured.page.sha256 != page_sha256:
            raise UserError(
                f"images: {str(page)!r} changed while the workflow ran",
                "run the same command again",
            )
        pack_trace(plain, trace)  # the device is free by now
    write_json(run, replace(measured, trace_bytes=trace.stat().st_size))


def calibrate(
    runtime: Runtime,
    calibration: Path,
    *,
    settings: Mapping[str, Any],
    bundled_models: Path,
    key: CalibrationKey,
    size: tuple[int, int] | None,
) -> None:
    """Have the worker count a resolution's FLOPs; write the calibration.

    Args:
        settings: see `planning.parameters.calibration_parameters`.
        size: of a page of that resolution, None where the resolution itself has the shapes.

    Raises:
        WorkerError: see `client.Link.ask`.
    """
    with leased_worker(runtime, dict(settings)) as worker:
        record = worker.ask(
            Calibrate(model=worker.model, bundled=str(bundled_models), key=key, size=size)
        )
    write_encoded(calibration, record)
