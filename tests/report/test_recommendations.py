"""What limits a model, and what to try next: from the numbers alone."""

from dataclasses import replace
from typing import Any

import builders
import pytest
from builders import a_pass, activity, cpu_activity, hardware
from report_data import cpu_tables, on_cpu, operator_rows, repeats, tables

from mfuscope.core import records
from mfuscope.metrics.causes import STAGES
from mfuscope.report.data import ReportData
from mfuscope.report.limits import limit_sentence, main_stage, stage_facts
from mfuscope.report.recommendations import Recommendation, cures, recommend
from mfuscope.report.recommendations.kinds import is_matrix_work
from mfuscope.report.recommendations.rule import Facts
from mfuscope.report.recommendations.speed import memory_bound_decode, vision_dominates
from mfuscope.report.stakeholder.certainty import confidence
from mfuscope.report.stakeholder.setups import setups
from mfuscope.report.stakeholder.steps import steps
from mfuscope.report.stakeholder.words import bottom_line


def busy(prefill_ms: float, decode_ms: float, steps: int = 3) -> records.Activity:
    """A trace in which the device was busy for so long."""
    stage = records.StageActivity
    return activity(
        stages={
            "prefill": stage(wall_ms=900.0, steps=0, kernels=2000, device_busy_ms=prefill_ms),
            "decode": stage(wall_ms=900.0, steps=steps, kernels=2100, device_busy_ms=decode_ms),
        }
    )


def data(
    prefill_ms: float, decode_ms: float, *, busy_ms: tuple[float, float], **changes: Any
) -> ReportData:
    """Three equal repeats of a page whose stages take this long."""
    timed = a_pass(prefill_ms=prefill_ms, decode_ms=decode_ms, vision_ms=0.4 * prefill_ms)
    runs = [builders.run(repeat=repeat, timed=timed) for repeat in range(3)]
    return tables(runs, activities=[busy(*busy_ms)] * 3, **changes).data


# 1372 GFLOPs in 3 ms are 457 of the measured 650 TFLOP/s. A step reads 1.165 GB: three of them in
# 2 ms are 1.75 of the measured 2.6 TB/s.
LAUNCH = data(50.0, 900.0, busy_ms=(30.0, 60.0))
# With fewer weights to read than DeepSeek-OCR's 6.3 GB, prefill is right of the ridge.
FEW_BYTES = {"calibrations": [builders.calibration(prefill_weight_bytes=1_000_000_000)]}
COMPUTE = data(3.0, 2.5, busy_ms=(3.0, 2.2), **FEW_BYTES)
SMALL = data(500.0, 60.0, busy_ms=(450.0, 50.0))


def kind(made: ReportData, stage: Any = None) -> str:
    variant = made.variants[0]
    stage = stage or main_stage(variant)
    return stage_facts(variant, stage, made.hardware, made.ceiling).kind


def rules(made: ReportData) -> list[str]:
    return [one.rule for one in recommend(made, made.variants[0])]


def one(made: ReportData, rule: str) -> Recommendation:
    return next(found for found in recommend(made, made.variants[0]) if found.rule == rule)


def test_a_device_that_waits_is_host_bound() -> None:
    assert kind(LAUNCH) == "host"
    assert main_stage(LAUNCH.variants[0]) == "decode"
    found = one(LAUNCH, "launches")
    # 900 ms less the 60 ms in which the device was busy.
    assert found.gain_ms == pytest.approx(840.0)
    assert "decode" in found.title
    assert any("6.7\u00a0% of decode (60.0\u00a0ms of 900\u00a0ms)" in e for e in found.evidence)
    assert any("700 kernels are launched per decode step" in e for e in found.evidence)


@pytest.mark.parametrize(("share", "expected"), [(0.49, True), (0.51, False)])
def test_the_limit_of_waiting(share: float, expected: bool) -> None:
    made = data(10.0, 900.0, busy_ms=(9.0, 900.0 * share))
    assert (kind(made) == "host") == expected


def test_arithmetic_near_its_roof_is_compute_bound() -> None:
    assert kind(COMPUTE) == "compute"
    assert one(COMPUTE, "lower_precision").gain_ms == pytest.approx(1.5)
    older = data(3.0, 2.5, busy_ms=(3.0, 2.2), machine=without_fp8(), **FEW_BYTES)
    assert "lower_precision" not in rules(older)
    assert "fewer_tokens" in rules(older)


def without_fp8() -> records.Hardware:
    return hardware(device=builders.gpu(compute_capability="8.0"))


def test_reading_weights_near_the_bandwidth_is_memory_bound() -> None:
    made = data(1.0, 2.5, busy_ms=(1.0, 2.0))
    assert kind(made) == "memory"
    weights, cache = 1.14825728, 2 * 12 * 280 * 1280 * 2 / 1e9
    found = one(made, "quantise_weights")
    assert found.gain_ms == pytest.approx(2.0 * 0.5 * weights / (weights + cache))
    assert "batch_pages" in rules(made)
    assert "quantise_cache" not in rules(made)  # it is a fiftieth of what a step reads


def test_a_device_at_work_far_below_both_roofs_runs_small_kernels() -> None:
    assert kind(SMALL) == "kernels"
    rows = operator_rows(
        ("prefill", "aten::copy_", 1.0, 60.0),
        ("prefill", "aten::addmm", 1.0, 30.0),
        ("prefill", "aten::add", 1.0, 10.0),
    )
    made = data(500.0, 60.0, busy_ms=(450.0, 50.0), operators=[("baseline", rows)])
    found = one(made, "fuse")
    assert found.gain_ms == pytest.approx(450.0 * 0.7)
    assert any("aten::copy_, aten::add" in line for line in found.evidence)
    matrix = operator_rows(("prefill", "aten::addmm", 1.0, 90.0), ("prefill", "aten::add", 1, 10.0))
    other = data(500.0, 60.0, busy_ms=(450.0, 50.0), operators=[("baseline", matrix)])
    assert "fuse" not in rules(other)


def test_a_vision_encoder_that_dominates_suggests_fewer_pixels() -> None:
    timed = a_pass(prefill_ms=500.0, decode_ms=60.0, vision_ms=400.0)
    runs = [builders.run(repeat=i, timed=timed) for i in range(3)]
    made = tables(runs, activities=[busy(450.0, 50.0)] * 3).data
    found = one(made, "vision_resolution")
    assert found.gain_ms is None  # what another resolution would take was not measured
    assert any("only one resolution" in line for line in found.evidence)
    assert "vision_resolution" not in rules(SMALL)  # four tenths of prefill
    waiting = tables(runs, activities=[busy(100.0, 50.0)] * 3).data
    assert "vision_resolution" not in rules(waiting)  # fewer pixels are no fewer launches


def test_cheaper_resolutions_bound_what_fewer_pixels_gain() -> None:
    def page(name: str, resolution: str, vision_ms: float) -> list[records.Run]:
        timed = a_pass(prefill_ms=500.0, decode_ms=60.0, vision_ms=vision_ms)
        where = builders.page(path=name, resolution=resolution)
        return [builders.run(image=name, repeat=i, page=where, timed=timed) for i in range(3)]

    runs = page("a.png", "1024", 200.0) + page("b.png", "1024+640x2x3", 480.0)
    made = tables(runs, activities=[busy(450.0, 50.0)] * 6).data
    found = one(made, "vision_resolution")
    assert found.gain_ms == pytest.approx(340.0 - 200.0)
    assert any("at 1024, the cheapest resolution here, it takes 200" in e for e in found.evidence)


@pytest.mark.parametrize(("idle_share", "expected"), [(0.09, False), (0.11, True)])
def test_idle_time_is_worth_a_thought_whatever_limits(idle_share: float, expected: bool) -> None:
    made = data(10.0, 900.0, busy_ms=(9.9, 900.0 * (1 - idle_share)))
    assert kind(made) == "kernels"
    assert ("launches" in rules(made)) == expected
    if expected:
        assert one(made, "launches").gain_ms == pytest.approx(99.0)


def test_small_operators_are_named_also_where_the_host_limits() -> None:
    rows = operator_rows(
        ("decode", "aten::mul", 1.0, 30.0),
        ("decode", "aten::mm", 1.0, 20.0),
        ("decode", "pause", 99.0, 0.0),
    )
    made = data(50.0, 900.0, busy_ms=(49.0, 60.0), operators=[("baseline", rows)])
    found = one(made, "fuse")
    assert found.gain_ms == pytest.approx(60.0 * 0.6)
    assert "While decode is host-bound, less of this gain shows." in found.text


def test_small_matrix_products_want_company() -> None:
    rows = operator_rows(("prefill", "aten::addmm", 1.0, 70.0), ("prefill", "aten::mul", 1.0, 30.0))
    made = data(500.0, 60.0, busy_ms=(480.0, 58.0), operators=[("baseline", rows)])
    found = one(made, "larger_products")
    assert found.gain_ms == pytest.approx(560.0 * (1 - 1 / 8))  # eight take as long as one, at best


def test_small_matrix_products_of_both_stages_want_it_once() -> None:
    stages = ("prefill", "decode")
    rows = operator_rows(*((stage, "aten::addmm", 1.0, 70.0) for stage in stages))
    made = data(500.0, 600.0, busy_ms=(480.0, 580.0), operators=[("baseline", rows)])
    assert list(rules(made)).count("larger_products") == 1
    found = one(made, "larger_products")
    for stage in stages:
        assert any(fact.startswith(f"{stage} reaches") for fact in found.evidence)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("aten::mm", True),
        ("aten::_grouped_mm", True),
        ("aten::mv", True),
        ("aten::cudnn_convolution", True),
        ("aten::_cudnn_attention_forward", True),
        ("flash_attn::_flash_attn_forward", True),
        ("FlashAttnFunc", True),
        ("aten::upsample_bilinear2d", False),
        ("aten::cummax", False),
        ("aten::copy_", False),
        ("aten::_softmax", False),
    ],
)
def test_what_is_a_matrix_product(operator: str, expected: bool) -> None:
    assert is_matrix_work(operator) == expected


def test_a_large_cache_is_worth_quantising() -> None:
    def rules_at(context: int) -> list[str]:
        prompt = context - 2
        cache = 2 * 12 * 1280 * 2 * context
        step = builders.decode_step(279)
        steps = [replace(step, kv_bytes=cache), replace(step, context_tokens=280, kv_bytes=cache)]
        counted = builders.calibration(prompt_tokens=prompt, decode_steps=steps)
        timed = a_pass(prefill_ms=1.0, decode_ms=2.5)
        runs = [builders.run(repeat=i, timed=timed, prompt_tokens=prompt) for i in range(3)]
        # At work for as long as the bandwidth measured takes for the bytes.
        at_work = 3 * (1_148_257_280 + cache) / 2.6e12 * 1e3
        made = tables(runs, activities=[busy(1.0, at_work)] * 3, calibrations=[counted]).data
        return rules(made)

    # 0.49 GB of cache beside 1.15 GB of weights are three tenths of what a step reads.
    assert "quantise_cache" not in rules_at(7_000)
    assert "quantise_cache" in rules_at(9_000)


def test_a_steady_device_shows_that_the_host_varies() -> None:
    timed = [a_pass(prefill_ms=50.0, decode_ms=ms) for ms in (62.0, 90.0, 70.0)]
    runs = [builders.run(repeat=i, timed=one, runs_before=3) for i, one in enumerate(timed)]
    traced = [busy(25.0, ms) for ms in (30.0, 30.1, 29.9)]
    made = tables(runs, activities=traced).data
    assert any("the host causes the spread" in line for line in one(made, "variance").evidence)
    shaky = tables(runs, activities=[busy(25.0, ms) for ms in (30.0, 45.0, 33.0)]).data
    assert not any("the host causes the spread" in line for line in one(shaky, "variance").evidence)


def test_without_a_trace_of_the_device_the_roofs_decide() -> None:
    runs = on_cpu()
    made = tables(runs, activities=[cpu_activity()] * len(runs), **cpu_tables()).data
    facts = stage_facts(made.variants[0], "decode", made.hardware, made.ceiling)
    assert facts.busy_share is None
    assert facts.kind in ("kernels", "compute", "memory")


def test_unsteady_repeats_suggest_clocks_only_where_clocks_dropped() -> None:
    def with_clock(clock: int) -> ReportData:
        slow = a_pass(
            prefill_ms=90.0,
            conditions_before=builders.conditions(sm_clock_mhz=clock),
            conditions_after=builders.conditions(sm_clock_mhz=clock),
        )
        runs = [*repeats(2), builders.run(repeat=2, timed=slow, runs_before=3)]
        return tables([replace(run, runs_before=3) for run in runs]).data

    dropped, steady = one(with_clock(900), "variance"), one(with_clock(1980), "variance")
    assert dropped.title.startswith("Lock the clocks")
    assert any("lower SM clock (900 against 1,980 MHz)" in line for line in dropped.evidence)
    assert steady.title == "Spread repeats over a longer time"
    assert steady.text.startswith("The SM clock held steady.")
    assert any("rest of prefill slower" in line for line in steady.evidence)
    assert dropped.gain_ms is None
    assert "variance" not in rules(LAUNCH)


def test_two_repeats_are_too_few() -> None:
    assert "repeats" in rules(tables(repeats(2)).data)
    assert "repeats" not in rules(LAUNCH)


def test_the_largest_gain_comes_first_and_small_ones_not_at_all() -> None:
    for made in (LAUNCH, COMPUTE, SMALL):
        variant = made.variants[0]
        gains = [found.gain_ms for found in recommend(made, variant) if found.gain_ms is not None]
        assert gains == sorted(gains, reverse=True)
        assert all(0.01 * variant.page_ms <= gain <= variant.page_ms for gain in gains)
    # Prefill waits for 20 of 50 ms, which is 0.2 % of ten seconds; decode for too little to matter.
    long = data(50.0, 9950.0, busy_ms=(30.0, 9900.0))
    assert "launches" not in rules(long)


def test_other_limits_give_other_words() -> None:
    made = (LAUNCH, COMPUTE, SMALL)
    sentences, lines, first = [], [], []
    for one_data in made:
        variant = one_data.variants[0]
        facts = stage_facts(variant, main_stage(variant), one_data.hardware, one_data.ceiling)
        sentences.append(limit_sentence(facts, variant.page_ms, "a page"))
        lines.append(bottom_line(one_data, variant))
        first.append(tuple(steps(one_data, setups(one_data))))
    assert len(set(sentences)) == len(set(lines)) == len(set(first)) == 3
    assert "launches 700 kernels a decode step" in sentences[0]
    assert "is compute-bound" in sentences[1]
    assert "waits for the computer beside it" in lines[0]


@pytest.mark.parametrize(
    ("pages", "spread", "level"), [(6, 0.5, "high"), (6, 8.0, "medium"), (6, 30.0, "low")]
)
def test_confidence_follows_the_spread(pages: int, spread: float, level: str) -> None:
    runs = [
        builders.run(
            image=f"{i}.png",
            repeat=repeat,
            page=builders.page(path=f"{i}.png"),
            timed=a_pass(prefill_ms=50.0 + spread * (repeat - 1)),
        )
        for i in range(pages)
        for repeat in range(3)
    ]
    made = tables(runs).data
    assert confidence(made, made.variants[0])[0] == level


def test_few_pages_or_one_repeat_lower_the_confidence() -> None:
    few, once = tables(repeats(3)).data, tables(repeats(1)).data
    assert confidence(few, few.variants[0])[0] == "medium"
    level, reason = confidence(once, once.variants[0])
    assert level == "low"
    assert "measured once" in reason


def facts(made: ReportData, means: dict[str, float]) -> Facts:
    """Of the first variant, with these means instead of its own."""
    variant = made.variants[0]
    stats = dict(variant.stats)
    for metric, mean in means.items():
        stats[metric] = replace(stats[metric], mean=mean)
    variant = replace(variant, stats=stats)
    prefill, decode = (stage_facts(variant, stage, made.hardware, made.ceiling) for stage in STAGES)
    return Facts(data=made, variant=variant, prefill=prefill, decode=decode)


@pytest.mark.parametrize(("decode_ms", "expected"), [(1100.0, False), (700.0, True)])
def test_a_hundredth_of_a_page_is_worth_a_recommendation(decode_ms: float, expected: bool) -> None:
    # Prefill waits for 11 ms, of 1200 ms or of 800 ms; decode for next to nothing.
    made = data(100.0, decode_ms, busy_ms=(89.0, decode_ms - 1.0))
    assert ("launches" in rules(made)) == expected


@pytest.mark.parametrize(("share", "rule"), [(39.0, "larger_products"), (41.0, "fuse")])
def test_fusing_wants_two_fifths_outside_of_matrix_products(share: float, rule: str) -> None:
    rows = operator_rows(
        ("prefill", "aten::addmm", 1.0, 100.0 - share), ("prefill", "aten::mul", 1.0, share)
    )
    made = data(500.0, 60.0, busy_ms=(450.0, 50.0), operators=[("baseline", rows)])
    assert {"larger_products", "fuse"} & set(rules(made)) == {rule}


@pytest.mark.parametrize(("vision_ms", "expected"), [(245.0, False), (255.0, True)])
def test_vision_dominates_from_half_of_prefill(vision_ms: float, expected: bool) -> None:
    assert bool(list(vision_dominates(facts(SMALL, {"vision_ms": vision_ms})))) == expected


def test_an_unknown_vision_encoder_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cures, "_can_compile", lambda _: True)
    known = facts(SMALL, {})
    assert cures.compiled(known, "prefill")
    stats = dict(known.variant.stats)
    stats["vision_ms"] = replace(stats["vision_ms"], mean=None)
    unknown = replace(known, variant=replace(known.variant, stats=stats))
    assert cures.compiled(unknown, "prefill") is None
    assert cures.compiled(unknown, "decode")


def test_vision_is_left_to_the_rules_of_launches_and_arithmetic_where_they_speak() -> None:
    dominating = facts(SMALL, {"vision_ms": 400.0})
    spoken = {
        kind: bool(list(vision_dominates(replace(dominating, prefill=prefill))))
        for kind, prefill in {
            "host": replace(dominating.prefill, busy_share=0.3),
            "compute": replace(dominating.prefill, compute_share=0.8),
            "memory": replace(dominating.prefill, memory_share=0.8),
            "kernels": dominating.prefill,
        }.items()
        if prefill.kind == kind
    }
    assert spoken == {"host": False, "compute": False, "memory": True, "kernels": True}


def reading(weights_gb: float, cache_gb: float) -> dict[str, float | None]:
    """What a decode of 200 ms at work could gain by each rule of memory."""
    means = {"decode_weight_gb_per_token": weights_gb, "decode_kv_gb_per_token": cache_gb}
    made = facts(data(10.0, 250.0, busy_ms=(9.0, 200.0)), means)
    decode = replace(made.decode, memory_share=0.8)
    assert (decode.kind, decode.at_work_ms) == ("memory", 200.0)
    return {one.rule: one.gain_ms for one in memory_bound_decode(replace(made, decode=decode))}


def test_fewer_bytes_gain_their_share_of_what_a_step_reads() -> None:
    assert reading(0.6, 0.4) == {
        "quantise_weights": pytest.approx(200.0 * 0.6 / 2),
        "batch_pages": pytest.approx(260.0 * (1 - 1 / 8)),
        "quantise_cache": pytest.approx(200.0 * 0.4 / 2),
    }


@pytest.mark.parametrize(("cache_gb", "expected"), [(0.29, False), (0.31, True)])
def test_the_cache_is_large_from_three_tenths(cache_gb: float, expected: bool) -> None:
    assert ("quantise_cache" in reading(1.0 - cache_gb, cache_gb)) == expected
