"""HFU, padding and traffic from hardware counters."""

from dataclasses import replace
from typing import Any

import builders
import pandas as pd
import pytest

from mfuscope.core.counters import Counters
from mfuscope.core.errors import UserError
from mfuscope.metrics.counted import COLUMNS, counter_columns, reconcile, traffic
from mfuscope.metrics.run_metrics import run_metrics

MFU = {"prefill": 0.02, "decode": 0.001, "model": 0.01}

LAUNCHES = pd.DataFrame(
    [
        ("prefill", "aten::mm", 2_000, 30.0, 5.0, 1.0),
        ("prefill", "aten::mm", 1_000, 10.0, 1.0, 1.0),
        ("prefill", "aten::copy_", 500, 0.0, 4.0, 4.0),
        ("prefill", None, 500, 0.0, 9.0, 9.0),
        ("decode_step", "aten::mm", 700, 8.0, 2.0, None),
    ],
    columns=[
        *("stage", "operator", "device_ns", "tensor_flops", "dram_read_bytes"),
        "dram_write_bytes",
    ],
)


def columns(counters: Counters | None, **changes: Any) -> dict[str, float | None]:
    run = builders.run(**changes)
    return counter_columns(run, builders.calibration(), counters, MFU)


def test_hfu_and_padding_are_what_the_counters_say() -> None:
    counters, calibration = builders.counters(), builders.calibration()
    found = columns(counters)
    prefill, step = counters.stages["prefill"], counters.stages["decode_step"]
    assert prefill.tensor_flops is not None
    assert step.tensor_flops is not None
    padding = {
        "prefill": prefill.tensor_flops / calibration.prefill_total["counted"],
        "decode": step.tensor_flops / calibration.decode_steps[0].total["counted"],
    }
    for stage, factor in padding.items():
        assert found[f"padding_{stage}"] == pytest.approx(factor)
        assert found[f"hfu_{stage}"] == pytest.approx(MFU[stage] * factor)
    assert found["dram_gb_prefill"] == pytest.approx(1.8)
    assert found["dram_gb_per_token"] == pytest.approx(1.8)


@pytest.mark.parametrize("stage", ["prefill", "decode"])
def test_hfu_is_mfu_times_padding(stage: str) -> None:
    row = run_metrics(
        builders.run(),
        builders.activity(),
        builders.calibration(),
        builders.hardware(),
        builders.ceiling(),
        builders.counters(),
    )
    mfu, padding = row[f"mfu_{stage}"], row[f"padding_{stage}"]
    assert isinstance(mfu, float)
    assert isinstance(padding, float)
    assert row[f"hfu_{stage}"] == pytest.approx(mfu * padding)


def test_an_answer_of_one_token_has_no_counters_of_decode() -> None:
    found = counter_columns(
        builders.run(), builders.calibration(), builders.counters(), MFU | {"decode": None}
    )
    assert {name for name, value in found.items() if value is None} == {
        *("hfu_decode", "padding_decode", "dram_gb_per_token")
    }


def test_without_counters_nothing_is_known() -> None:
    assert columns(None) == dict.fromkeys(COLUMNS)
    failed = builders.counters(stages={}, absent={"stages": "no ncu"})
    assert columns(failed) == dict.fromkeys(COLUMNS)


def test_a_counter_that_a_chip_lacks_leaves_its_columns_empty() -> None:
    stages = {
        stage: replace(one, tensor_flops=None) for stage, one in builders.counters().stages.items()
    }
    found = columns(builders.counters(stages=stages))
    assert {name for name, value in found.items() if value is None} == {
        *("hfu_prefill", "hfu_decode", "padding_prefill", "padding_decode")
    }


def test_counters_of_another_model_are_refused_with_the_remedy() -> None:
    counted = replace(builders.counters().counted, prompt_tokens=279)
    with pytest.raises(UserError, match=r"rm results/baseline/counters/1024\.json"):
        columns(builders.counters(counted=counted))


def test_stages_are_joined_with_what_the_model_asks_for() -> None:
    found = reconcile(builders.counters(), builders.calibration(), LAUNCHES)
    step, calibration = found.stages["decode_step"], builders.calibration()
    weights, kv = (
        getattr(calibration.decode_steps[0], name) for name in ("weight_bytes", "kv_bytes")
    )
    assert step.least_bytes == weights + kv
    assert step.traffic_factor == pytest.approx(1.8e9 / (weights + kv))
    assert step.gbs == pytest.approx(600)
    assert step.padding == pytest.approx(1e10 / calibration.decode_steps[0].total["counted"])
    head = found.components["prefill"]["lm_head"]
    assert head.padding == pytest.approx(2_658_140_160 / 330_956_800)
    assert found.components["prefill"]["routed_experts"].padding is None  # not in this calibration


def test_a_batch_counts_whole() -> None:
    one = reconcile(builders.counters(), builders.calibration(), LAUNCHES)
    counters = builders.counters(settings={"batch_size": 4})
    four = reconcile(counters, builders.calibration(), LAUNCHES)
    flops = [found.stages["decode_step"].model_flops for found in (one, four)]
    assert flops[1] == 4 * (flops[0] or 0)


def test_operators_add_up_their_launches() -> None:
    found = reconcile(builders.counters(), builders.calibration(), LAUNCHES).operators
    product = next(one for one in found if (one.stage, one.name) == ("prefill", "aten::mm"))
    assert product.calls == 2
    assert product.device_ms == pytest.approx(0.003)
    assert (product.tensor_flops, product.dram_bytes) == (40, 8)
    assert len(found) == 3  # what launched the fourth row is not known


def test_traffic_that_is_not_known_of_every_launch_is_absent() -> None:
    assert traffic(LAUNCHES) == {("prefill", "aten::mm"): 8, ("prefill", "aten::copy_"): 8}
