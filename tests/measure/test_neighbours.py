"""Repeats that vary because other processes use the CPUs: the report says so, with milliseconds."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from builders import CALL, calibration, cpu_activity, hardware
from checkpoints import MODELS, ROOT
from PIL import Image
from report_data import tables

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core import records
from mfuscope.core.runs import RunKey
from mfuscope.measure.one_pass import one_pass
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Session
from mfuscope.metrics.causes import CAUSES
from mfuscope.metrics.repeats import explained_ms
from mfuscope.models.spec import resolve_model
from mfuscope.report.spread import explanation, unsteady

PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
TOKENS = 24
NEIGHBOURS = 3


@contextmanager
def busy_neighbours() -> Iterator[None]:
    """Keep this thread on one CPU, which busy processes use too."""
    cpus, started = os.sched_getaffinity(0), []
    os.sched_setaffinity(0, {min(cpus)})
    try:
        for _ in range(NEIGHBOURS):
            command = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        for one in started:
            assert one.stdout is not None
            one.stdout.readline()  # it runs
        yield
    finally:
        os.sched_setaffinity(0, cpus)
        for one in started:
            one.kill()
            one.communicate()


def test_a_busy_neighbour_is_named_with_its_milliseconds(published: Path, tmp_path: Path) -> None:
    plain = ProfilerSettings(1, record_shapes=False, profile_memory=False, with_stack=False)
    how = RunSettings("tiny", TOKENS, True, warmup=0, profiler=plain, timed_passes=1)
    model = ModelSettings(str(published), "auto", "auto", "sdpa", "Free OCR.", "auto", "none", 1)
    session = Session(resolve_model(str(published), "auto", MODELS), model, "cpu")

    key = RunKey("baseline", "map.png", 0)
    trace = tmp_path / "trace.json"
    first = measure(session, PAGE, trace, how, key=key, max_megapixels=150, call=CALL)
    with Image.open(PAGE) as opened:
        page = session.inputs(opened.convert("RGB"), how.resolution)

    def another() -> records.Pass:
        return one_pass(session, page, how.generation, TOKENS)[0]

    passes = [*first.passes, another()]
    with busy_neighbours():
        passes.append(another())
    runs = [replace(first, repeat=i, passes=[one]) for i, one in enumerate(passes)]
    data = tables(
        runs,
        activities=[cpu_activity()] * len(runs),
        calibrations=[_calibration(runs[0])],
        machine=_machine(runs[0]),
    ).data
    decode = next(one for one in unsteady(data) if one.stage == "decode")
    text = explanation(decode.causes, decode.excess_ms)
    assert explained_ms(decode.causes, CAUSES) > 0.5 * decode.excess_ms, text
    assert decode.causes[0].kind == "wait", text
    assert text.startswith("waited for a CPU ")


def _calibration(run: records.Run) -> records.Calibration:
    """FLOPs of any size: no time depends on them."""
    return calibration(
        resolution=run.page.resolution, prompt_tokens=run.prompt_tokens, model=run.model
    )


def _machine(run: records.Run) -> records.Hardware:
    peak = records.Peak(tflops=1e6, source="table", detail="so high that no MFU is impossible")
    return hardware(device=run.device, peaks={run.model.dtype: peak})
