"""The lines of the terminal output."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_records import RUN
from snakemake.exceptions import LockException

from mfuscope.workflow.outcome import RunTimes
from mfuscope.workflow.outlook import Outlook
from snakemake_logger_plugin_mfuscope import messages

TRACEBACK = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("remaining", "parallel", "expected"), [(10, 1, 30), (10, 4, 9), (1, 4, 3), (3, 0, 9)]
)
def test_seconds_left_counts_rounds_of_parallel_runs(
    remaining: int, parallel: int, expected: float
) -> None:
    assert messages.seconds_left(remaining, [2, 4], parallel) == pytest.approx(expected)


def outlook(**changes: Any) -> Outlook:
    given: dict[str, Any] = {
        "pages": 1,
        "repeats": 3,
        "variants": ("baseline",),
        "results": Path(),
        "due": {},
    }
    return Outlook(**given | changes)


@pytest.mark.parametrize(
    ("known", "label"),
    [
        (None, "text.png, baseline, repeat 2"),
        (outlook(), "text.png, repeat 2 of 3"),
        (outlook(variants=("baseline", "fast")), "text.png, baseline, repeat 2 of 3"),
        (outlook(repeats=1), "text.png, repeat 2"),  # asked for by its file
        (outlook(repeats=2, variants=("a", "b")), "text.png, baseline, repeat 2 of 2"),
    ],
)
def test_a_run_is_named_with_what_tells_it_apart(known: Outlook | None, label: str) -> None:
    assert messages.job_label(RUN, known) == label
    assert messages.job_label(RUN | {"repeat": "0"}, outlook(repeats=1)) == "text.png"


def test_run_line() -> None:
    label = messages.job_label(RUN, outlook())
    assert messages.run_line(7, 36, label, RunTimes(83.4, 61.2), 71.0) == (
        "[ 7/36] text.png, repeat 2 of 3: prefill 83 ms, 61 tokens/s, 1 min 10 s left"
    )
    assert messages.run_line(9, 9, label, RunTimes(5703.6, None), None) == (
        "[9/9] text.png, repeat 2 of 3: prefill 5,704 ms"
    )
    assert messages.run_line(1, 9, label, None, None) == "[1/9] text.png, repeat 2 of 3"


def test_lines_are_folded_between_what_belongs_together() -> None:
    line = messages.run_line(2, 4, "text.png, repeat 1 of 2", RunTimes(1240, 23), 70)
    assert messages.folded(line, len(line)) == line
    assert messages.folded(line, len(line) - 1).splitlines() == [
        "[2/4] text.png, repeat 1 of 2: prefill 1,240 ms, 23 tokens/s,",
        "    1 min 10 s left",
    ]
    assert messages.folded("mfuscope: a page takes 83 ms", 24) == (
        "mfuscope: a page takes\n    83 ms"
    )
    command = "mfuscope: `rm results/baseline/runs/a.png/0.json` and run the same command again"
    assert messages.folded(command, 40) == command


@given(st.lists(st.text("aé1,:", min_size=1, max_size=12), min_size=1), st.integers(20, 90))
def test_folding_keeps_every_word_within_the_width(words: list[str], width: int) -> None:
    line = f"mfuscope: {' '.join(words)}"
    folded = messages.folded(line, width).splitlines()
    assert " ".join(part.strip() for part in folded) == line
    assert all(len(part) <= width or re.search(r"\d [^\W\d]", part) for part in folded)


def test_start_and_failure_lines() -> None:
    resolution = {"variant": "baseline", "resolution": "1024+640x2x3"}
    assert (
        messages.start_line("calibrate", resolution) == "calibrating baseline at 1024+640x2x3 ..."
    )
    assert messages.start_line("calibrate", resolution, outlook()) == (
        "calibrating at 1024+640x2x3 ..."
    )
    assert messages.start_line("probe_device", {}) == "probing the device ..."
    assert messages.start_line("profile", RUN) is None
    assert messages.failure_line("profile", RUN) == "run failed: text.png, baseline, repeat 2"
    assert messages.failure_line("calibrate", resolution) == (
        "calibration failed: baseline at 1024+640x2x3"
    )
    assert messages.failure_line("tabulate_metrics", {"variant": "x"}) == (
        "tabulate_metrics failed: variant x"
    )
    assert messages.failure_line("render_report", {}) == "render_report failed"


def test_log_excerpt_prefers_our_own_lines() -> None:
    own = "mfuscope: a.png: unreadable. Remedy: save it anew."
    assert messages.log_excerpt(f"loading\n{own}\n{own}\nTraceback ...\n") == [own]
    log = 'Traceback ...\n  File "x.py", line 1\n    f(1)\n    ^^^^\n\nValueError: 3 is not 4\n'
    assert messages.log_excerpt(log) == [
        '      File "x.py", line 1',
        "        f(1)",
        "    ValueError: 3 is not 4",
    ]
    assert messages.log_excerpt("") == []


@pytest.mark.parametrize(
    "message",
    [
        'WorkflowError in file "Snakefile", line 4:\nmfuscope: a.\n  b\n  File "Snakefile", line 4',
        'InputFunctionException in rule profile in file "Snakefile", line 9:\nError:\n'
        "  UserError: mfuscope: a.\n  b\nWildcards:\n\nTraceback:\n",
        "mfuscope: a.\n  b",
    ],
)
def test_error_text_takes_our_own_error_out_of_its_wrapping(message: str) -> None:
    assert messages.error_text(message) == "mfuscope: a.\n  b"


def test_error_text_keeps_other_errors_whole() -> None:
    message = "MissingInputException in rule profile:\nMissing input files:\n    a.png"
    assert messages.error_text(message) == f"mfuscope: {message}"


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (str(LockException()), "another call is making these results. Remedy: wait until"),
        ("Write-protected output files for rule a:\n    output: results/a", "are write-protected"),
        (
            "WorkflowError:\nError recording metadata ([Errno 28] No space left on device)",
            "is full",
        ),
        (
            'WorkflowError in rule a in file "/a/b.smk", line 1:\nOutput results/a b.csv has older '
            "modification time (2026-01-02 03:04:05.000006) than input results/it's (1).json "
            "(2026-01-02 04:04:05). This could indicate a clock skew problem in your network (rule "
            "a, line 1, /a/b.smk)",
            "results/a b.csv was made, but results/it's (1).json is dated later: in the "
            "future, or before the clock was set back. Remedy: "
            "`touch 'results/it'\"'\"'s (1).json'` and",
        ),
    ],
)
def test_error_text_explains_snakemakes_errors(error: str, meaning: str) -> None:
    line = messages.error_text(error)
    assert line.startswith("mfuscope: ")
    assert meaning in line
    assert "\n" not in line


@pytest.mark.parametrize(
    "message",
    [
        f'{TRACEBACK}\n  File "x.py", line 1, in f\n    f(1)\n    ^^^^\n\nValueError: 3 is not 4\n',
        f"{TRACEBACK}KeyError: 1\n\nDuring ...:\n\n{TRACEBACK}ValueError: 3 is not 4\n\n",
    ],
)
def test_error_text_reduces_a_traceback_to_its_last_line(message: str) -> None:
    assert (
        messages.error_text(message) == "mfuscope: ValueError: 3 is not 4 (--verbose shows where)"
    )


def test_stop_signal() -> None:
    assert messages.stop_signal("Command 'x' died with <Signals.SIGKILL: 9>.") == "SIGKILL"
    assert messages.stop_signal("Command 'x' returned non-zero exit status 137.") == "SIGKILL"
    assert messages.stop_signal("Command 'x' returned non-zero exit status 255.") is None
    assert messages.stop_signal("Command 'x' returned non-zero exit status 1.") is None


def test_allocation_line_counts_what_matters() -> None:
    batch = ["profile", "profile_again", "read_operators", "read_operators"]
    for missing, counted in (
        (batch[1:3], "(1 of 2 runs not made)"),
        (batch[1:], "(1 of 2 runs not made, 1 not read)"),
        (batch[3:], "(1 of 2 traces not read)"),
        ([], "(0 of 4 jobs not done)"),
    ):
        assert messages.allocation_line("6", None, missing, batch).endswith(counted)


CLOSING = (
    "For further error details see the cluster/cloud log and the log files of the involved rule(s)."
)
REFUSED = (
    "SLURM sbatch failed. The error message was 'sbatch: error: it isn't allowed\n"
    "sbatch: error: Batch job submission failed'.\n    sbatch call:\n        sbatch -t 36\n"
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (REFUSED, "sbatch: error: it isn't allowed\nsbatch: error: Batch job submission failed"),
        ("Job submission failed with exception: no account", "no account"),
        ("something else.", "something else."),
        ("", ""),
    ],
)
def test_an_executors_reason_has_no_command(message: str, reason: str) -> None:
    assert messages.executor_reason(message + CLOSING) == reason


def test_a_page_that_is_removed_in_mid_call_is_named() -> None:
    message = (
        "WorkflowError in rule profile in file workflow/rules/profile.smk, line 1:\n"
        "OSError: Missing files after 5 seconds. This might be due to filesystem latency. If that "
        "is the case, consider to increase the wait time with --latency-wait:\n"
        "my pages/a.png (missing locally, parent dir contents: b.png)\nmy pages/c.png"
    )
    assert messages.meaning(message) == (
        "mfuscope: files are gone that jobs of this call read: my pages/a.png (missing locally, "
        "parent dir contents: b.png), my pages/c.png. Remedy: run the same command again; finished "
        "results are kept."
    )
