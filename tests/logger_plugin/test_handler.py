"""The log handler, fed with records."""

import fcntl
import logging
import os
import pty
import struct
import sys
import termios
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from log_records import Screen, finished, handler, job_error, job_info, record
from snakemake.io import check
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import TestLogHandlerBase

from mfuscope.core.runs import RunKey
from mfuscope.workflow.outlook import Cause, Outlook, Reason
from snakemake_logger_plugin_mfuscope import LogHandler


class TestOfTheInterface(TestLogHandlerBase):
    """The tests that every logger plugin should pass."""

    __test__ = True

    def get_log_handler_cls(self) -> type[LogHandler]:
        return LogHandler

    def get_log_handler_settings(self) -> Any:
        return None

    def _create_handler(self) -> LogHandler:
        return handler()


@pytest.mark.parametrize("jump", [0, 86400, -86400])
def test_time_left_follows_parallel_runs_and_stops_after_a_failure(
    jump: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Also if the wall clock is set meanwhile."""
    shown = handler()

    def emit(seconds: float, what: logging.LogRecord) -> None:
        monkeypatch.setattr("snakemake_logger_plugin_mfuscope.monotonic", lambda: seconds)
        what.created = 1e9 + seconds + (jump if seconds > 105 else 0)
        shown.emit(what)

    emit(100, record(event=LogEvent.RUN_INFO, stats={"profile": 7, "total": 7}))
    for jobid in (1, 2):
        emit(100, job_info(jobid, repeat=str(jobid)))
    emit(110, finished(1))
    emit(110, job_info(3, repeat="3"))
    emit(110, job_error(2, tmp_path / "no.log"))
    emit(120, finished(3))
    emit(120, job_info(4, repeat="4"))
    emit(130, finished(4))
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("[")]
    assert lines == [
        "[1/7] text.png, baseline, repeat 2: 30 s left",  # 6 left, 2 at a time
        "[2/7] text.png, baseline, repeat 4",  # perhaps no further run begins
        "[3/7] text.png, baseline, repeat 5: 30 s left",  # 3 left, one per 10 s
    ]


def test_a_run_that_compiled_is_no_measure_of_those_to_come(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO, stats={"profile": 10, "total": 10}))
    for jobid, end in enumerate([10, 20, 30, 150, 160]):
        shown.emit(job_info(jobid, repeat=str(jobid)))
        monkeypatch.setattr("snakemake_logger_plugin_mfuscope.monotonic", lambda end=end: end)
        shown.emit(finished(jobid))
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("[")]
    assert [line.partition(": ")[2] for line in lines[-2:]] == ["1 min left", "50 s left"]


@pytest.mark.parametrize("setting", ["dryrun", "verbose", "printshellcmds", "debug_dag"])
def test_calls_for_detail_get_snakemakes_output(
    capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    shown = handler(**{setting: True})
    shown.emit(record("Building DAG of jobs..."))
    shown.emit(record("WorkflowError:\nno such rule", logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err == "Building DAG of jobs...\nWorkflowError:\nno such rule\n"


@pytest.mark.parametrize("setting", [None, "dryrun", "verbose", "printshellcmds", "debug_dag"])
def test_errors_with_a_known_meaning_are_explained_in_every_call(
    capsys: pytest.CaptureFixture[str], setting: str | None
) -> None:
    shown = handler(**({setting: True} if setting else {}))
    for words in ("mfuscope: a.\n", "KeyError: 1\n"):
        message = f'Traceback (most recent call last):\n  File "a.smk", line 4, in f\n{words}'
        shown.emit(record(message, logging.ERROR, event=LogEvent.ERROR))
    assert (
        capsys.readouterr().err == "mfuscope: a.\nmfuscope: KeyError: 1 (--verbose shows where)\n"
    )


def test_quiet_calls_show_errors_of_dry_runs_only(capsys: pytest.CaptureFixture[str]) -> None:
    error = record("mfuscope: a.", logging.ERROR, event=LogEvent.ERROR)
    for settings in ({}, {"printshellcmds": True}):
        handler(quiet={Quietness.ALL}, **settings).emit(error)
    assert capsys.readouterr().err == ""
    handler(quiet={Quietness.ALL}, dryrun=True).emit(error)  # as Snakemake's own
    assert capsys.readouterr().err == "mfuscope: a.\n"


@pytest.mark.parametrize("settings", [{}, {"dryrun": True}, {"verbose": True}])
@pytest.mark.parametrize("name", ["a\nb.png", " a.png", "a.png ", "it's\n'so' .png "])
def test_warnings_about_harmless_names_are_left_out(
    settings: dict[str, bool], name: str, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    check(name)
    assert caplog.records
    shown = handler(**settings)
    for warning in caplog.records:
        shown.emit(warning)
    shown.emit(record("File path 'a//b' contains double '/'.", logging.WARNING))
    seen = capsys.readouterr().err.removeprefix("warning: ")
    assert seen == "File path 'a//b' contains double '/'.\n"


def test_warnings_and_the_end_without_known_failures(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(record("the disk is nearly full", logging.WARNING))
    final = "WorkflowError:\nAt least one job did not complete successfully."
    shown.emit(record(final, logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err == f"warning: the disk is nearly full\nmfuscope: {final}\n"


@pytest.mark.parametrize("settings", [{}, {"dryrun": True}])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_control_characters_are_escaped(
    settings: dict[str, bool], level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, carriage returns and changes of text direction."""
    shown = handler(**settings)
    shown.emit(record("mfuscope: a\x1b[2J\x1b]0;title\x07b\u202ec\x9b1m\udcff é\n\tnext", level))
    seen = capsys.readouterr().err
    assert seen.startswith("mfuscope: ")
    assert seen.removeprefix("mfuscope: ").strip() == (
        "a\\x1b[2J\\x1b]0;title\\x07b\\u202ec\\x9b1m\\udcff é\n\tnext"
    )


def test_an_exception_in_the_handler_is_reported_and_survived(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO))  # lacks its stats
    shown.emit(record("mfuscope: still here"))
    seen = capsys.readouterr().err
    assert "KeyError: 'stats'" in seen
    assert seen.endswith("mfuscope: still here\n")


@pytest.mark.parametrize(
    ("settings", "variables", "coloured"),
    [
        ({}, {}, True),
        ({"nocolor": True}, {}, False),
        ({}, {"NO_COLOR": "1"}, False),
        ({}, {"TERM": "dumb"}, False),
    ],
)
def test_colours_only_errors_and_only_where_wanted(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, bool],
    variables: dict[str, str],
    coloured: bool,
) -> None:
    for name, value in {"NO_COLOR": "", "TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    shown = handler(stdout=True, **settings)
    shown.emit(record("mfuscope: fine"))
    shown.emit(record("oh", logging.ERROR))
    error = "\033[31mmfuscope: oh\033[0m" if coloured else "mfuscope: oh"
    assert screen.getvalue() == f"mfuscope: fine\n{error}\n"


def test_reading_the_last_traces_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO, stats={"profile": 0, "read_operators": 5}))
    for jobid in range(5):
        job = job_info(jobid, repeat=str(jobid))
        job.rule_name = "read_operators"
        shown.emit(job)
    lines = [line for line in capsys.readouterr().err.splitlines() if "reading" in line]
    assert lines == ["reading 5 traces ..."]
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO, stats={"profile": 1, "read_operators": 1}))
    job = job_info(1)
    job.rule_name = "read_operators"
    shown.emit(job)
    assert "reading" not in capsys.readouterr().err


KNOWN = Outlook(
    pages=1,
    repeats=1,
    variants=("baseline",),
    results=Path("no results"),
    due={RunKey("baseline", "a.png", 0): (Reason(Cause.CHANGED, "a.png"),)},
)


@pytest.mark.parametrize("quiet", [set(), {Quietness.RULES, Quietness.PROGRESS}, {Quietness.ALL}])
def test_a_dry_run_ends_with_its_line(
    quiet: set[Quietness], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = handler(dryrun=True, quiet=quiet)
    shown.emit(record(outlook=KNOWN))
    shown.emit(record("Building DAG of jobs..."))
    stats = {"profile": 1, "total": 1}
    shown.emit(record("Job stats:", event=LogEvent.RUN_INFO, stats=stats))
    shown.close()
    shown.close()  # logging closes handlers once more
    line = "mfuscope: 1 run to measure (1 page × 1 repeat): page a.png changed\n"
    before = "" if quiet else "Building DAG of jobs...\nJob stats:\n"
    assert capsys.readouterr().err == before + line


def test_a_dry_run_with_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler(dryrun=True)
    shown.emit(record("Nothing to be done (all requested files are present and up to date)."))
    shown.close()
    assert capsys.readouterr().err == "Nothing to do: every result is up to date.\n"


def test_a_dry_run_that_fails_has_no_plan(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler(dryrun=True)
    shown.emit(record(outlook=KNOWN))
    shown.emit(record("mfuscope: no.", logging.ERROR, event=LogEvent.ERROR))
    shown.close()
    assert capsys.readouterr().err == "mfuscope: no.\n"


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"dryrun": True}, True), ({"dryrun": True, "quiet": {Quietness.ALL}}, True), ({}, False)],
)
def test_unreadable_pages_come_with_what_would_be_measured(
    settings: dict[str, Any], told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = handler(**settings)
    shown.emit(record(outlook=replace(KNOWN, unreadable=1)))
    shown.emit(record("mfuscope: images: b.png is broken.", logging.ERROR, event=LogEvent.ERROR))
    shown.close()
    why = "mfuscope: 1 run to measure: page a.png changed; 1 page cannot be read: "
    assert capsys.readouterr().err == "mfuscope: images: b.png is broken.\n" + told * (
        f"{why}the call will stop\n"
    )


@pytest.mark.parametrize(("runs", "left"), [(1, False), (0, True)])
def test_outdated_results_that_snakemake_leaves_are_named(
    runs: int, left: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = handler()
    shown.emit(record(outlook=KNOWN))
    stats = {"profile": runs, "tabulate_metrics": 1, "total": runs + 1}
    shown.emit(record(event=LogEvent.RUN_INFO, stats=stats))
    assert ("than now: baseline/a.png/0. " in capsys.readouterr().err) == left


def test_lines_fold_at_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as screen, os.fdopen(master, "rb") as seen:
        monkeypatch.setattr(sys, "stdout", screen)
        for columns in (40, 0):  # a terminal that tells no width
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            shown = handler(stdout=True, nocolor=True)
            shown.emit(record("mfuscope: prefill takes 78 % of the time of a page"))
        shown.emit(record("mfuscope: an error is not folded, whatever it holds", logging.ERROR))
        lines = [seen.readline().decode().rstrip() for _ in range(4)]
    assert lines == [
        "mfuscope: prefill takes 78 % of the time",
        "    of a page",
        "mfuscope: prefill takes 78 % of the time of a page",
        "mfuscope: an error is not folded, whatever it holds",
    ]
