"""What sessions, trace readers and neighbours on the GPU did to the means."""

from typing import Any

import pandas as pd
import pytest
from builders import STARTED_AT, a_pass, activity, host, host_stage, run, session
from repeat_rows import table
from report_data import cpu_tables, on_cpu, repeats, tables

from mfuscope.core import records
from mfuscope.report.check import Check
from mfuscope.report.sessions import differences, neighbours, overlaps, sessions
from mfuscope.report.validity import all_checks


def two(**second: Any) -> pd.DataFrame:
    """Two pages with two repeats in each of two sessions; columns of the second session."""
    made = [
        table(*({"image": image} | changes for changes in ({}, {}, second, second)))
        for image in ("a.png", "b.png")
    ]
    rows = pd.concat(made, ignore_index=True)
    rows["session"] = ["first", "first", "second", "second"] * 2
    return rows


def test_pages_of_one_session_are_no_finding() -> None:
    rows = two()
    rows["session"] = "first"
    assert sessions(rows) == []
    # Two calls that measured different pages.
    rows["session"] = ["first"] * 4 + ["second"] * 4
    assert sessions(rows) == []
    rows["process"] = ["one", "two"] * 4
    assert len(sessions(rows)) == 4, "another process of the same call is another session"


def test_what_a_session_does_to_the_mean() -> None:
    rows = two(prefill_ms=120.0, decode_ms=1512.0)
    rows.loc[rows["image"] == "b.png", ["prefill_ms", "decode_ms"]] *= 3
    first, second = sessions(rows)
    assert (first.session, second.session, second.process) == ("first", "second", "one")
    assert (second.runs, second.pages) == (4, 2)
    assert first.effect == {"prefill": pytest.approx(0.8), "decode": pytest.approx(0.8)}
    assert second.effect == {"prefill": pytest.approx(1.2), "decode": pytest.approx(1.2)}
    assert differences([first, second]) == [], "the conditions are alike"


@pytest.mark.parametrize(
    ("column", "same", "other", "word"),
    [
        ("reference_prefill_ms", 82.9, 83.1, "prefill of the reference pass by ×1.05"),
        ("reference_step_ms", 16.2, 16.3, "decode of the reference pass by ×1.05"),
        ("load_1min", 2.0, 2.1, "the load before the runs (1.0 to 2.1)"),
        ("sm_clock_mhz", 1942.0, 1940.0, "the SM clock (1940 to 1980 MHz)"),
    ],
)
def test_conditions_that_differ(column: str, same: float, other: float, word: str) -> None:
    assert differences(sessions(two(**{column: same}))) == []
    assert differences(sessions(two(**{column: other}))) == [word]


def test_absent_conditions_are_no_difference() -> None:
    columns = ("reference_step_ms", "load_1min", "sm_clock_mhz")
    rows = two(**dict.fromkeys(columns))
    assert differences(sessions(rows)) == []


def checks(runs: list[records.Run], title: str, **changes: Any) -> list[Check]:
    return [one for one in all_checks(tables(runs, **changes).data) if one.title == title]


def test_the_report_says_what_sessions_do_to_the_mean() -> None:
    title = "Repeats of one session"
    (alone,) = checks(repeats(2), title)
    assert alone.verdict == "ok"

    def later(step_ms: float) -> list[records.Run]:
        reference = records.Reference(prefill_ms=49.0, step_ms=step_ms)
        other = session(call="later", reference=reference)
        slow = a_pass(step_ms=[30.0] * 3, decode_ms=93.0)
        return [run(), run(repeat=1, timed=slow, session=other)]

    (alike,) = checks(later(19.5), title)
    assert (alike.verdict, len(alike.details)) == ("ok", 2)
    (apart,) = checks(later(29.25), title)
    assert apart.verdict == "warning"
    assert "baseline: decode of the reference pass by ×1.50" in apart.text
    assert "call later, process 0123456789ab (1 run of 1 page)" in apart.details[1]
    assert "prefill +0.0\u00a0% and decode +20.0\u00a0%; reference pass:" in apart.details[1]
    assert "decode −20.0\u00a0%" in apart.details[0]


def test_runs_beside_a_reader_are_compared_page_by_page() -> None:
    made = [
        table(
            *(
                {"image": f"{i}.png", "overlapping_jobs": n, "decode_ms": ms * (i + 1)}
                for n, ms in ((0, 1000.0), (0, 1000.0), (1, 1100.0 + i))
            )
        )
        for i in range(3)
    ]
    (found,) = overlaps(pd.concat(made, ignore_index=True))
    assert (found.variant, found.runs, found.beside) == ("baseline", 9, 3)
    decode = found.times["decode"]
    assert decode.ratio == pytest.approx(1.101, abs=1e-3)
    assert decode.ci95_low is not None
    assert decode.ci95_low > 1.05
    assert found.times["prefill"].ratio == 1.0
    assert overlaps(table({}, {})) == []


def test_the_report_says_what_reading_traces_did() -> None:
    title = "No trace read beside a timed pass"
    assert [one.verdict for one in checks(repeats(2), title)] == ["ok"]

    def beside(ms: float) -> Check:
        runs, readings = [], []
        for repeat in range(4):
            start = STARTED_AT + 100 * repeat
            timed = a_pass(
                decode_ms=(62.0 if repeat < 2 else ms) + 0.1 * (repeat % 2),
                host=host(started_at=start),
            )
            runs.append(run(repeat=repeat, timed=timed))
            read = start if repeat > 1 else 0.0
            readings.append(activity(reading_started=read, reading_ended=read + 3))
        (found,) = checks(runs, title, activities=readings)
        return found

    slow = beside(80.0)
    assert slow.verdict == "warning"
    assert "during 2 of 4 runs" in slow.text
    assert slow.details[0].startswith("baseline (2 of 4 runs): prefill +0.0\u00a0%")
    assert "decode +29.0\u00a0% (95 % interval" in slow.details[0]
    assert "slower)" in slow.details[0]
    same = beside(62.0)
    assert same.verdict == "ok"
    assert "no difference shown" in same.details[0]


def test_a_difference_without_an_interval_is_unknown() -> None:
    title = "No trace read beside a timed pass"
    runs, readings = [], []
    for repeat in range(2):  # one run alone and one beside: a ratio, and no interval
        start = STARTED_AT + 100 * repeat
        timed = a_pass(decode_ms=62.0 * (1 + repeat), host=host(started_at=start))
        runs.append(run(repeat=repeat, timed=timed))
        read = start if repeat else 0.0
        readings.append(activity(reading_started=read, reading_ended=read + 3))
    (found,) = checks(runs, title, activities=readings)
    assert found.verdict == "unknown"
    assert found.details == ("baseline (1 of 2 runs): too few runs of the same pages to compare",)


def test_the_thread_that_waited_for_its_cpu() -> None:
    title = "The measuring thread had its CPU"

    def check(*waits: float | None) -> Check:
        timed = [a_pass(host=host(prefill=host_stage(run_queue_wait_ms=ms))) for ms in waits]
        (found,) = checks([run(repeat=i, timed=one) for i, one in enumerate(timed)], title)
        return found

    # Of 50 ms of prefill; decode waits 0.5 of 62.
    once = check(2.0)
    assert (once.verdict, "at most 4.0\u00a0% of a stage." in once.text) == (
        "ok",
        True,
    )
    worst = check(0.25, 2.5, 10.0, None)
    assert worst.verdict == "warning"
    assert worst.text.startswith("In 2 of 4 runs")
    assert "10.0\u00a0ms (20\u00a0%) of prefill in baseline / page.png / repeat 2" in worst.text
    assert check(0.25, None).verdict == "unknown"


def test_neighbours_on_the_gpu() -> None:
    found = neighbours(table({"gpu_processes": 2}, {"gpu_processes": None}, {}))
    assert (found.known, found.beside, found.most) == (2, 1, 2)
    title = "Nothing else on the GPU"

    def verdict(others: int | None) -> list[str]:
        timed = a_pass(host=host(gpu_processes=others))
        return [one.verdict for one in checks([run(timed=timed)], title)]

    assert [verdict(0), verdict(None), verdict(1)] == [["ok"], ["unknown"], ["warning"]]
    assert checks(on_cpu(), title, **cpu_tables()) == []
