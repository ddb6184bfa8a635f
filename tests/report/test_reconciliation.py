"""Model FLOPs against hardware, as the report shows it."""

from dataclasses import replace
from typing import Any

import builders
import pandas as pd
import pytest
from report_data import repeats, tables

from mfuscope.core.counters import Counters
from mfuscope.metrics.counted import Work
from mfuscope.report import reconciliation
from mfuscope.report.data import ReportData
from mfuscope.report.figures import draw
from mfuscope.report.formats import plain
from mfuscope.report.limits import stage_facts
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
    assert prefill.startswith("Prefill (1024): the tensor pipes executed 1.09 times")
    assert prefill.endswith("differs by −8.5 % from a baseline of hardware counters, within ±15 %.")
    assert decode.endswith("not within ±15 %.")


@pytest.mark.parametrize(
    ("padding", "within"), [(1.176, True), (1.18, False), (0.87, True), (0.86, False)]
)
def test_the_verdict_turns_at_15_percent(padding: float, within: bool) -> None:
    model = builders.calibration().prefill_total["counted"]
    stage = builders.totals(tensor_flops=round(padding * model))
    (sentence,) = reconciliation.sentences(counted(stages={"prefill": stage}))
    assert ("not within" not in sentence) == within


def test_tables_hold_both_sides() -> None:
    data = counted()
    rows = {row[2].text: [cell.text for cell in row] for row in reconciliation.stages(data).rows}
    mfu, hfu = rows["prefill"][6:8]
    assert float(hfu.split()[0]) / float(mfu.split()[0]) == pytest.approx(1.093, rel=0.02)
    moved = {row[2].text: row for row in reconciliation.traffic(data).rows}
    assert moved["decode step"][4].text == "1.30"
    shares = [row[-1].text for row in reconciliation.traffic(data).rows]
    assert all(text.endswith("%") for text in shares)


def test_components_have_a_reason_for_their_padding() -> None:
    (one,) = counted().counted
    rows = {row[1].text: row for row in reconciliation.components(one).rows}
    assert rows["LM head"][4].text == "8.03"
    assert rows["LM head"][5].text == "products of 1 row run on tiles of 8 rows or more"


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
        ("prefill", "patch_embedding", 0.0, "other pipes"),
        ("prefill", "clip", 0.8, "a part runs outside"),
        ("prefill", "attention", 0.7, "causal mask"),
        ("prefill", "attention_projections", 1.1, "rows and columns"),
        ("decode_step", "dense_mlp", 8.0, "tiles of 8 rows"),
    ],
)
def test_reasons(stage: str, component: str, padding: float | None, reason: str) -> None:
    found = reconciliation.padding_reason(stage, component, work(padding), 1)
    assert (reason in found) if reason else not found


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
    assert "were not read" in draw(data)["operator_roofline"].missing
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
    drawing = draw(counted())["operator_roofline"]
    assert not drawing.missing
    assert ">mm<" in drawing.wide
