"""Report data from hand-made runs, put together as the workflow does it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    model,
    no_conditions,
    page,
    run,
)

from mfuscope.compare.variants import compare_variants
from mfuscope.core import counters as counted_records
from mfuscope.core import records
from mfuscope.metrics.run_metrics import metrics_table
from mfuscope.metrics.statistics import summarise
from mfuscope.report.data import ReportData
from mfuscope.report.gather import gather
from mfuscope.report.operator_flops import RunWork
from mfuscope.report.operators import aggregate_kernels, aggregate_operators
from mfuscope.report.render import Texts, render
from mfuscope.report.survey import survey_runs

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
    works: Iterable[RunWork] | None = None,
    kernels: Iterable[tuple[str, pd.DataFrame]] = (),
    activities: list[records.Activity] | None = None,
    calibrations: list[records.Calibration] | None = None,
    machine: records.Hardware | None = None,
    measured: records.Ceiling | None = None,
    settings: dict[str, Any] | None = None,
    frames: dict[str, int | None] | None = None,
    command: str = "snakemake",
    damaged: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] | None = None,
    counters: Sequence[tuple[counted_records.Counters, pd.DataFrame]] = (),
) -> Tables:
    """The artefacts of these runs, put together as the workflow does it.

    Args:
        works: what the traced passes of `operators` compute.
        frames: by image; without it the column is missing.
        damaged: by name of a table, what happens to it before the report reads it.
        counters: each with the table of its launches.
    """
    machine = machine or hardware()
    if calibrations is None:
        keys = dict.fromkeys((r.variant, r.page.resolution) for r in runs)
        calibrations = [calibration(variant=v, resolution=size) for v, size in keys]
    by_key = {(c.variant, c.resolution): c for c in calibrations}
    traced = activities or [activity()] * len(runs)
    counted = {(c.variant, c.resolution): c for c, _ in counters}
    metrics = metrics_table(runs, traced, by_key, machine, measured or ceiling(), counted)
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
    read = {"inputs": pd.DataFrame(list(pages.values())), "metrics": metrics, "summary": summary}
    read["comparison"] = compare_variants(metrics)
    for name, damage in (damaged or {}).items():
        read[name] = damage(read[name])
    data = gather(
        inputs=read["inputs"],
        metrics=read["metrics"],
        summary=read["summary"],
        comparison=read["comparison"],
        hardware=machine,
        ceiling=measured or ceiling(),
        calibrations=calibrations,
        survey=survey_runs(runs),
        operators=aggregate_operators(operators, works),
        kernels=aggregate_kernels(kernels),
        settings=SETTINGS if settings is None else settings,
        command=command,
        commit="0123456789ab",
        counters=counters,
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


def kernel_rows(
    *rows: tuple[str, str, float], undispatched: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """A kernel table of (stage, kernel, device ms); some ms, by kernel, past the dispatcher."""
    return pd.DataFrame(
        [
            {
                "stage": stage,
                "kind": "kernel",
                "kernel": name,
                "calls": 4,
                "device_ms": device,
                "undispatched_ms": (undispatched or {}).get(name, 0.0),
            }
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


def distinct() -> tuple[list[records.Run], Tables]:
    """Two variants of two precisions, three pages, three repeats: no two values are alike."""
    runs, activities = [], []
    models = {"baseline": model(), "half": model(dtype="fp16")}
    for v, (variant, of_variant) in enumerate(models.items()):
        for p in range(3):
            for repeat in range(3):
                ms = 60.0 + 17.0 * v + 7.0 * p**2 + 1.3 * repeat**2
                steps = [11.0 + 5.0 * v + p + 0.37 * repeat + 0.3 * i**2 for i in range(9 + 2 * p)]
                timed = a_pass(
                    len(steps) + 1,
                    prefill_ms=ms,
                    vision_ms=0.43 * ms + repeat,
                    projector_ms=0.05 * ms + 0.2 * repeat,
                    language_prefill_ms=0.31 * ms - 0.7 * repeat,
                    step_ms=steps,
                    decode_ms=sum(steps) + 3.0,
                )
                name = f"{p}.png"
                runs.append(
                    run(
                        len(steps) + 1,
                        variant=variant,
                        image=name,
                        repeat=repeat,
                        page=page(path=f"pages/{name}"),
                        model=of_variant,
                        timed=timed,
                    )
                )
                activities.append(_activity(p, repeat, ms, sum(steps), len(steps)))
    peaks = {
        "bf16": records.Peak(tflops=1000.0, source="table", detail="a data sheet"),
        "fp16": records.Peak(tflops=830.0, source="override", detail="by hand"),
    }
    made = tables(
        runs,
        activities=activities,
        calibrations=[calibration(variant=name, model=one) for name, one in models.items()],
        machine=hardware(peaks=peaks),
    )
    return runs, made


def _activity(p: int, repeat: int, ms: float, steps_ms: float, steps: int) -> records.Activity:
    stage = records.StageActivity
    prefill = stage(
        wall_ms=1.3 * ms,
        steps=0,
        kernels=500 + 31 * p + repeat,
        device_busy_ms=(0.51 + 0.03 * repeat) * ms,
    )
    decode = stage(
        wall_ms=1.4 * steps_ms,
        steps=steps,
        kernels=(90 + 7 * p + 2 * repeat) * steps,
        device_busy_ms=(0.62 + 0.05 * repeat) * steps_ms,
    )
    return activity(stages={"prefill": prefill, "decode": decode})
