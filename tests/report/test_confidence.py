"""What makes numbers more certain: repeats, timed passes, a quieter host."""

from dataclasses import replace
from typing import Any

import pytest
from builders import a_pass, host, host_stage, run
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
        "prefill varies by 12\u00a0% between repeats, single passes of a run by 0\u00a0%: the "
        "95 % interval of a page's mean is ±30\u00a0% with 3 repeats",
    )


def test_too_much_spread_is_not_cured_by_repeats() -> None:
    found = advice(varying(20.0, 50.0, 80.0), "repeats")
    assert found is not None
    assert found.title.startswith("Find what makes the times vary")
    assert "Even 50 repeats" in found.text


def test_passes_are_recommended_where_they_vary_more_than_runs() -> None:
    runs = []
    for repeat, middle in enumerate((46.0, 50.0, 54.0)):
        passes = [a_pass(prefill_ms=middle + more) for more in (-10.0, 0.0, 10.0)]
        runs.append(replace(run(repeat=repeat, runs_before=repeat + 1), passes=passes))
    found = advice(tables(runs).data, "repeats")
    assert found is not None
    assert found.title == "Set timed_passes to 15"
    assert "single passes of a run by 24\u00a0%" in found.evidence[0]


def test_fewer_than_three_repeats_say_nothing_of_the_spread() -> None:
    found = advice(tables(repeats(2)).data, "repeats")
    assert found is not None
    assert found.title == "Measure each page at least three times"


@pytest.mark.parametrize(("wait", "waited"), [(0.25, False), (30.25, True)])
def test_a_host_with_other_processes_is_named(wait: float, waited: bool) -> None:
    busy = host(prefill=host_stage(run_queue_wait_ms=wait))
    runs = [*repeats(2), run(repeat=2, timed=a_pass(prefill_ms=90.0, host=busy))]
    found = advice(tables(runs).data, "variance")
    assert found is not None
    assert found.title == "Measure on a quieter host"
    assert ("Other processes ran on the CPUs" in found.text) == waited
    assert ("waited for a CPU 30.0" in found.evidence[1]) == waited
