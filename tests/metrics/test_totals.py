"""Rates over several runs: total work / total time, and how often their interval holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from builders import a_pass, activity, calibration, ceiling, hardware, run
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core import records
from mfuscope.metrics.run_metrics import metrics_table
from mfuscope.metrics.statistics import ALL, SUMMARISED, summarise
from mfuscope.metrics.totals import (
    RATES,
    TOTALS,
    Totals,
    between_repeats,
    by_repeat,
    totals,
    work_and_time,
)
from mfuscope.storage.tables import read_table

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"
RUNS = st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=1, max_size=8)


def of_one(runs: Any) -> tuple[float, ...]:
    """Total and interval of one group of runs (work, time)."""
    work, time = np.array(runs, dtype=np.float64).T
    made = totals(np.zeros(len(work), dtype=np.intp), 1, work, time)
    return float(made.total[0]), float(made.low[0]), float(made.high[0])


def test_the_textbook_s_ratio_estimator() -> None:
    # Residuals from 12 / 6 = 2: 1, -1, 0; standard error of the rate sqrt(2 / 2 / 3) / 2.
    total, low, high = of_one([(3.0, 1.0), (3.0, 2.0), (6.0, 3.0)])
    half = 4.302652729911275 * np.sqrt(1 / 3) / 4
    assert (total, low, high) == pytest.approx((2.0, 2 * np.exp(-half), 2 * np.exp(half)))


@given(RUNS)
def test_total_and_interval_of_any_runs(runs: Any) -> None:
    total, low, high = of_one(runs)
    work, time = np.array(runs).T
    assert total == pytest.approx(work.sum() / time.sum())
    assert (work / time).min() * (1 - 1e-9) <= total <= (work / time).max() * (1 + 1e-9)
    if len(runs) == 1:
        assert np.isnan([low, high]).all()
        return
    assert 0 < low <= total <= high
    # The inverse has the inverse interval only where the runs do the same work; units drop out.
    scaled = of_one([(8 * one, 2 * ms) for one, ms in runs])
    assert scaled == pytest.approx((4 * total, 4 * low, 4 * high))
    same = of_one([(5.0, ms) for _, ms in runs])
    inverse = of_one([(ms, 5.0) for _, ms in runs])
    assert inverse == pytest.approx((1 / same[0], 1 / same[2], 1 / same[1]))


def held(made: Totals, true: float) -> float:
    return float(((made.low <= true) & (true <= made.high)).mean())


@pytest.mark.parametrize("cv", [0.05, 0.25])
@pytest.mark.parametrize("n", [3, 6])
def test_intervals_hold_the_true_rate_as_often_as_they_say(n: int, cv: float) -> None:
    """Of repeats of one work, and of pages whose work differs; times spread as a lognormal."""
    random, samples = np.random.default_rng(3), 6000
    group = np.repeat(np.arange(samples), n)
    width = np.sqrt(np.log1p(cv**2))
    noise = np.exp(random.normal(-(width**2) / 2, width, len(group)))
    assert 0.93 <= held(totals(group, samples, np.ones(len(group)), noise), 1.0) <= 0.97
    work = np.exp(random.normal(0, 0.5, len(group)))
    true = np.exp(0.125) / (1 + 0.5 * np.exp(0.125))
    of_pages = totals(group, samples, work, (1 + 0.5 * work) * noise)
    assert 0.92 <= held(of_pages, true) <= 0.97


def example(**changes: Any) -> tuple[list[records.Run], pd.DataFrame]:
    """Two pages of three repeats, one of a batch of four copies, one run of a single token."""
    runs = []
    for image, copies, new in (("a.png", 1, 4), ("b.png", 4, 9)):
        for repeat in range(3):
            timed = a_pass(
                new, prefill_ms=50.0 + 30 * repeat, decode_ms=(new - 1) * (15.0 + 9 * repeat)
            )
            one = run(new, image=image, repeat=repeat, timed=timed)
            runs.append(replace(one, settings=one.settings | {"batch_size": copies}))
    runs.append(run(1, image="c.png", timed=a_pass(1, prefill_ms=70.0, decode_ms=0.5)))
    made = metrics_table(
        runs, [activity()] * len(runs), {("baseline", "1024"): calibration()}, hardware(), ceiling()
    )
    return runs, made


def rows(summary: pd.DataFrame, image: str) -> dict[str, Any]:
    of_image = summary[summary["image"] == image].set_index("metric")
    return {str(metric): row for metric, row in of_image.to_dict("index").items()}


def test_headline_rates_are_total_work_by_total_time() -> None:
    runs, metrics = example()
    found = rows(summarise(metrics), ALL)
    steps = [run.timed.new_tokens - 1 for run in runs]
    with_steps = [run for run in runs if run.timed.new_tokens > 1]
    copies = [run.batch_size for run in runs]
    # Every page counts once: c.png has one repeat, the others three.
    weight = [1 if run.image == "c.png" else 1 / 3 for run in runs]
    decode_s = sum(
        w * r.timed.decode_ms for w, r in zip(weight, runs, strict=True) if r in with_steps
    )
    decode_s /= 1e3
    page_s = sum(
        w * (r.timed.prefill_ms + r.timed.decode_ms) for w, r in zip(weight, runs, strict=True)
    )
    page_s /= 1e3
    tokens = sum(w * c * s for w, c, s in zip(weight, copies, steps, strict=True))
    assert found["decode_tokens_per_s"]["total"] == pytest.approx(tokens / decode_s)
    pages = sum(w * c for w, c in zip(weight, copies, strict=True))
    assert found["pages_per_s"]["total"] == pytest.approx(pages / page_s)
    per_token = metrics["decode_gflops_per_token"].fillna(0.0)
    flops = [
        w * (p + c * s * t) * 1e9
        for w, p, c, s, t in zip(
            weight, metrics["prefill_gflops"], copies, steps, per_token, strict=True
        )
    ]
    # The MFU of one new token is over prefill alone: its 0.5 ms of decode have no work.
    mfu_s = page_s - 0.5e-3
    assert found["mfu_model"]["total"] == pytest.approx(sum(flops) / (mfu_s * 1e15))
    assert found["mfu_model"]["mean"] != pytest.approx(found["mfu_model"]["total"], rel=1e-3)


def test_pages_have_their_repeats_and_all_the_pages() -> None:
    _, metrics = example()
    summary = summarise(metrics)
    a, every = rows(summary, "a.png"), rows(summary, ALL)
    assert a["decode_tokens_per_s"]["total"] == pytest.approx(9 / (3 * (15 + 24 + 33)) * 1e3)
    assert every["pages_per_s"]["n"] == 3
    single = rows(summary, "c.png")
    assert single["mfu_prefill"]["total"] == pytest.approx(single["mfu_prefill"]["mean"])
    assert np.isnan(single["mfu_prefill"]["total_ci95_low"])
    assert np.isnan(single["decode_tokens_per_s"]["total"])
    for image in ("a.png", ALL):
        for metric, row in rows(summary, image).items():
            is_rate = metric in RATES and row["n"] > 0
            assert np.isnan(row["total"]) == (not is_rate), metric


def test_work_is_the_rate_times_its_time() -> None:
    """Whatever a rate is made of, its time is that which it was divided by."""
    runs, metrics = example()
    tokens = work_and_time(metrics, "decode_tokens_per_s")[0] / 1e3
    assert tokens[:6].tolist() == pytest.approx(
        [run.batch_size * (run.timed.new_tokens - 1) for run in runs[:6]]
    )
    for stage in ("prefill", "decode", "model"):
        work = work_and_time(metrics, f"mfu_{stage}")[0]
        for other, scale in ((f"mfu_{stage}_busy", 1.0), (f"mfu_{stage}_of_ceiling", 1000 / 650)):
            assert work_and_time(metrics, other)[0] == pytest.approx(scale * work, nan_ok=True)
    for stage in ("prefill", "decode"):
        busy = work_and_time(metrics, f"{stage}_busy_share")[0]
        known = metrics[f"{stage}_device_busy_ms"].to_numpy(dtype=float)
        assert busy == pytest.approx(known, nan_ok=True)
    assert work_and_time(metrics, "mbu_decode_busy")[0] == pytest.approx(
        work_and_time(metrics, "mbu_decode")[0], nan_ok=True
    )
    assert set(RATES) < set(SUMMARISED)


def test_the_example_s_headline_is_its_tokens_by_its_time() -> None:
    metrics = read_table(EXAMPLE / "metrics.csv")
    summary = summarise(metrics.reindex(columns=[*metrics, *(set(SUMMARISED) - set(metrics))]))
    head = msgspec.json.decode((EXAMPLE / "report.json").read_bytes())["variants"]
    for variant in head:
        mine = metrics[metrics["variant"] == variant["name"]]
        assert mine.groupby("image").size().nunique() == 1  # else pages would not count alike
        tokens = (mine["batch_size"] * (mine["new_tokens"] - 1)).sum()
        rates = {
            "decode_tokens_per_s": tokens / mine["decode_ms"].sum() * 1e3,
            "mfu_prefill": mine["prefill_gflops"].sum()
            / (mine["prefill_ms"] * mine["peak_tflops"]).sum(),
        }
        every = rows(summary[summary["variant"] == variant["name"]], ALL)
        for metric, rate in rates.items():
            assert every[metric]["total"] == pytest.approx(rate)
            shown = variant["headline"][metric]
            if "total" in shown:  # reports made before rates added up have no totals
                assert [shown[name] for name in TOTALS] == pytest.approx(
                    [every[metric][name] for name in TOTALS]
                )


def slower_host(repeats: list[float]) -> pd.DataFrame:
    """Two pages of two lengths; the host makes all pages of a repeat so many times as slow."""
    found = [
        {"variant": "v", "image": image, "weights": "dummy", "page_ms": ms, "pages_per_s": 1e3 / ms}
        for image, length in (("a.png", 100.0), ("b.png", 102.0))
        for ms in (length * slow for slow in repeats)
    ]
    columns = dict.fromkeys(["variant", "image", "weights", *SUMMARISED])
    return pd.DataFrame(found).reindex(columns=list(columns))


@pytest.mark.parametrize("repeats", [[1.0, 1.5], [1.0, 1.2, 1.6]])
def test_an_interval_over_pages_reaches_to_each_of_few_repeats(repeats: list[float]) -> None:
    every = rows(summarise(slower_host(repeats)), ALL)
    means = [101.0 * slow for slow in repeats]
    time, rate = every["page_ms"], every["pages_per_s"]
    assert time["ci95_low"] <= min(means) * (1 + 1e-9)
    assert time["ci95_high"] >= max(means) * (1 - 1e-9)
    assert rate["total_ci95_low"] <= 1e3 / max(means) * (1 + 1e-9)
    assert rate["total_ci95_high"] >= 1e3 / min(means) * (1 - 1e-9)


def test_equal_repeats_leave_the_interval_over_pages() -> None:
    every = rows(summarise(slower_host([1.0, 1.0])), ALL)["page_ms"]
    assert every["ci95_high"] - every["mean"] == pytest.approx(12.7062 * 1.0, rel=1e-4)


def test_from_four_repeats_on_it_is_the_interval_of_their_mean() -> None:
    """Student's t of 3 x the standard deviation of 1, 2, 3, 4 / 2."""
    values = np.array([1.0, 2.0, 3.0, 4.0])
    assert between_repeats(values, 2.5) == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-5)
    assert between_repeats(values[:3], 2.5) == 1.5
    assert between_repeats(np.array([1.0, np.nan]), 1.0) == 0.0
    assert by_repeat([values, values[:3]]).size == 0, "a run is missing"
