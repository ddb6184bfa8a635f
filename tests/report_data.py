"""Report data from hand-made runs, put together as the workflow does it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from builders import (
    a_pass,
    activity,
    calibration,
    ceiling,
    cpu,
    hardware,
    no_conditions,
    page,
    run,
)

from mfuscope import records
from mfuscope.metrics import metrics_table
from mfuscope.report.data import ReportData
from mfuscope.report.gather import gather
from mfuscope.report.operators import aggregate_kernels, aggregate_operators
from mfuscope.report.render import Texts, render
from mfuscope.report.survey import survey_runs
from mfuscope.statistics import summarise

SETTINGS: dict[str, Any] = {
    "device": "cuda",
    "peak_tflops": None,
    "repeats": 2,
    "variants": {"baseline": {}},
}


@dataclass
class Tables:
    """What the report is made from, and the summary that it must agree with."""

    data: ReportData
    summary: pd.DataFrame


def tables(
    runs: list[records.Run],
    *,
    operators: Iterable[tuple[str, pd.DataFrame]] = (),
    kernels: Iterable[tuple[str, pd.DataFrame]] = (),
    activities: list[records.Activity] | None = None,
    calibrations: list[records.Calibration] | None = None,
    machine: records.Hardware | None = None,
    measured: records.Ceiling | None = None,
    settings: dict[str, Any] | None = None,
    frames: dict[str, int | None] | None = None,
    command: str = "snakemake",
) -> Tables:
    """The artefacts of these runs, put together as the workflow does it.

    Args:
        frames: by image; without it the column is missing.
    """
    machine = machine or hardware()
    if calibrations is None:
        keys = dict.fromkeys((r.variant, r.page.resolution) for r in runs)
        calibrations = [calibration(variant=v, resolution=size) for v, size in keys]
    by_key = {(c.variant, c.resolution): c for c in calibrations}
    traced = activities or [activity()] * len(runs)
    metrics = metrics_table(runs, traced, by_key, machine, measured or ceiling())
    summary = summarise(metrics)
    pages = {
        r.image: {
            "image": r.image,
            "path": r.page.path,
            "sha256": r.page.sha256,
            "width": r.page.width,
            "height": r.page.height,
            "category": None,
            "resolution": r.page.resolution,
        }
        | ({} if frames is None else {"frames": frames[r.image]})
        for r in runs
    }
    data = gather(
        inputs=pd.DataFrame(list(pages.values())),
        hardware=machine,
        ceiling=measured or ceiling(),
        metrics=metrics,
        summary=summary,
        calibrations=calibrations,
        survey=survey_runs(runs),
        operators=aggregate_operators(operators),
        kernels=aggregate_kernels(kernels),
        settings=SETTINGS if settings is None else settings,
        command=command,
        commit="0123456789ab",
    )
    return Tables(data, summary)


def texts(runs: list[records.Run], **changes: Any) -> Texts:
    """The rendered report of these runs."""
    return render(tables(runs, **changes).data)


def repeats(n: int = 2, **changes: Any) -> list[records.Run]:
    """Repeats of one page; each takes a little longer than the one before."""
    timed = changes.pop("timed", {})
    image = changes.pop("image", "page.png")
    changes.setdefault("page", page(path=f"pages/{image}"))
    return [
        run(
            image=image,
            repeat=repeat,
            timed=a_pass(**{"prefill_ms": 50.0 + repeat, "decode_ms": 62.0 + repeat} | timed),
            **changes,
        )
        for repeat in range(n)
    ]


def operator_rows(*rows: tuple[str, str, float, float | None]) -> pd.DataFrame:
    """An operator table of (stage, operator, self CPU ms, device ms)."""
    return pd.DataFrame(
        [
            {
                "stage": stage,
                "kind": "overhead" if name == "pause" else "operator",
                "operator": name,
                "calls": 2,
                "self_cpu_ms": self_cpu,
                "total_cpu_ms": self_cpu,
                "device_ms": device,
                "self_cpu_memory_bytes": None,
                "self_device_memory_bytes": None,
            }
            for stage, name, self_cpu, device in rows
        ]
    )


def kernel_rows(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """A kernel table of (stage, kernel, device ms)."""
    return pd.DataFrame(
        [
            {"stage": stage, "kind": "kernel", "kernel": name, "calls": 4, "device_ms": device}
            for stage, name, device in rows
        ]
    )


def on_cpu(**changes: Any) -> list[records.Run]:
    """Repeats on a CPU, where NVML knows nothing."""
    timed: dict[str, Any] = {
        "conditions_before": no_conditions(),
        "conditions_after": no_conditions(),
    }
    timed |= {"energy_j": None, "absent": {"energy_j": "not a GPU"}}
    return repeats(device=cpu(), timed=timed, **changes)


def cpu_tables() -> dict[str, Any]:
    """Peak and ceiling of a CPU."""
    peak = records.Peak(tflops=100.0, source="measured", detail="best bf16 matrix product")
    return {
        "machine": hardware(device=cpu(), peak_source="measured", peaks={"bf16": peak}),
        "measured": ceiling(device=cpu()),
    }
