"""A session on small checkpoints: passes, traces, calibration."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import CALL
from checkpoints import MODELS, ROOT, write_llava

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core.errors import UserError
from mfuscope.core.records import PROTOCOL, Run
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.hardware.threads import measuring_threads
from mfuscope.measure import profiler as tracing
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Generation, Session, open_session
from mfuscope.models.spec import resolve_model
from mfuscope.pages.decoding import digest_page

PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
PLAIN = ProfilerSettings(
    decode_steps=None, record_shapes=False, profile_memory=False, with_stack=False
)


def settings(resolution: str = "tiny", tokens: int = 5, warmup: int = 0) -> RunSettings:
    return RunSettings(resolution, tokens, True, warmup, profiler=PLAIN, timed_passes=1)


def session(folder: Path, attention: str = "sdpa") -> Session:
    model = ModelSettings(str(folder), "auto", "auto", attention, "Free OCR.", "auto", "none", 0)
    return Session(resolve_model(str(folder), "auto", MODELS), model, "cpu")


def one_run(made: Session, trace: Path, how: RunSettings) -> Run:
    key = RunKey("baseline", "map.png", 1)
    return measure(made, PAGE, trace, how, key=key, max_megapixels=150, call=CALL)


def trace_names(trace: Path) -> set[str]:
    return {event.get("name") for event in json.loads(trace.read_bytes())["traceEvents"]}


def test_a_run_has_passes_of_both_kinds(published: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)  # as under `--cores 1`; the session sets its own
    how = replace(settings(), timed_passes=3)
    run = one_run(session(published), tmp_path / "trace.json", how)
    assert len(run.passes) == 3
    assert run.protocol == PROTOCOL
    assert (run.variant, run.image, run.repeat) == ("baseline", "map.png", 1)
    assert run.page.sha256 == digest_page(PAGE)
    assert (run.page.width, run.page.height, run.page.resolution) == (640, 682, "512")
    assert (run.prompt_tokens, run.image_tokens) == (78, 73)
    assert run.prompt is not None
    assert (run.prompt.image, run.prompt.images, run.prompt.between) == ("<image>", 73, 0)
    assert (run.prompt.before, run.prompt.after) == ("<｜begin▁of▁sentence｜>", "\nFree OCR.")
    assert run.device.threads == measuring_threads()
    for measured in (*run.passes, run.timed, run.traced):
        assert measured.new_tokens == measured.forwards == 5
        assert len(measured.step_ms) == 4
        assert 0 < measured.decode_ms == pytest.approx(sum(measured.step_ms))
        assert measured.vision_ms is not None
        assert 0 < measured.vision_ms < measured.prefill_ms
        assert measured.peak_memory_bytes is None or measured.peak_memory_bytes > 50e6
        assert measured.absent["energy_j"] == "not a GPU"
    assert run.context_tokens == 83
    assert run.passes_agree
    assert run.model.weights == "checkpoint"
    names = trace_names(tmp_path / "trace.json")
    assert {"prefill", "decode", "vision", "projector", "language_prefill"} <= names
    assert {f"decode_step[{i}]" for i in range(4)} <= names
    assert "decode_step[4]" not in names
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]


def test_warm_up_once_per_resolution(published: Path, tmp_path: Path) -> None:
    made = session(published)
    runs = [
        one_run(made, tmp_path / "t.json", settings(mode, 2, warmup=1))
        for mode in ("tiny", "tiny", "small")
    ]
    assert [bool(run.warmup_ms) for run in runs] == [True, False, True]
    assert all(ms > 0 for run in runs for ms in run.warmup_ms)
    assert [run.runs_before for run in runs] == [0, 1, 2]


@pytest.mark.parametrize(("steps", "traced"), [(2, 3), (4, 5), (9, 5)])
def test_the_traced_pass_may_be_shorter(
    published: Path, tmp_path: Path, steps: int, traced: int
) -> None:
    how = replace(settings(), profiler=replace(PLAIN, decode_steps=steps))
    run = one_run(session(published), tmp_path / "t.json", how)
    assert (run.timed.new_tokens, run.traced.new_tokens) == (5, traced)
    assert run.passes_agree
    names = trace_names(tmp_path / "t.json")
    assert f"decode_step[{traced - 2}]" in names
    assert f"decode_step[{traced - 1}]" not in names


def test_a_trace_during_which_the_clock_was_set_is_made_again(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, calls = session(published), itertools.count()
    generate = made.generate

    def count(*arguments: Any, **named: Any) -> torch.Tensor:
        next(calls)
        return generate(*arguments, **named)

    monkeypatch.setattr(made, "generate", count)
    leads = iter([0.0, 3600.0, 3600.0, 3600.0])  # before and after each trace
    monkeypatch.setattr(tracing, "_lead", lambda: next(leads))
    assert one_run(made, tmp_path / "t.json", settings(tokens=2)).passes_agree
    assert "prefill" in trace_names(tmp_path / "t.json")
    assert next(calls) == 4, "one timed pass, a reference, two traced ones"

    backwards = itertools.count(0, -3600)
    monkeypatch.setattr(tracing, "_lead", lambda: float(next(backwards)))
    with pytest.raises(UserError, match="clock was set while each of 2 traces was recorded"):
        one_run(made, tmp_path / "bad.json", settings(tokens=2))
    assert not (tmp_path / "bad.json").exists()


def test_the_end_of_sequence_stops_unless_ignored(published: Path) -> None:
    made = session(published)
    page = made.blank_inputs("512")
    first = int(made.generate(page, Generation(1, ignore_eos=True))[0, 0])
    made.model.generation_config.eos_token_id = first
    assert made.generate(page, Generation(4, ignore_eos=False)).shape == (1, 1)
    assert made.generate(page, Generation(4, ignore_eos=True)).shape == (1, 4)


def test_attention_implementations_agree(published: Path) -> None:
    tokens = [
        session(published, attention).generate(
            session(published).blank_inputs("512"), Generation(4, ignore_eos=True)
        )
        for attention in ("sdpa", "eager")
    ]
    assert tokens[0].tolist() == tokens[1].tolist()


@pytest.mark.parametrize("resolution", ["512", "1024+640x1x2"])
def test_calibration_counts_what_a_page_of_the_resolution_costs(
    published: Path, resolution: str
) -> None:
    made = session(published)
    counted = calibrate(made, CalibrationKey("baseline", resolution))
    assert counted.resolution == resolution
    assert counted.uncounted_operators == []
    # The head sees one position: 2 x hidden x vocabulary.
    head = 2 * 64 * 129280
    assert counted.prefill_flops["lm_head"]["counted"] == head
    features = {"512": 64, "1024+640x1x2": 256 + 2 * 100}[resolution]
    assert counted.prefill_flops["projector"]["counted"] == 2 * features * 128 * 64
    # The closed form, component by component, on the device too.
    tables = [counted.prefill_flops, *(step.flops for step in counted.decode_steps)]
    for by_model in (models for table in tables for models in table.values()):
        assert by_model["counted"] == by_model["architecture"]
    assert 0 < counted.prefill_total["directional"] < counted.prefill_total["counted"]
    # torch.profiler knows no fused attention and no grouped products: less, but of that size.
    ratio = counted.profiler_matmul_flops / counted.prefill_total["counted"]
    assert 0.5 < ratio < 1
    first, second = counted.decode_steps
    assert first.context_tokens == counted.prompt_tokens + 1
    # One more token in the context: 4 x hidden FLOPs in each of the two layers.
    assert second.total["counted"] - first.total["counted"] == 2 * 4 * 64
    layer = 2 * 4 * 64 * 64
    dense, shared, routed = (2 * 3 * 64 * width for width in (96, 2 * 32, 2 * 32))
    router = 2 * 64 * 4
    attention = 4 * 64 * first.context_tokens
    expected = 2 * (layer + attention) + dense + shared + routed + router + head
    assert first.total["counted"] == expected
    # Bytes in fp32: what a step multiplies with, norms, one embedding row; keys and values.
    matrices = (expected - 2 * attention) // 2
    norms, row = (2 * 2 + 1) * 64, 64
    assert first.weight_bytes == 4 * (matrices + norms + row)
    assert first.kv_bytes == 4 * 2 * 2 * 64 * first.context_tokens


def test_another_architecture_is_measured(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    made = session(tmp_path / "llava")
    run = one_run(made, tmp_path / "trace.json", settings("auto", 3))
    assert run.page.resolution.startswith("native-3x"), "what its processor makes"
    assert run.model.family == "generic"
    assert run.model.experts_implementation is None
    assert run.timed.vision_ms is not None
    assert run.passes_agree
    size = run.page.width, run.page.height
    counted = calibrate(made, CalibrationKey("baseline", run.page.resolution), size)
    assert counted.prompt_tokens == run.prompt_tokens
    assert counted.uncounted_operators == []
    assert set(counted.absent) == {"architecture"}
    assert set(counted.prefill_flops) == {"vision", "projector", "language_model", "lm_head"}
    assert counted.prefill_total["directional"] > 0
    width, layers, kv_width = 32, 2, 2 * 8
    step = counted.decode_steps[0]
    assert step.kv_bytes == 4 * 2 * layers * kv_width * step.context_tokens
    layer = 2 * width * width + 2 * width * kv_width + 3 * width * 64 + 2 * width
    assert step.weight_bytes == 4 * (layers * layer + width + 800 * width + width)


def test_a_model_that_changed_under_way_is_refused(published: Path) -> None:
    job = {
        "model": str(published),
        "load_format": "auto",
        "dtype": "auto",
        "attention": "sdpa",
        "experts": "auto",
        "compile": "none",
        "threads": 0,
        "prompt": "Free OCR.",
        "device": "cpu",
        "fingerprint": "another",
    }
    with pytest.raises(UserError, match="changed while the workflow ran"):
        open_session(job, MODELS)
