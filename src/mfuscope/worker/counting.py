"""The job that counts hardware: a trace from the worker, then ncu around a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from mfuscope.core.counters import CountedPass, Counters
from mfuscope.core.runs import CalibrationKey
from mfuscope.measure import counters, ncu
from mfuscope.storage.artefacts import write_columns, write_json
from mfuscope.traces.columns import read_trace
from mfuscope.traces.sequence import TracedLaunch, launch_sequence
from mfuscope.worker.client import Link, leased_worker
from mfuscope.worker.counted import program
from mfuscope.worker.protocol import TraceCounted
from mfuscope.worker.runtime import Limits, Runtime

_REPLAY_MODE: Final = "application"
_COLUMNS: Final = list(counters.CountedLaunch.__dataclass_fields__)


def count_hardware(
    runtime: Runtime,
    page: Path,
    *,
    max_megapixels: float,
    record: Path,
    table: Path,
    settings: Mapping[str, Any],
    bundled_models: Path,
    key: CalibrationKey,
) -> None:
    """Count a page of a resolution; write the table of its launches, then the record.

    What ncu cannot do is a record without stages, which says why: nothing else depends on it.

    Args:
        page: a page of that resolution.
        settings: see `planning.parameters.counter_parameters`.

    Raises:
        WorkerError: the pass could not be traced.
    """
    started, measured_at = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows: list[counters.CountedLaunch] = []
    mismatches: dict[str, str] = {}
    with runtime.job_folder() as folder, leased_worker(runtime, settings["model"]) as worker:
        job = counters.CountedJob(
            settings=dict(settings) | {"model": worker.model},
            bundled=str(bundled_models),
            page=str(page),
            max_megapixels=max_megapixels,
        )
        counted, launches = _trace(worker, job, folder / "trace.json")
        metrics = ncu.choose_metrics(counted.device.compute_capability, counted.model.dtype)
        absent = dict(metrics.absent)
        tool = ncu.find_ncu()
        reason = ncu.obstacle(tool, worker.device.id)
        if tool is not None and not reason:
            # Each idle worker holds a model, and the counted process needs room for another one.
            worker.end_workers()
            counts, reason = _count(runtime, worker, tool, metrics, job, folder)
            rows, mismatches, partial = counters.join(counts, launches, metrics)
            absent |= {f"components_{stage}": why for stage, why in mismatches.items()}
            absent |= partial
            if not rows and not reason:
                reason = "; ".join(partial.values()) or "no counted kernel lies in a stage"
        if reason:
            absent["stages"] = reason
    columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    columns["weights"] = [counted.model.weights] * len(rows)
    found = Counters(
        variant=key.variant,
        resolution=key.resolution,
        weights=counted.model.weights,
        measured_at=measured_at,
        seconds=time.monotonic() - started,
        tool=None if tool is None else ncu.version(tool),
        replay_mode=_REPLAY_MODE,
        metrics=list(metrics.names),
        settings=dict(settings),
        counted=counted,
        stages=counters.by_stage(rows),
        components=counters.by_component(rows, mismatches),
        table_bytes=write_columns(table, columns),
        absent=absent,
    )
    write_json(record, found)


def _trace(
    worker: Link, job: counters.CountedJob, trace: Path
) -> tuple[CountedPass, list[TracedLaunch]]:
    reply = worker.ask(
        TraceCounted(model=worker.model, bundled=job.bundled, job=job, trace=str(trace))
    )
    return msgspec.json.decode(reply, type=CountedPass), launch_sequence(read_trace(trace))


def _count(
    runtime: Runtime,
    worker: Link,
    tool: Path,
    metrics: ncu.Metrics,
    job: counters.CountedJob,
    folder: Path,
) -> tuple[list[ncu.KernelCount], str]:
    """The counted launches, or why there are none."""
    path, log = folder / "counted.json", folder / "counters.csv"
    path.write_bytes(msgspec.json.encode(job))
    graphs = job.settings["model"]["compile"] != "none"
    try:
        output = _output(
            ncu.command(tool, metrics.names, log, program(path), graphs=graphs),
            environment=os.environ | worker.device.environment,
            held=worker.lease_file,
            seconds=_seconds(runtime.limits),
        )
    except subprocess.TimeoutExpired as error:
        return [], f"ncu took longer than {error.timeout:g} s (worker.run_timeout)"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    # The table has a line per kernel; what is left are ncu's messages.
    messages = "\n".join(line for line in text.splitlines() if line.startswith("=="))
    print(output, messages, sep="\n", file=sys.stderr)
    if reason := ncu.error_in(f"{output}\n{messages}"):
        return [], reason
    try:
        return ncu.read_counts(text, metrics.names), ""
    except ValueError as problem:
        return [], str(problem)


def _seconds(limits: Limits) -> float:
    """How long ncu may take: the model starts, and ncu makes every kernel of the pass slow."""
    return limits.start_timeout + limits.run_timeout


def _output(
    command: Sequence[str], *, environment: Mapping[str, str], held: int, seconds: float
) -> str:
    """What a command prints; it holds the device's lease for as long as it runs."""
    done = subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(held,),
        timeout=seconds,
        text=True,
        errors="replace",
    )
    return done.stdout
