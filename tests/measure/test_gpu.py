"""On a CUDA GPU: the kernels really used are counted as the closed form has it.

Run with ``pytest -m gpu``.
"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import CALL
from checkpoints import MODELS, ROOT

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.hardware import nvml
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Generation, Session
from mfuscope.models.spec import resolve_model
from mfuscope.planning.parameters import countable
from mfuscope.traces.activity import activity
from mfuscope.traces.columns import read_trace
from mfuscope.traces.operators import UNATTRIBUTED, operator_table

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU"),
]

ATTENTION = ["sdpa", "eager"] + (["flash"] if importlib.util.find_spec("flash_attn") else [])
PLAIN = ProfilerSettings(None, False, False, False)
EXPERTS = ["grouped_mm", "batched_mm", "eager"]


def session(name: str, attention: str = "sdpa", compiling: str = "none") -> Session:
    # As the workflow calibrates: flash attention is counted as sdpa.
    asked = {"attention": attention, "experts": "auto", "compile": "none"}
    attention = countable(asked)["attention"]
    settings = ModelSettings(name, "dummy", "bf16", attention, "Free OCR.", "auto", compiling, 0)
    return Session(resolve_model(name, "dummy", MODELS), settings, "cuda")


def assert_counts_agree(made: Session, resolution: str) -> Any:
    counted = calibrate(made, CalibrationKey("baseline", resolution))
    assert counted.uncounted_operators == []
    for table in (counted.prefill_flops, *(step.flops for step in counted.decode_steps)):
        for component, models in table.items():
            assert models["counted"] == models["architecture"], component
    return counted


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("experts", EXPERTS)
@pytest.mark.parametrize("name", ["deepseek-ocr-nano", "deepseek-ocr-2"])
def test_every_implementation_counts_the_same(name: str, attention: str, experts: str) -> None:
    made = session(name, attention)
    made.model.set_experts_implementation(experts)
    assert_counts_agree(made, "512")


@pytest.mark.parametrize(
    ("resolution", "flops"),
    [("1024", 1_372_237_348_864), ("1024+640x2x3", 4_261_900_484_608)],
)
def test_the_full_size_reference_figures(resolution: str, flops: int) -> None:
    counted = assert_counts_agree(session("deepseek-ocr"), resolution)
    assert counted.prefill_total["counted"] == flops


def test_planning_knows_the_compute_capability() -> None:
    """Without torch: what refuses bf16 on cards that lack it."""
    gpus, _ = nvml.visible_gpus()
    found = {gpu.compute_capability for gpu in gpus if gpu.name != "MIG"}
    count = torch.cuda.device_count()
    assert found <= {torch.cuda.get_device_capability(index) for index in range(count)}


def test_a_run_has_device_times_and_conditions(tmp_path: Path) -> None:
    made = session("deepseek-ocr-nano")
    run = measure(
        made,
        ROOT / "data" / "samples" / "image_eu_map.png",
        tmp_path / "trace.json",
        RunSettings("tiny", 16, ignore_eos=True, warmup=1, profiler=PLAIN),
        key=RunKey("baseline", "map.png", 0),
        max_megapixels=150,
        call=CALL,
    )
    assert run.passes_agree
    assert run.device.kind == "cuda"
    assert run.device.uuid is not None
    timed = run.timed
    assert timed.vision_ms is not None
    assert 0 < timed.vision_ms < timed.prefill_ms
    for one in run.passes:  # events on the stream and the host's clock measure the same call
        assert 0.8 <= (one.prefill_ms + one.decode_ms) / one.host_ms <= 1.05
    assert timed.conditions_before.sm_clock_mhz
    assert timed.peak_memory_bytes


@pytest.mark.parametrize("compiling", ["decode", "all"])
def test_compiled_code_makes_the_same_tokens_from_graphs(compiling: str, tmp_path: Path) -> None:
    plain, run = (
        measure(
            session("deepseek-ocr-nano", compiling=mode),
            ROOT / "data" / "samples" / "image_eu_map.png",
            tmp_path / "trace.json",
            RunSettings("tiny", 16, ignore_eos=True, warmup=1, profiler=PLAIN, cache=cache),
            key=RunKey(mode, "map.png", 0),
            max_megapixels=150,
            call=CALL,
        )
        for mode, cache in (("none", "dynamic"), (compiling, "static"))
    )
    assert run.passes_agree
    assert run.timed.token_ids_sha256 == plain.timed.token_ids_sha256
    compiled = run.compilation
    assert compiled is not None
    assert compiled.graphs == (2 if compiling == "all" else 1)
    assert (compiled.graph_breaks, compiled.recompilations, compiled.discarded_passes) == ([], 0, 0)
    assert "graph_operators" not in run.absent
    trace = read_trace(tmp_path / "trace.json")
    found = activity(trace, RunKey(compiling, "map.png", 0), "dummy", 15)
    assert found.absent == {}
    assert found.stages["decode"].graph_launches == 15
    assert bool(found.stages["prefill"].graph_launches) == (compiling == "all")
    table = operator_table(trace)
    on_device = [ms or 0.0 for ms in table["device_ms"]]
    unknown = [
        ms for ms, name in zip(on_device, table["operator"], strict=True) if name == UNATTRIBUTED
    ]
    assert sum(unknown) <= 0.02 * sum(on_device)


def test_a_batch_is_of_equal_copies() -> None:
    made = session("deepseek-ocr-nano")
    page = made.blank_inputs("1024+640x1x2")
    alone = made.generate(page, Generation(8, ignore_eos=True))
    for cache in ("dynamic", "static"):
        tokens = made.generate(page, Generation(8, ignore_eos=True, cache=cache, batch_size=3))
        assert all(torch.equal(copy, alone[0]) for copy in tokens)
