"""The timed passes of a run as one."""

from dataclasses import replace
from statistics import median

import pytest
from builders import a_pass, conditions, host, host_stage
from hypothesis import given
from hypothesis import strategies as st

from mfuscope.core.passes import Pass, composed, middle_pass

MS = st.floats(1e-3, 1e6)


def passes_of(times: list[tuple[float, float]]) -> list[Pass]:
    """Passes of these (prefill, decode) times, told apart by everything that they record."""
    return [
        a_pass(
            prefill_ms=prefill,
            decode_ms=decode,
            step_ms=[decode / 2, decode / 2],
            vision_ms=prefill / 2,
            host_ms=prefill + decode,
            peak_memory_bytes=100 + number,
            energy_j=10.0 + number,
            forwards=4 + number,
            conditions_before=conditions(temperature_c=number),
            conditions_after=conditions(temperature_c=10 + number),
            host=host(
                started_at=1e9 + number,
                load_1min=float(number),
                prefill=host_stage(minor_faults=number),
                decode=host_stage(minor_faults=100 + number),
            ),
        )
        for number, (prefill, decode) in enumerate(times)
    ]


@given(st.lists(st.tuples(MS, MS), min_size=1, max_size=7).filter(lambda made: len(made) % 2))
def test_every_time_is_that_of_a_pass_in_the_middle(times: list[tuple[float, float]]) -> None:
    passes = passes_of(times)
    one = composed(passes)
    for stage, ms in (("prefill", one.prefill_ms), ("decode", one.decode_ms)):
        measured = [getattr(each, f"{stage}_ms") for each in passes]
        assert ms == median(measured)
        assert ms == getattr(middle_pass(passes, f"{stage}_ms"), f"{stage}_ms")
    assert one.decode_ms == pytest.approx(sum(one.step_ms)), "the sum of its steps"
    assert one.vision_ms == one.prefill_ms / 2, "a part of its prefill"
    # The host's figures of a stage are of the pass that its time is of.
    prefill, decode = one.host.prefill.minor_faults, one.host.decode.minor_faults
    assert prefill is not None
    assert decode is not None
    assert passes[prefill].prefill_ms == one.prefill_ms
    assert passes[decode - 100].decode_ms == one.decode_ms
    assert one.forwards == passes[decode - 100].forwards
    assert one.host_ms == median(each.host_ms for each in passes)
    assert one.energy_j == median(each.energy_j or 0 for each in passes)
    assert one.peak_memory_bytes == 100 + len(times) - 1
    assert one.conditions_before.temperature_c == 0
    assert one.conditions_after.temperature_c == 10 + len(times) - 1
    assert (one.host.started_at, one.host.load_1min) == (1e9, 0.0)


def test_one_pass_is_itself() -> None:
    (one,) = passes_of([(5.0, 7.0)])
    assert composed([one]) == one


def test_the_worse_of_the_passes_that_gave_the_times_counts() -> None:
    first, second, third = passes_of([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)])
    quiet = {"steal_ms": 0.0, "cpu_mhz": 3500.0, "gpu_processes": 0}
    of_prefill = {"steal_ms": 30.0, "cpu_mhz": 2000.0, "gpu_processes": 2}
    first, third = (replace(one, host=host(**quiet)) for one in (first, third))
    second = replace(second, prefill_ms=2.5, decode_ms=9.0, host=host(**of_prefill))
    one = composed([first, second, third])
    assert (one.prefill_ms, one.decode_ms) == (2.5, 3.0)
    assert (one.host.steal_ms, one.host.cpu_mhz, one.host.gpu_processes) == (30.0, 2000.0, 2)
    # What a pass met whose times count for nothing is left out.
    far = replace(second, prefill_ms=99.0, decode_ms=99.0)
    assert composed([first, third, far]).host.steal_ms == 0.0


def test_what_one_pass_lacks_is_absent() -> None:
    first, second, third = passes_of([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)])
    still = {"energy_j": "the counter did not move"}
    parts = {"vision_ms": "prefill called no module that is known to be this part"}
    second = replace(second, energy_j=None, absent=still)
    one = composed([first, second, replace(third, vision_ms=None, absent=parts)])
    assert one.energy_j is None
    assert one.absent == still, "vision was there in the pass that gave the prefill's time"
    assert one.vision_ms == 1.0
    unknown = host(cpu_mhz=None, absent={"cpu_mhz": "not told"})
    one = composed([first, replace(second, host=unknown), third])
    assert one.host.cpu_mhz is None
    assert one.host.absent == {"cpu_mhz": "not told"}
