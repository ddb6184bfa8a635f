"""What makes numbers more certain: repeats, timed passes, a quieter host."""

from dataclasses import replace
from typing import Any

from builders import a_pass, conditions, host, host_stage, page, run
from report_data import repeats, tables

from mfuscope.report.data import ReportData
from mfuscope.report.recommendations import Recommendation, recommend


def advice(data: ReportData, rule: str) -> Recommendation | None:
    found = [one for one in recommend(data, data.reference) if one.rule == rule]
    assert len(found) < 2
    return found[0] if found else None


def varying(*times: float, **changes: Any) -> ReportData:
    """A page whose prefill takes this long in its repeats."""
    runs = [
        run(repeat=i, runs_before=i + 1, timed=a_pass(prefill_ms=ms, **changes))
        for i, ms in enumerate(times)
    ]
    return tables(runs).data


def test_an_interval_that_is_narrow_enough_needs_no_more_repeats() -> None:
    assert advice(varying(48.1, 50.0, 51.9), "repeats") is None, "±9.4 %"


def test_repeats_are_recommended_from_the_measured_spread() -> None:
    # cv 12 %: ±30 % with 3 repeats, t(7) x 0.12 / sqrt(8) = ±10.03 % with 8, ±9.2 % with 9.
    found = advice(varying(44.0, 50.0, 56.0), "repeats")
    assert found is not None
    assert found.title == "Set repeats to 9"
    assert "(prefill ±9.2\u00a0%)" in found.text
    assert found.evidence == (
        "prefill varies by 12\u00a0% between repeats and by 0\u00a0% between the passes of a run; "
        "with 3 repeats the 95 % interval of a page's mean is ±30\u00a0%",
    )


def test_too_much_spread_is_not_cured_by_repeats() -> None:
    found = advice(varying(20.0, 50.0, 80.0), "repeats")
    assert found is not None
    assert found.title.startswith("Find what makes the times vary")
    assert "Even with 50 repeats" in found.text


def test_passes_are_recommended_where_they_vary_more_than_runs() -> None:
    runs = []
    for repeat, middle in enumerate((46.0, 50.0, 54.0)):
        passes = [a_pass(prefill_ms=middle + more) for more in (-10.0, 0.0, 10.0)]
        runs.append(replace(run(repeat=repeat, runs_before=repeat + 1), passes=passes))
    found = advice(tables(runs).data, "repeats")
    assert found is not None
    assert found.title == "Set timed_passes to 15"
    assert "by 24\u00a0% between the passes of a run" in found.evidence[0]


def two_repeats(*pages: tuple[float, float]) -> ReportData:
    """Pages whose prefill takes this long in their two repeats."""
    runs = [
        run(
            image=f"{place}.png",
            repeat=i,
            runs_before=i + 1,
            page=page(path=f"/pages/{place}.png"),
            timed=a_pass(prefill_ms=ms),
        )
        for place, times in enumerate(pages)
        for i, ms in enumerate(times)
    ]
    return tables(runs).data


def test_two_repeats_of_few_pages_say_nothing_of_the_spread() -> None:
    for data in (tables(repeats(1)).data, tables(repeats(2)).data, two_repeats(*[(46, 54)] * 2)):
        found = advice(data, "repeats")
        assert found is not None
        assert found.title == "Measure each page at least three times"


def test_two_repeats_of_enough_pages_have_a_plan() -> None:
    # cv 8.5 %, 3 degrees of freedom: ±19 %; of 4 repeats, at 9 of them, t = 2.26: ±9.6 %.
    found = advice(two_repeats(*[(47.0, 53.0)] * 3), "repeats")
    assert found is not None
    assert found.title == "Set repeats to 4"
    assert found.evidence == (
        "prefill varies by 8.5\u00a0% between repeats (pooled over 3 pages) and by 0\u00a0% "
        "between the passes of a run; with 2 repeats the 95 % interval of a page's mean is "
        "±19\u00a0%",
    )
    assert advice(two_repeats(*[(49.9, 50.1)] * 3), "repeats") is None


def slowed(clock: int | None = 1980, **met: Any) -> Recommendation:
    """Advice where the third repeat is slow, and met this."""
    dropped = conditions(sm_clock_mhz=clock)
    slow = a_pass(
        prefill_ms=90.0,
        host=host(prefill=host_stage(**met)),
        conditions_before=dropped,
        conditions_after=dropped,
    )
    found = advice(tables([*repeats(2), run(repeat=2, timed=slow)]).data, "variance")
    assert found is not None
    return found


def test_a_host_with_other_processes_is_named() -> None:
    found = slowed(run_queue_wait_ms=30.25)
    assert found.title == "Measure on a quieter host"
    assert "Other processes ran on the CPUs" in found.text
    assert "waited for a CPU 30.0" in found.evidence[1]


def test_processes_that_the_record_rules_out_are_not_to_be_ended() -> None:
    found = slowed()
    assert found.title == "Spread repeats over a longer time"
    assert found.text == (
        "The SM clock held steady. The record rules out run-queue wait (at most 0.250\u00a0ms a "
        "stage): ending other processes or pinning would not help. Why these runs were slower was "
        "not recorded. Repeats spread over a longer time average it out."
    )


def test_a_host_that_was_slower_throughout_is_called_so() -> None:
    steps = [a_pass(step_ms=[ms] * 3, decode_ms=3 * ms) for ms in (20.0, 20.0, 40.0)]
    runs = [run(repeat=i, runs_before=i + 1, timed=timed) for i, timed in enumerate(steps)]
    found = advice(tables(runs).data, "variance")
    assert found is not None
    assert "The host itself was slower throughout." in found.text


def test_what_was_not_recorded_is_not_ruled_out() -> None:
    found = slowed(clock=None, run_queue_wait_ms=None)
    assert found.title == "Measure on a quieter host"
    assert found.text.startswith(
        "Clocks were not recorded. The record lacks how long the measurement waited for a CPU."
    )


def test_the_kind_that_explains_most_decides() -> None:
    # The clock explains 25 ms x (1980 / 1800 - 1) = 2.5 ms at most, waiting 30.
    found = slowed(clock=1800, run_queue_wait_ms=30.25)
    assert "Other processes ran" in found.text
    found = slowed(clock=900, run_queue_wait_ms=5.25)
    assert found.title.startswith("Lock the clocks")
    assert "Keep garbage" in slowed(collections_ms=30.0).title
