"""What a call is going to do, and why, in a line."""

from pathlib import Path
from typing import Any

import pytest
from log_records import handler, record

from mfuscope.core.runs import RunKey
from mfuscope.workflow.outlook import Cause, Outlook, Reason
from snakemake_logger_plugin_mfuscope.plan import (
    Announced,
    idle_lines,
    is_harmful_advice,
    plan_line,
    unreadable_line,
)

ONE, TWO = RunKey("a", "one.png", 0), RunKey("a", "two.png", 0)
CHANGED, NEW = Reason(Cause.CHANGED, "one.png"), Reason(Cause.NEW, "two.png")
FOLLOWS = "Input files updated by another job: results/metrics.csv"


def outlook(due: dict[RunKey, tuple[Reason, ...]], **changes: Any) -> Outlook:
    given: dict[str, Any] = {
        "pages": 2,
        "repeats": 2,
        "variants": ("a",),
        "results": Path("results"),
    }
    return Outlook(due=due, **given | changes)


def stats(runs: int, **others: int) -> dict[str, int]:
    """Jobs by rule as Snakemake counts them, with the target and the sum."""
    return {"profile": runs, **others, "all": 1, "total": runs + sum(others.values()) + 1}


def announced(*jobs: tuple[str, RunKey | None, str]) -> Announced:
    made = Announced()
    for rule, key, reason in jobs:
        names = {"variant": key.variant, "image": key.image, "repeat": "0"} if key else {}
        made.add({"rule_name": rule, "wildcards": names, "reason": reason})
    return made


def test_jobs_besides_the_runs_are_counted_without_the_target() -> None:
    known = outlook({ONE: (CHANGED,), TWO: (NEW,)})
    assert plan_line(stats(2, calibrate=1, read_operators=2, summarise=1), known) == (
        "mfuscope: 2 runs to measure: page two.png is new, page one.png changed; 1 calibration, "
        "3 other jobs"
    )
    assert plan_line(stats(2), None) == "mfuscope: 2 runs to measure"
    assert plan_line(stats(0, render_report=1), known) == (
        "mfuscope: no run to measure; 1 other job"
    )


def test_all_runs_are_pages_by_repeats_by_variants() -> None:
    keys = [RunKey(v, f"{n}.png", r) for v in "ab" for n in (1, 2) for r in (0, 1)]
    known = outlook(dict.fromkeys(keys, (Reason(Cause.FIRST),)), variants=("a", "b"))
    assert plan_line(stats(8), known) == (
        "mfuscope: 8 runs to measure (2 pages × 2 repeats × 2 variants): nothing is measured yet"
    )


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (1, "2 lack a current result"),
        (2, "page two.png is new, page one.png changed"),
        (
            3,
            "page two.png is new, page one.png changed, 1 for another reason (`snakemake -n` "
            "names it)",
        ),
    ],
)
def test_runs_that_the_results_do_not_explain_get_no_made_up_reason(runs: int, why: str) -> None:
    line = plan_line(stats(runs), outlook({ONE: (CHANGED,), TWO: (NEW,)}))
    assert line.partition("to measure: ")[2] == why


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("Forced execution", "asked for again"),
        ("Missing output files: results/a/runs/one.png/0.json", "results of one.png were removed"),
        (f"Code has changed since last execution; {FOLLOWS}", "code changed"),
        (
            "Params have changed since last execution: Union of exclusive params before and now "
            "across all output: before: 3,'a; b' now: 5,'Updated input files: x' ",
            "settings or code changed",
        ),
        ("Software environment definition has changed since last execution", "software"),
        ("a reason of a later Snakemake", "a reason of a later Snakemake"),
    ],
)
def test_where_the_results_say_nothing_snakemakes_reason_is_translated(
    reason: str, why: str
) -> None:
    line = plan_line(stats(1), outlook({}), announced(("profile", ONE, reason)))
    assert why in line.partition("to measure: ")[2]
    assert "results/" not in line


def test_what_the_results_know_of_a_run_goes_first() -> None:
    forced = announced(("profile", ONE, "Forced execution"), ("profile", TWO, "Forced execution"))
    assert plan_line(stats(2), outlook({ONE: (CHANGED,)}), forced) == (
        "mfuscope: 2 runs to measure: asked for again, page one.png changed"
    )


def test_other_jobs_are_explained_where_no_run_is_measured() -> None:
    digests = "before: '0123456789abcdef' now: 'fedcba9876543210' "
    changed = "Params have changed since last execution: Union of exclusive params before and now "
    jobs = announced(
        ("summarise", None, f"{changed}across all output: {digests}"),
        ("render_report", None, f"Missing output files: results/report.html; {FOLLOWS}"),
        ("all", None, FOLLOWS),
    )
    assert plan_line(stats(0, summarise=1, render_report=1), outlook({}), jobs) == (
        "mfuscope: no run to measure; 2 other jobs: results/report.html is missing, code changed"
    )


def test_unreadable_pages_stop_the_call() -> None:
    known = outlook({ONE: (CHANGED,)}, unreadable=1)
    assert unreadable_line(known) == (
        "mfuscope: 1 run to measure: page one.png changed; 1 page cannot be read: "
        "the call will stop"
    )
    assert unreadable_line(outlook({}, unreadable=2)) == (
        "mfuscope: no run to measure; 2 pages cannot be read: the call will stop"
    )


def test_nothing_to_do(tmp_path: Path) -> None:
    line = "Nothing to do: every result is up to date"
    assert idle_lines(None) == idle_lines(outlook({}, results=tmp_path)) == [f"{line}."]
    report = tmp_path / "report.html"
    report.touch()
    assert idle_lines(outlook({}, results=tmp_path)) == [f"{line}; report: {report}"]
    line, note = idle_lines(outlook({ONE: (CHANGED,), TWO: (NEW,)}, results=tmp_path))
    assert line == f"Nothing to do, as Snakemake sees it; report: {report}"
    assert "another page content than now: a/one.png/0. Snakemake plans" in note


@pytest.mark.parametrize("settings", [{}, {"dryrun": True}, {"verbose": True}])
def test_advice_that_would_keep_outdated_results_is_left_out(
    settings: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    advice = (
        "Some jobs were triggered by provenance information, see 'reason' section in the rule "
        "displays above.\nuse the command line option '--rerun-triggers mtime' (also see --help)."
    )
    assert is_harmful_advice(advice)
    shown = handler(**settings)
    shown.emit(record(advice))
    shown.emit(record("Rules with provenance triggered jobs: profile\n"))
    assert capsys.readouterr().err == ""
