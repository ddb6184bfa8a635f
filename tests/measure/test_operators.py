"""A real trace calls the operators that were counted, so that all FLOPs find their rows."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from checkpoints import MODELS

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core.records import Calibration
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.profiler import recording
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.stages import StageTimer
from mfuscope.metrics.operator_work import TracedPass
from mfuscope.models.spec import resolve_model
from mfuscope.report.operator_flops import works
from mfuscope.report.operators import StageOperators, aggregate_operators
from mfuscope.traces.columns import read_trace
from mfuscope.traces.operators import operator_table

PLAIN = ProfilerSettings(
    decode_steps=None, record_shapes=False, profile_memory=False, with_stack=False
)
HOW = Generation(3, ignore_eos=True)
KEY = RunKey("v", "map.png", 0)


# A GPU's first trace after one of the CPU alone may lack the kernels; on a busy CPU an operator may
# be interrupted within a child, so that the time of its own is too short to tell.
_TRACES = 3


def session(model: str, load_format: str, device: str) -> Session:
    settings = ModelSettings(model, load_format, "auto", "sdpa", "Free OCR.", "auto", "none", 0)
    return Session(resolve_model(model, load_format, MODELS), settings, device)


def check(made: Session, folder: Path, *hows: Generation) -> None:
    """Every counted FLOP is with an operator of the traces that has a time of its own."""
    counted = calibrate(made, CalibrationKey("v", "512"))
    forwards = [(counted.prefill_operators, counted.prefill_total)]
    forwards += [(step.operators, step.total) for step in counted.decode_steps]
    for by_operator, total in forwards:
        assert sum(one.flops for one in by_operator.values()) == total["counted"]
    for how in hows:
        for _ in range(_TRACES):
            stages = traced(made, folder, how, counted)
            if not any(stage.unknown for stage in stages):
                break
        for stage in stages:
            assert stage.unknown == ()
            assert sum(row.flops or 0 for row in stage.rows) == stage.flops
            assert stage.flops
            assert all(stage.ms(row) for row in stage.rows if row.flops)


def traced(
    made: Session, folder: Path, how: Generation, counted: Calibration
) -> list[StageOperators]:
    """The operators of prefill and decode in a trace of a pass, with their FLOPs."""
    trace = folder / "trace.json"
    timer = StageTimer(made.model, made.device, how.max_new_tokens)
    with recording(PLAIN, made.device) as profile, timer.measure():
        made.generate(made.blank_inputs("512"), how, on_logits=timer.on_logits)
    profile.export_chrome_trace(str(trace))
    table = pd.DataFrame(operator_table(read_trace(trace)))
    on_cpu = made.device.type == "cpu"
    passed = TracedPass("512", how.max_new_tokens - 1, how.batch_size, on_cpu)
    work = works([KEY], {KEY: passed}, [counted])
    stages = {one.stage: one for one in aggregate_operators([("v", table)], work)}
    return [stages["prefill"], stages["decode"]]


def test_every_flop_finds_its_row(published: Path, tmp_path: Path) -> None:
    check(session(str(published), "auto", "cpu"), tmp_path, HOW)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_every_flop_finds_its_row_on_a_gpu(tmp_path: Path) -> None:
    hows = [HOW, replace(HOW, batch_size=2), replace(HOW, cache="static")]
    check(session("deepseek-ocr-nano", "dummy", "cuda"), tmp_path, *hows)
