"""What a trace says about the device, in the terms of the timed pass."""

from dataclasses import replace
from typing import Any

import pytest
from builders import a_pass, activity, run, waiting

from mfuscope.core import records
from mfuscope.metrics.device import WAITS, device_activity


def traced(stage: str, **changes: Any) -> records.Activity:
    """The usual activity with changes in a stage."""
    made = activity()
    return replace(made, stages=made.stages | {stage: replace(made.stages[stage], **changes)})


def of(found: dict[str, float | None], stage: str) -> list[float | None]:
    return [found[f"{stage}_waiting_{wait}_ms"] for wait in WAITS]


def test_waiting_has_the_length_of_the_timed_pass() -> None:
    # The traced pass waits for 45 ms of 70; the timed prefill takes 50 ms, of which 25 busy.
    found = device_activity(run(), activity())
    assert of(found, "prefill") == pytest.approx([12.5, 6.25, 3.75, 2.5])
    idle = run().timed.decode_ms - 31.0
    assert of(found, "decode") == pytest.approx([0.5 * idle, 0.25 * idle, 0.15 * idle, 0.1 * idle])


def test_fewer_traced_steps_stand_for_all() -> None:
    made = run(7)
    found = device_activity(made, activity())
    busy = 31.0 / 3 * 6
    assert found["decode_device_busy_ms"] == pytest.approx(busy)
    assert sum(filter(None, of(found, "decode"))) == pytest.approx(made.timed.decode_ms - busy)


def test_a_device_that_is_busier_than_the_timed_pass_does_not_wait() -> None:
    made = run(passes=[a_pass(prefill_ms=20.0)])
    assert of(device_activity(made, activity()), "prefill") == [0.0] * 4


@pytest.mark.parametrize(("prefill_ms", "expected"), [(50.0, [None] * 4), (20.0, [0.0] * 4)])
def test_parts_of_no_waiting_are_unknown(prefill_ms: float, expected: list[float | None]) -> None:
    made = run(passes=[a_pass(prefill_ms=prefill_ms)])
    found = device_activity(made, traced("prefill", waiting=waiting(0.0)))
    assert of(found, "prefill") == expected


def test_a_partial_trace_gives_no_device_times() -> None:
    lost: dict[str, Any] = {"kernels": None, "device_busy_ms": None, "waiting": None}
    found = device_activity(run(), traced("decode", lost_launches=20, **lost))
    assert of(found, "decode") == [None] * 4
    assert found["decode_device_busy_ms"] is found["decode_busy_share"] is None
    assert found["decode_kernels_per_step"] is None
    assert (found["prefill_lost_launches"], found["decode_lost_launches"]) == (0, 20)
    assert found["prefill_device_busy_ms"] == 25.0


def test_repairs_are_counted() -> None:
    found = device_activity(run(), activity(repaired={"cut": 3}, unclaimed_share=0.25))
    assert found["trace_cut_events"] == 3
    assert found["trace_left_out_events"] == 0
    assert found["trace_unclaimed_share"] == 0.25
    # Where every event was left out, nothing else is known of the device.
    nothing = device_activity(run(), activity(repaired={"left_out": 9}, unclaimed_share=None))
    assert nothing["trace_left_out_events"] == 9
    assert nothing["trace_unclaimed_share"] is None
