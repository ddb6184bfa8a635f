"""What the measuring jobs do: ask the worker, and file its answer. No torch here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mfuscope.artefacts import write_encoded
from mfuscope.trace_file import pack_trace
from mfuscope.worker.client import leased_worker
from mfuscope.worker.messages import Calibrate, MeasureRun
from mfuscope.worker.places import job_folder


def measure_run(
    page: Path,
    *,
    run: Path,
    trace: Path,
    settings: Mapping[str, Any],
    bundled_models: Path,
    variant: str,
    image: str,
    repeat: int,
) -> None:
    """Have a page measured; write the run's record and its gzipped trace.

    Args:
        settings: see `planning.Plan.run_settings`.
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
        pack_trace(plain, trace)  # the device is free by now
    write_encoded(run, record)


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
