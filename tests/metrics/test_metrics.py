"""Metrics against arithmetic done by hand, and their statistics."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import (
    a_pass,
    activity,
    cache_of,
    calibration,
    ceiling,
    conditions,
    cpu_activity,
    generic_calibration,
    hardware,
    language,
    model,
    run,
)
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.errors import UserError
from mfuscope.flops import architecture
from mfuscope.metrics.counted import COLUMNS
from mfuscope.metrics.device import device_activity
from mfuscope.metrics.run_metrics import metrics_table, run_metrics, step_stalls
from mfuscope.metrics.statistics import SUMMARISED, describe, describe_pages, summarise
from mfuscope.metrics.workload import decode_flops, mean_context, step_contexts


def test_the_formulas() -> None:
    made = run(4)  # 50 ms prefill; three steps of 20 ms and 2 ms for the first token's choice
    row = run_metrics(made, activity(), calibration(), hardware(), ceiling())
    peak = hardware().peaks["bf16"].tflops * 1e12
    prefill = sum(part["counted"] for part in calibration().prefill_flops.values())
    assert row["prefill_gflops"] == pytest.approx(prefill / 1e9)
    assert row["mfu_prefill"] == pytest.approx(prefill / (0.050 * peak))
    # Contexts 279, 280, 281: the mean is 280.
    per_token = 1_165_393_920
    assert row["decode_gflops_per_token"] == pytest.approx(per_token / 1e9)
    assert row["decode_tokens_per_s"] == pytest.approx(3 / 0.062)
    assert row["mfu_decode"] == pytest.approx(3 / 0.062 * per_token / peak)
    assert row["mfu_model"] == pytest.approx((prefill + 3 * per_token) / (0.112 * peak))
    assert row["step_p50_ms"] == row["step_p95_ms"] == 20.0


def test_bytes_intensity_and_ceilings() -> None:
    row = run_metrics(run(4), activity(), calibration(), hardware(), ceiling())
    step_bytes = 1_148_257_280 + 2 * 12 * 280 * 1280 * 2  # active weights, keys and values
    bandwidth = hardware().bandwidth_gbs * 1e9
    assert row["mbu_decode"] == pytest.approx(step_bytes * 3 / 0.062 / bandwidth)
    assert row["decode_flop_per_byte"] == pytest.approx(1_165_393_920 / step_bytes)
    prefill_bytes = 6_342_375_936 + 17_080_320
    assert row["prefill_flop_per_byte"] == pytest.approx(1_372_237_348_864 / prefill_bytes)
    measured, peak = ceiling().gemm_tflops["bf16"], hardware().peaks["bf16"].tflops
    for stage in ("prefill", "decode", "model"):
        mfu, of_ceiling = row[f"mfu_{stage}"], row[f"mfu_{stage}_of_ceiling"]
        assert isinstance(mfu, float)
        assert of_ceiling == pytest.approx(mfu * peak / measured)


def test_busy_times_distinguish_kernels_from_launches() -> None:
    row: dict[str, Any] = run_metrics(run(4), activity(), calibration(), hardware(), ceiling())
    # 25 of prefill's 50 ms, 31 of decode's 62 ms.
    assert row["mfu_prefill_busy"] == pytest.approx(2 * row["mfu_prefill"])
    assert row["mfu_decode_busy"] == pytest.approx(2 * row["mfu_decode"])
    assert row["mfu_model_busy"] == pytest.approx(2 * row["mfu_model"])
    assert row["mbu_decode_busy"] == pytest.approx(2 * row["mbu_decode"])
    assert row["decode_weight_gb_per_token"] == pytest.approx(1.14825728)
    assert row["decode_kv_gb_per_token"] == pytest.approx(2 * 12 * 280 * 1280 * 2 / 1e9)


def test_the_lower_clock_and_every_throttle_reason_count() -> None:
    timed = a_pass(
        conditions_before=conditions(sm_clock_mhz=1980, throttle_reasons=["sw_power_cap"]),
        conditions_after=conditions(sm_clock_mhz=1500, throttle_reasons=["hw_slowdown"]),
    )
    row = run_metrics(run(timed=timed), activity(), calibration(), hardware(), ceiling())
    assert (row["sm_clock_mhz"], row["throttle_reasons"]) == (1500, "hw_slowdown+sw_power_cap")
    row = run_metrics(run(), activity(), calibration(), hardware(), ceiling())
    assert row["throttle_reasons"] == "none"


def test_directional_counterparts_and_their_error() -> None:
    row = run_metrics(run(4), activity(), calibration(), hardware(), ceiling())
    assert row["prefill_gflops_directional"] == 600
    assert row["prefill_directional_error"] == pytest.approx(600 / 1372.237348864 - 1)
    per_token = 12 * (4 * 1280 * 6848 + 2 * 1280**2 + 2 * 1280 * 2560 + 2 * 1280 * 512)
    assert row["decode_gflops_per_token_directional"] == pytest.approx(per_token / 1e9)
    assert row["decode_directional_error"] == pytest.approx(per_token / 1_165_393_920 - 1)
    assert row["mfu_prefill_directional"] == pytest.approx(
        600 / 1372.237348864 * float(str(row["mfu_prefill"]))
    )


def test_what_is_not_known_is_absent() -> None:
    row = run_metrics(run(4), activity(), generic_calibration(), hardware(), ceiling())
    absent = {name for name, value in row.items() if value is None}
    assert absent == {
        *("compile_s", "ending", "loop_tokens"),
        *("hfu_prefill", "hfu_decode", "padding_prefill", "padding_decode"),
        *("dram_gb_prefill", "dram_gb_per_token"),
        "mbu_decode",
        "mbu_decode_busy",
        "decode_weight_gb_per_token",
        "decode_kv_gb_per_token",
        "prefill_flop_per_byte",
        *COLUMNS,
        "decode_flop_per_byte",
        "prefill_gflops_directional",
        "decode_gflops_per_token_directional",
        "mfu_prefill_directional",
        "mfu_decode_directional",
        "mfu_model_directional",
        "prefill_directional_error",
        "decode_directional_error",
    }
    # The line through the two counted steps, at the mean context 280.
    assert row["decode_gflops_per_token"] == pytest.approx(1010 / 1e9)


@given(prompt=st.integers(1, 5000), new_tokens=st.integers(2, 2000))
def test_the_mean_context_is_that_of_the_steps(prompt: int, new_tokens: int) -> None:
    steps = [prompt + 1 + i for i in range(new_tokens - 1)]
    assert list(step_contexts(prompt, new_tokens)) == steps
    assert mean_context(prompt, new_tokens) == pytest.approx(np.mean(steps))
    line = generic_calibration()
    total = sum(decode_flops(line, "counted", context) for context in steps)
    mean = decode_flops(line, "counted", float(np.mean(steps)))
    assert len(steps) * mean == pytest.approx(total)


def test_a_sliding_window_is_followed_step_by_step() -> None:
    sliding = language(window=2, sliding_layers=12)
    row = run_metrics(
        run(6), activity(), calibration(cache=cache_of(sliding)), hardware(), ceiling()
    )
    # Contexts 279 to 283 with a window of two generated tokens: 279, 280, 280, 280, 280 keys.
    seen = [architecture.decode_flops(language(), at, 278) for at in (279, 280, 280, 280, 280)]
    expected = float(np.mean([sum(step.values()) for step in seen]))
    assert row["decode_gflops_per_token"] == pytest.approx(expected / 1e9)


def test_one_token_has_no_decode_rate() -> None:
    row = run_metrics(run(1), activity(), calibration(), hardware(), ceiling())
    assert row["decode_tokens_per_s"] is row["mfu_decode"] is row["step_p50_ms"] is None
    assert row["mfu_model"] is not None


def test_nonsense_is_refused_by_name() -> None:
    fast = run(timed=a_pass(prefill_ms=0.001))
    with pytest.raises(UserError, match=r"run baseline/page\.png/0: mfu_prefill is .* outside"):
        run_metrics(fast, activity(), calibration(), hardware(), ceiling())
    other = model(fingerprint="ffff")
    for stale in ({"prompt_tokens": 999}, {"resolution": "640"}, {"model": other}):
        with pytest.raises(UserError, match=r"`rm results/baseline/calibration/1024\.json`"):
            run_metrics(run(), activity(), calibration(**stale), hardware(), ceiling())


def test_the_directional_mfu_is_of_the_directional_flops() -> None:
    row = run_metrics(run(4), activity(), calibration(), hardware(), ceiling())
    for stage, work in (("prefill", "prefill_gflops"), ("decode", "decode_gflops_per_token")):
        share = float(str(row[f"{work}_directional"])) / float(str(row[work]))
        expected = float(str(row[f"mfu_{stage}"])) * share
        assert row[f"mfu_{stage}_directional"] == pytest.approx(expected)


@pytest.mark.parametrize(("mfu", "refused"), [(1.49, False), (1.51, True)])
def test_where_an_mfu_becomes_nonsense(mfu: float, refused: bool) -> None:
    peak = hardware().peaks["bf16"].tflops * 1e12
    flops = sum(part["counted"] for part in calibration().prefill_flops.values())
    fast = run(timed=a_pass(prefill_ms=flops / (mfu * peak) * 1e3))
    expected = pytest.raises(UserError, match="mfu_prefill is") if refused else nullcontext()
    with expected:
        run_metrics(fast, activity(), calibration(), hardware(), ceiling())


def test_the_busy_share_compares_the_trace_with_the_timed_pass() -> None:
    timed = a_pass(7, prefill_ms=50.0, decode_ms=124.0)
    row = run_metrics(run(7, timed=timed), activity(), calibration(), hardware(), ceiling())
    assert row["prefill_kernels"] == 500
    assert (row["prefill_device_busy_ms"], row["prefill_busy_share"]) == (25.0, 0.5)
    # Three traced steps of 300 kernels and 31 ms in all stand for the run's six.
    assert row["decode_kernels_per_step"] == 100
    assert (row["decode_device_busy_ms"], row["decode_busy_share"]) == (62.0, 0.5)


@pytest.mark.parametrize("steps", [0, 3])
def test_a_cpu_has_no_busy_share(steps: int) -> None:
    found = device_activity(run(), cpu_activity(steps))
    assert set(found.values()) == {None}


def test_describe_is_the_textbook() -> None:
    values = np.array([10.0, 12.0, 14.0])
    made = describe(values)
    assert (made["n"], made["mean"], made["std"]) == (3, 12.0, 2.0)
    assert made["cv"] == pytest.approx(1 / 6)
    half = 4.302652729911275 * 2 / np.sqrt(3)  # Student's t, two degrees of freedom
    assert (made["ci95_low"], made["ci95_high"]) == pytest.approx((12 - half, 12 + half))
    assert (made["min"], made["max"]) == (10.0, 14.0)


def test_one_value_has_no_spread() -> None:
    made = describe(np.array([5.0]))
    assert (made["n"], made["mean"], made["min"], made["max"]) == (1, 5.0, 5.0, 5.0)
    assert all(np.isnan(made[name]) for name in ("std", "cv", "ci95_low", "ci95_high"))


def test_absent_values_are_left_out() -> None:
    assert describe(np.array([np.nan, 3.0, 5.0]))["mean"] == 4.0
    assert describe(np.array([np.nan]))["n"] == 0


@given(st.lists(st.floats(1, 1e6), min_size=2, max_size=30))
def test_the_interval_holds_the_mean(values: list[float]) -> None:
    made = describe(np.array(values))
    assert made["ci95_low"] <= made["mean"] + 1e-6
    assert made["mean"] - 1e-6 <= made["ci95_high"]
    assert made["min"] - 1e-6 <= made["mean"] <= made["max"] + 1e-6


def test_summary_has_pages_and_all() -> None:
    runs = [
        run(image=image, repeat=repeat, timed=a_pass(prefill_ms=base + repeat))
        for image, base in (("a.png", 50.0), ("b.png", 70.0))
        for repeat in range(3)
    ]
    calibrations = {("baseline", "1024"): calibration()}
    table = metrics_table(runs, [activity()] * len(runs), calibrations, hardware(), ceiling())
    rows = summarise(table).to_dict("records")
    assert len(rows) == 3 * len(SUMMARISED)
    summary = {(row["variant"], row["image"], row["metric"]): row for row in rows}
    page = summary["baseline", "a.png", "prefill_ms"]
    assert (page["n"], page["mean"], page["std"]) == (3, 51.0, 1.0)
    over_pages = summary["baseline", "all", "prefill_ms"]
    assert (over_pages["n"], over_pages["mean"]) == (2, 61.0)
    assert over_pages["std"] == pytest.approx(np.std([51, 71], ddof=1))


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), min_size=1, max_size=6).filter(
        lambda pages: any(len(page) > 1 for page in pages)
    )
)
def test_the_spread_between_repeats_is_pooled(pages: list[list[float]]) -> None:
    made = describe_pages([describe(np.array(page)) for page in pages])
    squares = sum(float(((np.array(page) - np.mean(page)) ** 2).sum()) for page in pages)
    freedom = sum(len(page) - 1 for page in pages)
    assert made["std_repeats"] == pytest.approx((squares / freedom) ** 0.5, abs=1e-6)
    assert made["n"] == len(pages)


def test_more_repeats_narrow_the_interval() -> None:
    rows = np.array([10.0, 11.0, 12.0] * 4)
    few, many = describe(rows[:3]), describe(rows)
    assert many["ci95_high"] - many["ci95_low"] < few["ci95_high"] - few["ci95_low"]


def test_a_batch_counts_every_copy_in_the_time_of_the_whole_batch() -> None:
    one = run(4)
    eight = replace(one, settings=one.settings | {"batch_size": 8})
    rows: list[dict[str, Any]] = [
        run_metrics(made, activity(), calibration(), hardware(), ceiling()) for made in (one, eight)
    ]
    alone, batch = rows
    for same in ("prefill_ms", "decode_ms", "page_ms", "decode_gflops_per_token"):
        assert batch[same] == alone[same]
    for eightfold in ("mfu_prefill", "mfu_decode", "mfu_model", "pages_per_s", "prefill_gflops"):
        assert batch[eightfold] == pytest.approx(8 * alone[eightfold])
    assert batch["decode_tokens_per_s"] == pytest.approx(8 * alone["decode_tokens_per_s"])
    assert batch["pages_per_s"] == pytest.approx(8 / (batch["page_ms"] / 1e3))
    # One reading of the weights serves all copies; each has its own cache.
    weights, cache = alone["decode_weight_gb_per_token"], alone["decode_kv_gb_per_token"]
    assert batch["decode_weight_gb_per_token"] == pytest.approx(weights / 8)
    assert batch["decode_kv_gb_per_token"] == pytest.approx(cache)
    assert batch["mbu_decode"] / alone["mbu_decode"] == pytest.approx(
        (weights + 8 * cache) / (weights + cache)
    )
    assert batch["energy_per_page_j"] == pytest.approx(alone["energy_j"] / 8)
    assert batch["prefill_directional_error"] == pytest.approx(alone["prefill_directional_error"])


def test_a_stall_is_what_a_step_takes_beyond_twice_the_median() -> None:
    assert step_stalls([]) == []
    assert step_stalls([10.0, 10.0, 20.0]) == []
    assert step_stalls([10.0, 12.0, 50.0, 11.0, 30.0]) == [50.0 - 24.0, 30.0 - 24.0]


@given(st.lists(st.floats(0.001, 1e4), min_size=1))
def test_less_than_half_of_the_steps_stall(steps: list[float]) -> None:
    stalls = step_stalls(steps)
    assert len(stalls) <= len(steps) / 2
    assert all(0 < stall < max(steps) for stall in stalls)
