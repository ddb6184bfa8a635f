"""What the measuring jobs do: ask the worker, and file its answer. No torch here."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from mfuscope.core.errors import UserError
from mfuscope.core.records import Run
from mfuscope.storage.artefacts import write_encoded, write_json
from mfuscope.traces.file import pack_trace
from mfuscope.worker.client import leased_worker
from mfuscope.worker.protocol import Calibrate, MeasureRun
from mfuscope.worker.runtime import job_folder


def measure_run(
    page: Path,
    *,
    page_sha256: str,
    run: Path,
    trace: Path,
    settings: Mapping[str, Any],
    bundled_models: Path,
    variant: str,
    image: str,
    repeat: int,
) -> None:
    """Have a page measured; write its gzipped trace, and last the run's record.

    Args:
        page_sha256: digest of the page that was planned for.
        settings: see `planning.Plan.run_settings`.

    Raises:
        UserError: the page is another one by now.
    """
    with job_folder() as folder:
        plain = folder / "trace.json"
        with leased_worker(settings["model"]) as worker:
            record = worker.ask(
                MeasureRun(
                    model=worker.model,
                    bundled=str(bundled_models),
                    variant=variant,
                    page=str(page),
                    trace=str(plain),
                    settings=dict(settings),
                    image=image,
                    repeat=repeat,
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
    calibration: Path,
    *,
    settings: Mapping[str, Any],
    bundled_models: Path,
    variant: str,
    resolution: str,
) -> None:
    """Have a resolution's FLOPs counted; write the calibration.

    Args:
        settings: see `planning.Plan.calibration_settings`.
    """
    with leased_worker(dict(settings)) as worker:
        record = worker.ask(
            Calibrate(
                model=worker.model,
                bundled=str(bundled_models),
                variant=variant,
                resolution=resolution,
            )
        )
    write_encoded(calibration, record)
