"""Report data of several variants: what they change, and how long their stages take."""

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

from builders import a_pass, activity, page, run
from report_data import tables

from mfuscope.core import records
from mfuscope.report.data import ReportData

BASE: dict[str, Any] = {
    "model": "deepseek-ocr",
    "dtype": "bf16",
    "cache": "dynamic",
    "compile": "none",
    "resolution": "gundam",
    "batch_size": 1,
    "ignore_eos": True,
}
GRAPHS: dict[str, Any] = {"cache": "static", "compile": "decode"}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A variant; `spread` is the relative step from repeat to repeat of both stages."""

    changes: dict[str, Any] = field(default_factory=dict)
    prefill_ms: float = 100.0
    decode_ms: float = 900.0
    busy_ms: tuple[float, float] = (95.0, 90.0)
    spread: float = 0.01
    tokens: str = "a" * 64
    compile_s: float | None = None
    prompt: int = 278


def report_of(pages: int = 3, repeats: int = 3, **variants: Made) -> ReportData:
    """The data of a report on these variants, the reference first."""
    runs, activities = [], []
    for variant, made in variants.items():
        for place in range(pages):
            for repeat in range(repeats):
                runs.append(_run(variant, made, place, repeat, repeats))
                activities.append(_activity(made))
    named = {variant.replace("_", "-"): made.changes for variant, made in variants.items()}
    settings = {"variants": {name: BASE | changes for name, changes in named.items()}}
    command = "snakemake --cores 1"
    if list(named) != ["baseline"]:
        command += f" --config repeats={repeats} " + shlex.quote(f"variants={json.dumps(named)}")
    return tables(runs, activities=activities, settings=settings, command=command).data


def _run(variant: str, made: Made, place: int, repeat: int, repeats: int) -> records.Run:
    factor = (1 + 0.1 * place) * (1 + made.spread * (repeat - (repeats - 1) / 2))
    batch = made.changes.get("batch_size", 1)
    timed = a_pass(
        prefill_ms=factor * made.prefill_ms,
        vision_ms=factor * 0.5 * made.prefill_ms,
        language_prefill_ms=factor * 0.4 * made.prefill_ms,
        decode_ms=factor * made.decode_ms,
        step_ms=[factor * made.decode_ms / 3] * 3,
        token_ids_sha256=made.tokens,
    )
    compiled = made.compile_s and records.Compilation(
        compile_s=made.compile_s,
        passes=2,
        frames=1,
        recompilations=0,
        graphs=1,
        graph_breaks=[],
    )
    one = run(
        variant=variant.replace("_", "-"),
        image=f"{place}.png",
        repeat=repeat,
        page=page(path=f"{place}.png"),
        timed=timed,
        compilation=compiled,
        runs_before=3,
    )
    one.settings["batch_size"] = batch
    return one


def _activity(made: Made) -> records.Activity:
    stage = records.StageActivity
    prefill, decode = made.busy_ms
    return activity(
        stages={
            "prefill": stage(wall_ms=900.0, steps=0, kernels=2000, device_busy_ms=prefill),
            "decode": stage(wall_ms=900.0, steps=3, kernels=2100, device_busy_ms=decode),
        }
    )
