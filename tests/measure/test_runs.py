"""Records of runs, on a fake session: tokens, absent values, traces, energy."""

import contextlib
import gc
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from builders import CALL, a_pass, gpu
from checkpoints import ROOT
from fakes import FakeNvml, FakeSession, install_nvml
from mounts import small_disk

from mfuscope.config.settings import (
    ProfilerSettings,
)
from mfuscope.core.errors import UserError
from mfuscope.core.records import Ending, Pass, Run
from mfuscope.core.runs import RunKey
from mfuscope.measure import passes as profiling
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Session
from mfuscope.models.inputs import PageInputs

CUDA = torch.device("cuda:1")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


@pytest.fixture
def fake_nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    return install_nvml(monkeypatch)


def one_run(
    session: FakeSession, folder: Path, timed_passes: int = 1, ignore_eos: bool = True
) -> Run:
    plain = ProfilerSettings(
        decode_steps=None, record_shapes=False, profile_memory=False, with_stack=False
    )
    how = RunSettings("tiny", 3, ignore_eos, 0, profiler=plain, timed_passes=timed_passes)
    trace = folder / "trace.json"
    made = cast(Session, session)
    key = RunKey("baseline", "map.png", 1)
    return measure(made, PAGE, trace, how, key=key, max_megapixels=150, call=CALL)


@pytest.mark.parametrize(
    ("traced", "agree"),
    [([1, 2, 3], True), ([1, 2, 4], False), ([1, 2], False), ([12, 3, 0], False)],
)
def test_a_run_says_whether_its_passes_agree(
    traced: list[int], agree: bool, tmp_path: Path
) -> None:
    run = one_run(FakeSession([[1, 2, 3], traced]), tmp_path)
    assert run.passes_agree is agree
    assert (run.timed.token_ids_sha256 == run.traced.token_ids_sha256) is agree
    # Of the timed pass, whatever the traced one did.
    assert run.context_tokens == 7 + 3


def test_every_timed_pass_is_recorded_without_the_collector(tmp_path: Path) -> None:
    collecting: list[bool] = []
    session = FakeSession([[1, 2]] * 4, during=lambda: collecting.append(gc.isenabled()))
    run = one_run(session, tmp_path, timed_passes=3)
    assert len(run.passes) == 3
    assert collecting == [False] * 4, "in the traced pass too"
    assert gc.isenabled()
    assert run.passes_agree
    starts = [one.host.started_at for one in (*run.passes, run.traced)]
    assert starts == sorted(starts)
    assert run.session.reference.prefill_ms > 0
    assert (run.session.call, run.session.process) == (CALL, session.process)
    assert run.warmup_ms == []


def test_timed_passes_that_differ_are_told(tmp_path: Path) -> None:
    run = one_run(FakeSession([[1, 2], [1, 3], [1, 2], [1, 2]]), tmp_path, timed_passes=3)
    assert not run.passes_agree


def test_timed_passes_of_different_lengths_are_no_run(tmp_path: Path) -> None:
    session = FakeSession([[1, 2], [1], [1, 2], [1, 2]])
    with pytest.raises(UserError, match=r"made 2, 1, 2 new tokens.* `ignore_eos: true"):
        one_run(session, tmp_path, timed_passes=3)
    assert session.runs == 0


@pytest.mark.parametrize(("tokens", "by"), [([1, 2, 0], "end"), ([1, 2, 3], "limit")])
def test_how_the_answer_ended_is_recorded(tokens: list[int], by: str, tmp_path: Path) -> None:
    session = FakeSession([tokens, tokens])
    session.description = replace(session.description, weights="checkpoint")
    run = one_run(session, tmp_path, ignore_eos=False)
    assert run.ending == Ending(by=by)
    assert "ending" not in run.absent
    assert run.prompt == session.prompt(session.blank)


@pytest.mark.parametrize(
    ("weights", "ignore_eos", "ends", "reason"),
    [
        ("dummy", False, {0}, "dummy weights write no text"),
        ("checkpoint", True, {0}, "`ignore_eos: true`: every answer goes on to max_new_tokens"),
        ("checkpoint", False, set(), "the model names no token that ends an answer"),
    ],
)
def test_an_ending_that_cannot_be_seen_is_absent(
    weights: str, ignore_eos: bool, ends: set[int], reason: str, tmp_path: Path
) -> None:
    session = FakeSession([[1, 2, 0], [1, 2, 0]])
    session.description = replace(session.description, weights=weights)
    session.end_tokens = frozenset(ends)
    run = one_run(session, tmp_path, ignore_eos=ignore_eos)
    assert run.ending is None
    assert run.absent["ending"] == reason


def test_a_part_that_never_ran_is_absent(tmp_path: Path) -> None:
    run = one_run(FakeSession([[1, 2], [1, 2]]), tmp_path)
    assert run.timed.projector_ms is None
    assert (
        run.timed.absent["projector_ms"] == "prefill called no module that is known to be this part"
    )
    assert run.timed.vision_ms is not None
    assert "vision_ms" not in run.timed.absent


def gpu_trace(*launches: bool) -> str:
    """A trace as Kineto writes it: a launch each, with its kernel or without."""
    span = '{"ph": "X", "cat": "%s", "name": "%s", "ts": %d, "dur": 1, "args": {"correlation": %d}}'
    events = [span % ("user_annotation", "prefill", 0, 0)]
    for number, kernel in enumerate(launches, 1):
        events.append(span % ("cuda_runtime", "cudaLaunchKernel", 0, number))
        events += [span % ("kernel", "gemm", 2 * number, number)] if kernel else []
    return f'{{"traceEvents": [{", ".join(events)}]}}'


WHOLE, PARTIAL, EMPTY = gpu_trace(True, True), gpu_trace(True, False), gpu_trace(False, False)
LOST = "the trace lost the device events of 1 of 2 launches in prefill"


CLOCK_SET = ""


def traced_pass(
    texts: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int, dict[str, str]]:
    """Traces made, which of them was kept with its pass, and what it lacks.

    `texts` are the traces; `CLOCK_SET` stands for one during which the clock was set.
    """
    made = FakeSession([])
    made.device = CUDA
    number = itertools.count()
    passes: list[int] = []

    def a_traced_pass(*_: object) -> tuple[Pass, list[int]]:
        passes.append(next(number))
        return a_pass(3, prefill_ms=50.0 + passes[-1]), passes[-1:]

    def save(path: str) -> None:
        assert texts[passes[-1]] != CLOCK_SET
        Path(path).write_text(texts[passes[-1]])

    clock = SimpleNamespace(was_set=lambda: texts[passes[-1]] == CLOCK_SET)
    monkeypatch.setattr(profiling, "WallClock", lambda: clock)
    profile = SimpleNamespace(add_metadata_json=lambda *_: None, export_chrome_trace=save)
    monkeypatch.setattr(profiling, "recording", lambda *_: contextlib.nullcontext(profile))
    monkeypatch.setattr(profiling, "one_pass", a_traced_pass)
    plain = ProfilerSettings(None, False, False, False)
    how = RunSettings("tiny", 3, ignore_eos=True, warmup=0, profiler=plain)
    page = PageInputs({}, 7, 5, "512")
    trace = folder / "trace.json"
    kept, (of,), lacks = profiling._traced_pass(cast(Session, made), page, how, "{}", trace)
    assert kept.prefill_ms == 50.0 + of
    assert trace.read_text() == texts[of]
    return len(passes), of, lacks


@pytest.mark.parametrize(
    ("texts", "kept", "lacking"),
    [
        ([WHOLE], 0, ""),
        ([EMPTY, WHOLE], 1, ""),
        ([PARTIAL, WHOLE], 1, ""),
        ([EMPTY, EMPTY], 1, "CUPTI recorded no kernel"),
        ([EMPTY, PARTIAL], 1, LOST),
        ([CLOCK_SET, WHOLE], 1, ""),
        ([CLOCK_SET, PARTIAL], 1, LOST),
        ([PARTIAL, CLOCK_SET], 0, LOST),
    ],
)
def test_a_trace_that_lost_kernels_is_made_again(
    texts: list[str], kept: int, lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, of, lacks = traced_pass(texts, tmp_path, monkeypatch)
    assert (made, of) == (len(texts), kept)
    reason = f"{lacking} (2 traces were made)"
    assert lacks == (dict.fromkeys(("kernels", "device_busy_ms"), reason) if lacking else {})


def test_no_time_of_a_trace_is_right_where_the_clock_was_set_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="clock was set while each of 2 traces was recorded"):
        traced_pass([CLOCK_SET, CLOCK_SET], tmp_path, monkeypatch)


def test_a_trace_that_found_no_room_is_reported(tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "job"
    session = FakeSession([[1, 2], [1, 2]])
    with small_disk(disk, "4k"):
        (disk / "filler").write_bytes(bytes(4096))
        with pytest.raises(UserError, match=r"could not write its trace to .*, where 0 MB are"):
            one_run(session, disk)


def test_energy_is_the_counters_difference_in_joules(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    def work() -> None:
        fake_nvml.energy_mj += 2500

    run = one_run(FakeSession([[1], [1]], gpu(), work), tmp_path)
    assert run.timed.energy_j == run.traced.energy_j == 2.5
    assert "energy_j" not in run.timed.absent


def test_a_counter_that_does_not_move_gives_no_energy(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    run = one_run(FakeSession([[1], [1]], gpu()), tmp_path)
    assert run.timed.energy_j is None
    assert run.timed.absent["energy_j"] == "the counter did not move during the pass"


def test_nvml_may_go_in_the_middle_of_a_pass(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    def work() -> None:
        fake_nvml.energy_mj += 2500
        fake_nvml.gone = True

    run = one_run(FakeSession([[1], [1]], gpu(), work), tmp_path)
    assert run.timed.energy_j is None
    assert run.timed.absent["energy_j"] == "during the pass: NVML: GPU is lost"
    assert run.timed.conditions_before.sm_clock_mhz == 1755
    after = run.timed.conditions_after
    assert after.sm_clock_mhz is None
    assert after.absent["sm_clock_mhz"] == "NVML: GPU is lost"
    # The traced pass never had it.
    assert run.traced.energy_j is None
    assert run.traced.absent["energy_j"] == "NVML: GPU is lost"
