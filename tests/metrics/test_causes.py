"""The rules that say why a run is slower than its page's fastest repeat."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repeat_rows import ROW, row

from mfuscope.metrics.causes import (
    CAUSES,
    CIRCUMSTANCES,
    COLUMNS,
    LEAST_SHARE,
    PLACES,
    Cause,
    Stage,
    causes,
)


def found(stage: Stage = "decode", **changes: Any) -> dict[str, Cause]:
    """What explains a run that differs by these columns from an undisturbed one, by kind."""
    made = causes(row(**changes), row(), stage)
    assert len({one.kind for one in made}) == len(made)
    return {one.kind: one for one in made}


def ms(made: dict[str, Cause]) -> dict[str, Any]:
    return {kind: pytest.approx(one.explained_ms) for kind, one in made.items()}


def test_a_run_that_waited_for_a_cpu() -> None:
    made = found(decode_ms=1508.0, stalls=2, stall_ms=468.0, decode_wait_ms=400.5)
    # 500 ms in two stalled steps, of which 400 waited.
    assert ms(made) == {"wait": 400.0, "stalls": 100.0}
    assert (made["wait"].slow, made["wait"].fast) == (400.5, 0.5)


def test_a_wait_that_no_stall_holds_is_taken_off_the_slower_steps() -> None:
    made = found(decode_ms=1638.0, step_p50_ms=26.0, decode_wait_ms=300.5)
    assert ms(made) == {"wait": 300.0, "throughout": 330.0}


def test_what_is_beyond_wait_and_places_stays_unexplained() -> None:
    made = found(decode_ms=2008.0, stalls=2, stall_ms=468.0, decode_wait_ms=400.5)
    assert ms(made) == {"wait": 400.0, "stalls": 100.0}


def test_a_run_that_was_slower_in_every_step() -> None:
    made = found(decode_ms=1638.0, step_p50_ms=26.0)
    assert ms(made) == {"throughout": 630.0}
    assert (made["throughout"].slow, made["throughout"].fast) == (26.0, 16.0)
    assert not made.keys() & set(CAUSES), "nothing says why"


def test_a_stall_counts_from_the_median_step() -> None:
    # A step of 116 ms: 100 more than the median one, 84 more than twice that.
    assert ms(found(decode_ms=1108.0, stalls=1, stall_ms=84.0)) == {"stalls": 100.0}


def test_collections_and_tokens() -> None:
    made = found(decode_ms=1208.0, stalls=1, stall_ms=184.0, decode_collections_ms=200.0)
    assert ms(made) == {"collections": 200.0}
    assert ms(found(decode_ms=1168.0, new_tokens=74)) == {"tokens": 160.0}


def test_more_tokens_lie_in_no_place() -> None:
    made = found(decode_ms=1798.0, new_tokens=74, step_p50_ms=26.0)
    assert ms(made) == {"tokens": 160.0, "throughout": 630.0}


def test_a_lower_clock_slows_only_what_the_device_does() -> None:
    made = found("prefill", prefill_ms=100.0, sm_clock_mhz=990.0)
    assert made["sm_clock"].explained_ms == pytest.approx(20.0), "never more than the excess"
    made = found("prefill", prefill_ms=200.0, sm_clock_mhz=990.0)
    assert made["sm_clock"].explained_ms == pytest.approx(40.0), "busy time, twice as long"
    assert "sm_clock" not in found("prefill", prefill_ms=100.0, sm_clock_mhz=1941.0)
    assert "sm_clock" in found("prefill", prefill_ms=81.0, sm_clock_mhz=1939.0)


def test_without_busy_time_a_lower_clock_is_a_circumstance() -> None:
    slow, fast = row(prefill_ms=100.0, sm_clock_mhz=990.0), row(prefill_device_busy_ms=None)
    (one,) = (one for one in causes(slow, fast, "prefill") if one.kind.startswith("sm_clock"))
    assert (one.kind, one.explained_ms) == ("sm_clock_lower", None)


def test_prefill_is_slower_throughout_by_its_least_slower_part() -> None:
    # Vision x 1.5, language x 2, the rest (9.8 ms) x 1.5.
    changes = {"vision_ms": 75.0, "projector_ms": 0.3, "language_prefill_ms": 40.0}
    made = found("prefill", prefill_ms=130.0, **changes)
    assert ms(made) == {"parts": 40.0, "part": 10.0}
    assert made["parts"].slow == pytest.approx(1.5)
    assert (made["part"].name, made["part"].slow, made["part"].fast) == ("language", 40.0, 20.0)


def test_a_model_may_have_no_projector() -> None:
    slow = row(prefill_ms=110.0, language_prefill_ms=50.0, projector_ms=None)
    (one,) = causes(slow, row(projector_ms=None), "prefill")
    assert (one.kind, one.name) == ("part", "language")
    assert one.explained_ms == pytest.approx(30.0)
    for unknown in ("vision_ms", "language_prefill_ms"):
        slow = row(**{"prefill_ms": 110.0, "language_prefill_ms": 50.0} | {unknown: None})
        assert not causes(slow, row(**{unknown: None}), "prefill")


def test_a_part_alone() -> None:
    made = found("prefill", prefill_ms=110.0, language_prefill_ms=50.0)
    assert ms(made) == {"part": 30.0}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"throttle_reasons": "sw_power_cap+hw_slowdown"}, "throttled"),
        ({"steal_ms": 60.0}, "steal"),
        ({"decode_major_faults": 3}, "major_faults"),
        ({"cpu_mhz": 2000.0}, "cpu_clock"),
        ({"gpu_processes": 1}, "gpu_processes"),
        ({"overlapping_jobs": 1}, "jobs"),
    ],
)
def test_circumstances_have_no_milliseconds(changes: dict[str, Any], kind: str) -> None:
    made = found(decode_ms=1508.0, **changes)
    assert made.keys() == {kind}
    assert made[kind].explained_ms is None
    both = causes(row(decode_ms=1508.0, **changes), row(**changes), "decode")
    assert both == (), "the fastest run had it too"


@pytest.mark.parametrize(("steal", "named"), [(20.0, False), (30.0, True)])
def test_steal_counts_from_three_ticks_on(steal: float, named: bool) -> None:
    assert ("steal" in found("prefill", prefill_ms=110.0, steal_ms=steal)) == named


@pytest.mark.parametrize("column", ["gpu_processes", "overlapping_jobs"])
def test_more_of_what_the_fastest_met_too_is_no_circumstance(column: str) -> None:
    slow, fast = row(decode_ms=1508.0, **{column: 2}), row(**{column: 1})
    assert causes(slow, fast, "decode") == ()


def test_only_the_throttling_that_the_fastest_did_not_have() -> None:
    slow = row(decode_ms=1508.0, throttle_reasons="hw_slowdown+sw_power_cap")
    (one,) = causes(slow, row(throttle_reasons="sw_power_cap"), "decode")
    assert one.name == "hw_slowdown"


def test_empty_cells_explain_nothing() -> None:
    kept = {"variant", "image", "repeat", "new_tokens", "prefill_ms", "decode_ms", "runs_before"}
    empty: dict[str, Any] = dict.fromkeys(ROW.keys() - kept, None)
    empty |= {"stalls": 0, "stall_ms": 0.0}
    for stage in ("prefill", "decode"):
        assert causes(row(**empty, decode_ms=2000.0, prefill_ms=90.0), row(), stage) == ()


def test_little_is_not_named() -> None:
    assert found(decode_ms=1508.0, decode_wait_ms=24.5).keys() == set()
    assert found(decode_ms=1508.0, decode_wait_ms=26.5).keys() == {"wait"}


def test_every_kind_is_one_of_three_sorts() -> None:
    kinds = [*CAUSES, *PLACES, *CIRCUMSTANCES]
    assert len(set(kinds)) == len(kinds)
    assert set(COLUMNS) <= ROW.keys()


TIMES = st.floats(0.0, 500.0)
CHANGES = st.fixed_dictionaries(
    {
        "decode_ms": st.floats(1008.1, 5000.0),
        "prefill_ms": st.floats(80.1, 500.0),
        "vision_ms": st.floats(1.0, 40.0),
        "language_prefill_ms": st.floats(1.0, 39.0),
        "new_tokens": st.integers(2, 128),
        "step_p50_ms": st.floats(1.0, 60.0),
        "stalls": st.integers(0, 10),
        "stall_ms": TIMES,
        "sm_clock_mhz": st.floats(300.0, 2000.0),
        "decode_wait_ms": TIMES,
        "prefill_wait_ms": TIMES,
        "decode_collections_ms": TIMES,
    }
)


@given(CHANGES, st.sampled_from(["prefill", "decode"]))
def test_causes_and_places_never_explain_more_than_the_excess(
    changes: dict[str, Any], stage: Stage
) -> None:
    slow, fast = row(**changes), row()
    excess = slow[f"{stage}_ms"] - fast[f"{stage}_ms"]
    made = causes(slow, fast, stage)
    explained = [one.explained_ms for one in made if one.explained_ms is not None]
    assert sum(explained) <= excess * (1 + 1e-9)
    assert all(one >= LEAST_SHARE * excess > 0 for one in explained)
    assert all((one.explained_ms is None) == (one.kind in CIRCUMSTANCES) for one in made)
