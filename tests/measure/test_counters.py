"""Counters joined with the trace of an equal pass: whose each kernel is."""

import gzip
from dataclasses import replace

import pytest
from checkpoints import ROOT
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.counters import CounterTotals
from mfuscope.measure import ncu
from mfuscope.measure.counters import CountedLaunch, by_component, by_stage, join, totals
from mfuscope.measure.ncu import KernelCount
from mfuscope.traces.columns import read_trace
from mfuscope.traces.sequence import TracedLaunch, launch_sequence

DATA = ROOT / "tests" / "data"
METRICS = ncu.choose_metrics("9.0", "bf16")
FLOPS = METRICS.tensor[0]


@pytest.fixture(scope="module")
def counts() -> list[KernelCount]:
    text = gzip.decompress((DATA / "h100-counters.csv.gz").read_bytes()).decode()
    return ncu.read_counts(text, METRICS.names)


@pytest.fixture(scope="module")
def traced() -> list[TracedLaunch]:
    return launch_sequence(read_trace(DATA / "h100-counted-pass.json.gz"))


def test_every_kernel_of_a_gpu_finds_its_operator_and_component(
    counts: list[KernelCount], traced: list[TracedLaunch]
) -> None:
    """Both of one pass of the nano model on an H100, in processes of their own."""
    rows, mismatches, partial = join(counts, traced, METRICS)
    assert not mismatches
    assert not partial
    assert all(row.operator and row.component for row in rows)
    stages, components = by_stage(rows), by_component(rows, mismatches)
    assert {name: one.kernels for name, one in stages.items()} == {
        "prefill": 510,
        "decode_step": 265,
        "vision": 192,
        "projector": 1,
        "language_prefill": 288,
    }
    for stage, parts in components.items():
        for name in CounterTotals.__dataclass_fields__:
            whole = getattr(stages[stage], name)
            assert sum(getattr(one, name) for one in parts.values()) == pytest.approx(whole)
    experts = components["prefill"]["routed_experts"]
    assert experts.tensor_flops == 1_107_296_256
    heads = [row for row in rows if row.component == "lm_head" and row.tensor_flops]
    assert {row.operator for row in heads} <= {"aten::mm", "aten::bmm"}
    assert len(heads) == 2  # a row of logits of prefill, and one of the step


def test_another_kernel_in_the_trace_is_told_and_nothing_is_guessed(
    counts: list[KernelCount], traced: list[TracedLaunch]
) -> None:
    place = next(i for i, one in enumerate(traced) if one.stage == "decode_step") + 3
    changed = [*traced]
    changed[place] = replace(changed[place], kernel="void scope::another<int>(int)")
    rows, mismatches, _ = join(counts, changed, METRICS)
    assert list(mismatches) == ["decode_step"]
    assert "number 4 is" in mismatches["decode_step"]
    assert "another in the trace" in mismatches["decode_step"]
    of_step = [row for row in rows if row.stage == "decode_step"]
    assert {(row.operator, row.component) for row in of_step} == {("", "")}
    assert list(by_component(rows, mismatches)) == ["prefill"]
    assert by_stage(rows)["decode_step"].kernels == 265  # what was counted stays


def test_a_kernel_that_the_trace_lost_is_a_mismatch(
    counts: list[KernelCount], traced: list[TracedLaunch]
) -> None:
    rows, mismatches, partial = join(counts, traced[:-1], METRICS)
    assert mismatches["decode_step"].startswith("of 265 counted and 264 traced kernels")
    assert mismatches["decode_step"].endswith("and none in the trace")
    assert not partial
    assert by_stage(rows)["decode_step"].kernels == 265


def test_a_part_of_a_stage_is_no_stage(
    counts: list[KernelCount], traced: list[TracedLaunch]
) -> None:
    """ncu that is ended early leaves a table of what it had counted."""
    rows, mismatches, partial = join(counts[:-100], traced, METRICS)
    assert not mismatches
    assert list(partial) == ["decode_step"]
    assert partial["decode_step"].startswith("ncu counted 1")
    assert partial["decode_step"].endswith("of its 265 kernels")
    assert set(by_stage(rows)) == {"prefill", "vision", "projector", "language_prefill"}
    assert list(by_component(rows, mismatches)) == ["prefill"]


def count(kernel: str, *ranges: str, flops: float = 0.0) -> KernelCount:
    values = dict.fromkeys(METRICS.names, 1.0) | {FLOPS: flops}
    return KernelCount(kernel, ranges, values)


def test_copies_that_run_as_kernels_have_no_owner() -> None:
    """In replays of CUDA graphs the driver runs copies as kernels; a trace calls them copies."""
    step = ("decode", "decode_step[0]")
    counted = [count("memcpy32_post", *step), count("void f<int>(int)", *step)]
    traced = [TracedLaunch("decode_step", "void a::f<float>(float)", "aten::mm", "router")]
    rows, mismatches, _ = join(counted, traced, METRICS)
    assert not mismatches
    assert [(row.operator, row.component) for row in rows] == [
        ("", "other"),
        ("aten::mm", "router"),
    ]


def test_a_part_within_a_part_has_its_own_kernels() -> None:
    ranges = [("prefill", "vision"), ("prefill", "vision", "projector"), ("prefill",)]
    rows, _, _ = join([count("f", *one) for one in ranges], [], METRICS)
    assert [row.part for row in rows] == ["vision", "projector", ""]


def test_a_counter_that_is_missing_once_is_missing_in_the_sum() -> None:
    row = CountedLaunch("prefill", "", "k", "", "", 5, 7, 1, 2)
    assert totals([row, row]).tensor_flops == 14
    assert totals([row, replace(row, tensor_flops=None)]).tensor_flops is None
    assert totals([row, replace(row, dram_write_bytes=None)]).dram_bytes is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**12)), min_size=1))
def test_components_add_up_to_their_stage(parts: list[tuple[str, int]]) -> None:
    rows = [
        CountedLaunch("prefill", "", "k", "o", name, value, value, value, value)
        for name, value in parts
    ]
    whole, found = by_stage(rows)["prefill"], by_component(rows, {})["prefill"]
    assert sum(one.tensor_flops or 0 for one in found.values()) == whole.tensor_flops
    assert sum(one.dram_bytes or 0 for one in found.values()) == whole.dram_bytes
