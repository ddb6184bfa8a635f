"""Records of runs, on a fake session: tokens, absent values, traces, energy."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from builders import a_pass, gpu
from checkpoints import ROOT
from fakes import FakeNvml, FakeSession, install_nvml
from mounts import small_disk

from mfuscope.config.settings import (
    ProfilerSettings,
)
from mfuscope.core.errors import UserError
from mfuscope.core.records import Run
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


def one_run(session: FakeSession, folder: Path) -> Run:
    plain = ProfilerSettings(
        decode_steps=None, record_shapes=False, profile_memory=False, with_stack=False
    )
    how = RunSettings("tiny", 3, ignore_eos=True, warmup=0, profiler=plain)
    trace = folder / "trace.json"
    made = cast(Session, session)
    key = RunKey("baseline", "map.png", 1)
    return measure(made, PAGE, trace, how, key=key, max_megapixels=150)


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


def test_a_part_that_never_ran_is_absent(tmp_path: Path) -> None:
    run = one_run(FakeSession([[1, 2], [1, 2]]), tmp_path)
    assert run.timed.projector_ms is None
    assert run.timed.absent["projector_ms"] == "no part of a known name ran in prefill"
    assert run.timed.vision_ms is not None
    assert "vision_ms" not in run.timed.absent


@pytest.mark.parametrize(
    ("kernels", "traces", "absent"),
    [([True], 1, False), ([False, True], 2, False), ([False] * 2, 2, True)],
)
def test_a_trace_without_kernels_is_made_again(
    kernels: list[bool], traces: int, absent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FakeSession([])
    made.device = CUDA
    found = iter(kernels)
    saved: list[str] = []

    def save(path: str) -> None:
        saved.append(path)
        Path(path).write_text('{"traceEvents": [{}]}')

    profile = SimpleNamespace(add_metadata_json=lambda *_: None, export_chrome_trace=save)
    monkeypatch.setattr(profiling, "recording", lambda *_: contextlib.nullcontext(profile))
    monkeypatch.setattr(profiling, "holds_kernels", lambda path: next(found))
    monkeypatch.setattr(profiling, "_pass", lambda *_: (a_pass(3), [len(saved)]))
    plain = ProfilerSettings(None, False, False, False)
    how = RunSettings("tiny", 3, ignore_eos=True, warmup=0, profiler=plain)
    page = PageInputs({}, 7, 5, "512")
    _, tokens, lacks = profiling._traced_pass(
        cast(Session, made), page, how, "{}", tmp_path / "trace.json"
    )
    assert len(saved) == traces
    assert tokens == [traces - 1], "the pass whose trace was kept"
    assert ("kernels" in lacks) == absent


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
