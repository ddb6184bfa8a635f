"""What limits a stage: shares of the measured ceilings, and where the limits lie."""

from dataclasses import replace

import pytest
from builders import a_pass, activity, calibration, hardware, run
from report_data import tables

from mfuscope.core import records
from mfuscope.report.data import ReportData
from mfuscope.report.limits import (
    StageFacts,
    limit_sentence,
    main_stage,
    stage_facts,
    waiting_words,
)
from mfuscope.report.recommendations import recommend
from mfuscope.report.verdict import verdict_sentence

FACTS = StageFacts(
    stage="decode",
    ms=100.0,
    on_cpu=False,
    busy_ms=80.0,
    busy_share=0.8,
    waiting=None,
    kernels=700.0,
    tflops=50.0,
    busy_tflops=62.5,
    intensity=2.0,
    compute_share=0.1,
    memory_share=0.2,
    ridge=250.0,
)

ON_GPU = tables([run()]).data


def of_times(
    prefill_ms: float,
    decode_ms: float,
    busy_ms: float | None = None,
    counted: records.Calibration | None = None,
) -> ReportData:
    """One run of a page; prefill's busy time as given."""
    stage = records.StageActivity
    traced = activity(
        stages={
            "prefill": stage(wall_ms=900.0, steps=0, kernels=500, device_busy_ms=busy_ms),
            "decode": stage(wall_ms=900.0, steps=3, kernels=300, device_busy_ms=busy_ms),
        },
        absent={} if busy_ms is not None else {"device_busy_ms": "no device event"},
    )
    counted = counted or calibration(
        prefill_total={"counted": 4e12},
        prefill_weight_bytes=7_500_000_000,
        prefill_kv_bytes=500_000_000,
    )
    timed = a_pass(prefill_ms=prefill_ms, decode_ms=decode_ms)
    return tables(
        [run(timed=timed)],
        activities=[traced],
        calibrations=[counted],
        machine=hardware(bandwidth_gbs=3000.0),
    ).data


def prefill_of(data: ReportData) -> StageFacts:
    return stage_facts(data.variants[0], "prefill", data.hardware, data.ceiling)


def test_shares_are_of_the_measured_ceilings_while_the_device_is_at_work() -> None:
    # 4 TFLOP over 8 GB; in 50 ms, of which 20 ms at work. Measured: 650 TFLOP/s and 2600 GB/s.
    facts = prefill_of(of_times(50.0, 62.0, busy_ms=20.0))
    assert facts.tflops == pytest.approx(80.0)
    assert facts.busy_tflops == pytest.approx(200.0)
    assert facts.intensity == pytest.approx(500.0)
    assert facts.compute_share == pytest.approx(200.0 / 650.0)
    assert facts.memory_share == pytest.approx(8.0 / 0.020 / 2600.0)
    assert facts.ridge == pytest.approx(250.0)
    assert (facts.ms, facts.busy_ms) == (50.0, 20.0)
    assert facts.busy_share == pytest.approx(0.4)
    assert (facts.idle_ms, facts.at_work_ms) == (30.0, 20.0)


def test_shares_are_over_the_whole_time_where_busy_time_is_not_known() -> None:
    facts = prefill_of(of_times(50.0, 62.0))
    assert facts.busy_tflops is None
    assert facts.compute_share == pytest.approx(80.0 / 650.0)
    assert facts.memory_share == pytest.approx(8.0 / 0.050 / 2600.0)
    assert (facts.idle_ms, facts.at_work_ms) == (None, 50.0)


def test_a_trace_busier_than_the_timed_pass_leaves_no_idle_time() -> None:
    facts = prefill_of(of_times(50.0, 62.0, busy_ms=55.0))
    assert facts.busy_ms == 55.0
    assert (facts.idle_ms, facts.at_work_ms) == (0.0, 50.0)


@pytest.mark.parametrize(
    ("prefill_ms", "decode_ms", "expected"),
    [(50.0, 51.0, "decode"), (50.0, 49.0, "prefill"), (50.0, 99.0, "decode")],
)
def test_the_main_stage_is_the_longer_one(
    prefill_ms: float, decode_ms: float, expected: str
) -> None:
    assert main_stage(of_times(prefill_ms, decode_ms).variants[0]) == expected


@pytest.mark.parametrize(
    ("busy", "compute", "memory", "expected"),
    [
        (0.49, 0.9, 0.9, "host"),
        (0.51, 0.1, 0.2, "kernels"),
        # Without busy time a far roof may be far because the device waits; a near one is near.
        (None, 0.1, 0.2, "unknown"),
        (None, 0.61, 0.2, "compute"),
        (None, 0.2, 0.61, "memory"),
        (0.51, 0.59, 0.2, "kernels"),
        (0.51, 0.61, 0.2, "compute"),
        (0.51, 0.2, 0.59, "kernels"),
        (0.51, 0.2, 0.61, "memory"),
        (0.51, 0.7, 0.8, "memory"),
        (0.51, 0.8, 0.7, "compute"),
        (0.51, 0.61, None, "compute"),
        # An unknown bandwidth is not a small one.
        (0.51, 0.59, None, "unknown"),
        (None, 0.1, None, "unknown"),
        (0.51, None, 0.9, "unknown"),
        (0.49, None, None, "host"),
    ],
)
def test_what_limits_a_stage(
    busy: float | None, compute: float | None, memory: float | None, expected: str
) -> None:
    facts = replace(FACTS, busy_share=busy, compute_share=compute, memory_share=memory)
    assert facts.kind == expected


def test_a_cpu_waits_for_no_host() -> None:
    facts = replace(FACTS, on_cpu=True, busy_share=None, compute_share=0.1, memory_share=0.2)
    assert facts.kind == "kernels"
    assert replace(facts, memory_share=None).kind == "unknown"


def test_a_host_bound_stage_says_what_the_device_waits_for() -> None:
    waiting = {"python": 62.0, "dispatch": 21.0, "launch": 16.4, "synchronisation": 0.6}
    facts = replace(FACTS, busy_share=0.13, waiting=waiting)
    said = limit_sentence(facts, 200.0, "a page").replace("\u00a0", " ")
    assert said == (
        "Decode takes 50 % of the time for a page and is host-bound: the device is busy for only "
        "13 % of it. The rest of the time it waits for the host, which launches 700 kernels a "
        "decode step. Of that wait, 62 % is Python and the framework between operators, 21 % is "
        "dispatch within operators and 16 % is launches and other CUDA calls."
    )
    # What is not known is not said.
    unknown = limit_sentence(replace(facts, waiting=None), 200.0, "a page")
    assert unknown.endswith("waits for the host, which launches 700 kernels a decode step.")
    assert waiting_words(replace(facts, waiting=dict.fromkeys(waiting, 0.0))) == ""


def test_waiting_comes_from_the_traces() -> None:
    facts = stage_facts(ON_GPU.variants[0], "prefill", ON_GPU.hardware, ON_GPU.ceiling)
    # 50 ms of prefill, 25 of them busy; half of the traced wait is Python.
    assert facts.waiting == pytest.approx(
        {"python": 12.5, "dispatch": 6.25, "launch": 3.75, "synchronisation": 2.5}
    )


def test_nothing_is_concluded_from_a_partial_trace() -> None:
    facts = prefill_of(of_times(50.0, 62.0))
    assert facts.kind == "unknown"
    said = limit_sentence(facts, 112.0, "a page")
    assert said.endswith(
        "What limits it is not known: no trace of this stage is whole, so its busy time is unknown."
    )


@pytest.mark.parametrize(
    "unknown", [{"prefill_weight_bytes": None}, {"prefill_kv_bytes": None}, {"cache": None}]
)
def test_unknown_bytes_are_said_and_enter_no_verdict(unknown: dict[str, None]) -> None:
    """Of weights, since it is not known how many experts run; or of the cache."""
    stage = "decode" if "cache" in unknown else "prefill"
    times = (50.0, 62.0) if stage == "decode" else (62.0, 50.0)
    data = of_times(*times, busy_ms=45.0, counted=calibration(**unknown))
    facts = stage_facts(data.variants[0], main_stage(data.variants[0]), data.hardware, data.ceiling)
    assert facts.stage == stage
    assert facts.busy_share is not None
    assert (facts.memory_share, facts.intensity, facts.kind) == (None, None, "unknown")
    assert limit_sentence(facts, 112.0, "a page").endswith(
        "What limits it is not known: the bytes that it reads are unknown, so its share of the "
        "bandwidth is, too."
    )
    assert verdict_sentence(data).startswith("What limits ")
    mentioned = [one for one in recommend(data, data.variants[0]) if one.metric == f"{stage}_ms"]
    assert {one.rule for one in mentioned} <= {"launches"}
