"""Model FLOPs against hardware, as the report shows it."""

from dataclasses import replace
from typing import Any

import builders
import pandas as pd
import pytest
from report_data import operator_rows, repeats, tables

from mfuscope.core.counters import Counters
from mfuscope.metrics.counted import Work
from mfuscope.metrics.operator_work import StageWork
from mfuscope.report import counted_operators, reconciliation
from mfuscope.report.data import ReportData
from mfuscope.report.figures.operator_roofline import paint_operator_roofline
from mfuscope.report.figures.style import drawing
from mfuscope.report.formats import percent, plain
from mfuscope.report.limits import StageName, stage_facts
from mfuscope.report.operator_flops import RunWork
from mfuscope.report.padding import padding_reason
from mfuscope.report.render import render

LAUNCHES = pd.DataFrame(
    [
        ("prefill", "aten::mm", 9_000_000, 1.4e12, 9e8, 3e8),
        ("prefill", "aten::copy_", 1_000_000, 0.0, 4e8, 2e8),
        ("decode_step", "aten::mm", 2_000_000, 1e10, 1.2e9, 1e8),
    ],
    columns=[
        *("stage", "operator", "device_ns", "tensor_flops", "dram_read_bytes"),
        "dram_write_bytes",
    ],
)


def counted(**changes: Any) -> ReportData:
    counters = builders.counters(**changes)
    return tables(repeats(3), counters=[(counters, LAUNCHES)]).data


def test_each_stage_has_a_verdict_on_15_percent() -> None:
    prefill, decode = map(plain, reconciliation.sentences(counted()))
    assert prefill.startswith(
        "Prefill at 1024, counted on page.png: MFU (2.7 %) is 8.5 % below HFU (2.9 %), within "
        "±15 %. "
    )
    assert decode.endswith(", outside ±15 %.")  # its components are not known


def test_factors_of_components_show_errors_that_cancel() -> None:
    flops = builders.calibration().prefill_flops
    factors = {"clip": 0.0, "attention": 0.7, "lm_head": 1.2}
    components = {
        name: builders.totals(tensor_flops=round(factor * flops[name]["counted"]))
        for name, factor in factors.items()
    }
    sentence = plain(reconciliation.sentences(counted(components={"prefill": components}))[0])
    clip = flops["clip"]["counted"] / builders.calibration().prefill_total["counted"]
    assert "Padding factors range from 0.700 (attention) to 1.20 (LM head); " in sentence
    assert f"{100 * clip:.0f} % of the model FLOPs ran outside the tensor cores." in sentence


def test_nothing_on_the_tensor_cores_is_no_baseline() -> None:
    stage = builders.totals(tensor_flops=0)
    data = counted(stages={"prefill": stage}, components={})
    (sentence,) = reconciliation.sentences(data)
    assert sentence.endswith("the tensor cores executed nothing in the model's precision.")
    (row,) = reconciliation.stages(data).rows
    assert row[5].absent
    assert "nothing ran" in row[5].note


@pytest.mark.parametrize(
    ("padding", "within"), [(1.176, True), (1.18, False), (0.87, True), (0.86, False)]
)
def test_the_verdict_turns_at_15_percent(padding: float, within: bool) -> None:
    model = builders.calibration().prefill_total["counted"]
    stage = builders.totals(tensor_flops=round(padding * model))
    (sentence,) = reconciliation.sentences(counted(stages={"prefill": stage}))
    assert ("outside ±" not in sentence) == within


def test_tables_hold_both_sides() -> None:
    data = counted()
    rows = {row[2].text: [cell.text for cell in row] for row in reconciliation.stages(data).rows}
    mfu, hfu = rows["prefill"][6:8]
    assert float(hfu.split()[0]) / float(mfu.split()[0]) == pytest.approx(1.093, rel=0.02)
    moved = {row[2].text: row for row in reconciliation.traffic(data).rows}
    assert moved["decode step"][4].text == "1.30"


def test_bandwidth_is_over_the_busy_time_of_traces_as_limits_say() -> None:
    data = counted()
    stages: tuple[StageName, ...] = ("prefill", "decode")
    for row, stage in zip(reconciliation.traffic(data).rows, stages, strict=True):
        facts = stage_facts(data.reference, stage, data.hardware, data.ceiling)
        assert facts.memory_share is not None
        assert row[8].text == "traces"
        gbs = float(row[9].text.replace(",", ""))
        assert gbs == pytest.approx(facts.memory_share * data.ceiling.copy_gbs, rel=0.01)
        assert plain(row[10].text) == plain(percent(gbs / data.hardware.bandwidth_gbs))
        assert row[11].text == percent(facts.memory_share)
    assert "in the prefill (−3.8 µs a kernel)" in plain(
        reconciliation.timing(data, data.counted[0])
    )


def test_without_busy_time_bandwidth_is_over_the_time_of_the_counters() -> None:
    whole = builders.activity()
    stages = {name: replace(one, device_busy_ms=None) for name, one in whole.stages.items()}
    lost = replace(whole, stages=stages)
    data = tables(
        repeats(3), counters=[(builders.counters(), LAUNCHES)], activities=[lost] * 3
    ).data
    row = reconciliation.traffic(data).rows[0]
    assert [cell.text for cell in row[7:9]] == ["19.0", "counters, kernel by kernel"]
    assert float(row[9].text) == pytest.approx(1.8e9 / 19e-3 / 1e9, rel=0.01)


def test_components_have_a_reason_for_their_padding() -> None:
    (one,) = counted().counted
    rows = {row[1].text: row for row in reconciliation.components(one).rows}
    assert rows["LM head"][4].text == "8.03"
    assert rows["LM head"][5].text == "products of 1 row run on tiles of 8 rows"


def work(padding: float | None) -> Work:
    flops = None if padding is None else round(1e9 * padding)
    return Work(model_flops=1e9, hardware=builders.totals(tensor_flops=flops))


@pytest.mark.parametrize(
    ("stage", "component", "padding", "reason"),
    [
        ("prefill", "clip", 1.02, ""),
        ("prefill", "clip", None, ""),
        ("prefill", "routed_experts", 1.8, "each expert"),
        ("prefill", "windowed_attention", 1.1, "heads and sequences"),
        ("prefill", "dense_mlp", 1.1, "whole tiles"),
        ("prefill", "router", 0.0, "the router computes in fp32"),
        ("prefill", "patch_embedding", 0.0, "other units"),
        ("prefill", "clip", 0.8, "a part runs outside"),
        ("prefill", "attention", 0.7, "causal mask"),
        ("prefill", "attention_projections", 1.1, "rows and columns"),
        ("prefill", "lm_head", 8.03, "products of 1 row run on tiles of 8 rows"),
        ("decode_step", "dense_mlp", 8.0, "products of 1 row run on tiles of 8 rows"),
        ("decode_step", "routed_experts", 8.76, "products of 1 row"),
        ("decode_step", "dense_mlp", 12.0, "not known"),
        ("decode_step", "attention", 18.0, "not known"),
        ("decode_step", "attention", 8.0, "not known"),
        ("decode_step", "dense_mlp", 0.7, "not known"),
    ],
)
def test_reasons(stage: str, component: str, padding: float | None, reason: str) -> None:
    found = padding_reason(stage, component, work(padding), 1)
    assert (reason in found) if reason else not found


@pytest.mark.parametrize(
    ("component", "copies", "padding", "reason"),
    [
        ("dense_mlp", 3, 8 / 3, "products of 3 rows run on tiles of 8 rows"),
        ("dense_mlp", 12, 16 / 12, "products of 12 rows"),
        ("dense_mlp", 8, 1.1, "not known"),  # no row is padded
        ("dense_mlp", 3, 8.0, "not known"),
        ("routed_experts", 3, 8 / 3, "not known"),  # experts have other rows
    ],
)
def test_reasons_of_a_batch(component: str, copies: int, padding: float, reason: str) -> None:
    assert reason in padding_reason("decode_step", component, work(padding), copies)


def failed() -> Counters:
    return builders.counters(
        stages={}, components={}, absent={"stages": "there is no ncu on PATH"}, tool=None
    )


def test_without_counters_the_report_says_how_to_read_them() -> None:
    texts = render(tables(repeats(2)).data)
    for text in (texts.html, texts.markdown):
        assert "snakemake counters" in text


def test_what_could_not_be_counted_is_told_with_its_reason() -> None:
    data = tables(repeats(2), counters=[(failed(), LAUNCHES[:0])]).data
    texts = render(data)
    for text in (texts.html, texts.markdown):
        assert "No hardware counters of baseline at 1024: there is no ncu on PATH." in text
        assert "snakemake counters" not in text


def test_a_failure_without_a_reason_is_told() -> None:
    counters = builders.counters(stages={}, components={}, absent={})
    data = tables(repeats(2), counters=[(counters, LAUNCHES[:0])]).data
    assert reconciliation.why_not(data) == [
        "No hardware counters of baseline at 1024: none was read."
    ]


def test_a_mismatch_is_told() -> None:
    lines = reconciliation.why_not(counted())
    assert lines == [
        "Operators and components of the counted decode step of baseline at 1024 are not known: "
        "the kernels differ."
    ]


def test_a_counter_that_the_chip_lacks_leaves_verdict_and_figure_out() -> None:
    stages = {
        name: replace(one, tensor_flops=None) for name, one in builders.counters().stages.items()
    }
    absent = {"tensor_flops": "fp32 products run outside of the tensor pipes"}
    counters = builders.counters(stages=stages, components={}, absent=absent)
    launches = LAUNCHES.assign(tensor_flops=float("nan"))
    data = tables(repeats(2), counters=[(counters, launches)]).data
    assert reconciliation.sentences(data) == []
    missing = drawing("operator_roofline", data, paint_operator_roofline).missing
    assert "have no FLOPs and bytes of operators" in missing
    assert "fp32 products run outside" in render(data).html


def test_limits_use_the_traffic_that_was_counted() -> None:
    uncounted, data = tables(repeats(3)).data, counted()
    least, measured = (
        stage_facts(one.reference, "decode", one.hardware, one.ceiling) for one in (uncounted, data)
    )
    assert not least.traffic_counted
    assert measured.traffic_counted
    assert least.memory_share is not None
    assert measured.memory_share is not None
    calibration = builders.calibration().decode_steps[0]
    assert calibration.weight_bytes is not None
    # 1.8 GB were counted for each step, and the least is weights and KV cache
    ratio = 1.8e9 / (calibration.weight_bytes + (calibration.kv_bytes or 0))
    assert measured.memory_share / least.memory_share == pytest.approx(ratio, rel=0.01)


def test_the_figure_names_the_longest_operators() -> None:
    data = counted()
    drawn = drawing("operator_roofline", data, paint_operator_roofline)
    assert not drawn.missing
    for text in (">1 mm<", ">2 mm<", ">baseline at 1024<"):
        assert text in drawn.wide
    said = plain(counted_operators.sentence(data))
    assert "baseline at 1024, with times from the counters." in said
    assert "take 90 % of the device time in a prefill and 100 % in a decode step." in said
    assert said.endswith("the longest: copy_.")


def test_the_figure_takes_times_of_the_traces_and_of_one_step() -> None:
    rows = operator_rows(("prefill", "aten::mm", 1.0, 8.0), ("decode", "aten::mm", 1.0, 4.5))
    stages = {
        "prefill": StageWork(1.4e12, {}, {"aten::mm": 1.2e9}),
        "decode": StageWork(3e10, {}, {"aten::mm": 3 * 1.3e9}),
    }
    data = tables(
        repeats(2),
        counters=[(builders.counters(), LAUNCHES)],
        operators=[("baseline", rows)] * 2,
        works=[RunWork(stages, on_cpu=False)] * 2,
    ).data
    found = {
        (point.stage, point.name): (point.ms, point.traced)
        for point in counted_operators.points(data, data.counted[0])
    }
    assert found == {
        ("prefill", "mm"): (8.0, True),
        ("prefill", "copy_"): (1.0, False),  # not in the traces
        ("decode_step", "mm"): (1.5, True),
    }


def test_a_step_alone_of_another_variant_is_drawn_and_named() -> None:
    counters = builders.counters(
        variant="eager", stages={"decode_step": builders.totals()}, components={}
    )
    launches = LAUNCHES[LAUNCHES["stage"] == "decode_step"]
    runs = [*repeats(2), *repeats(2, variant="eager")]
    data = tables(runs, counters=[(counters, launches)]).data
    drawn = drawing("operator_roofline", data, paint_operator_roofline)
    assert not drawn.missing
    assert ">eager at 1024<" in drawn.wide
