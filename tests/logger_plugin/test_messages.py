"""The lines of the terminal output."""

import pytest
from log_records import RUN
from snakemake.exceptions import LockException

from snakemake_logger_plugin_mfuscope import messages

TRACEBACK = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (2.14, "2.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (70, "1 min 10 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert messages.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.1, "1 s"),
        (12.4, "12 s"),
        (56, "1 min"),
        (68, "1 min 10 s"),
        (594, "9 min 50 s"),
        (596, "10 min"),
        (3571, "1 h 00 min"),
        (7510, "2 h 05 min"),
    ],
)
def test_rough_duration(seconds: float, expected: str) -> None:
    assert messages.rough_duration(seconds) == expected


@pytest.mark.parametrize(
    ("remaining", "parallel", "expected"), [(10, 1, 30), (10, 4, 9), (1, 4, 3), (3, 0, 9)]
)
def test_seconds_left_counts_rounds_of_parallel_runs(
    remaining: int, parallel: int, expected: float
) -> None:
    assert messages.seconds_left(remaining, [2, 4], parallel) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (
            {"profile": 36, "calibrate": 4, "read_operators": 36, "summarise": 5},
            "36 runs to measure, 4 calibrations, 41 other jobs",
        ),
        ({"profile": 1, "calibrate": 1, "x": 1}, "1 run to measure, 1 calibration, 1 other job"),
        ({"render_report": 2}, "no run to measure, 2 other jobs"),
    ],
)
def test_plan_line_leaves_out_the_target_rule(stats: dict[str, int], expected: str) -> None:
    total = sum(stats.values()) + 1
    assert messages.plan_line({**stats, "all": 1, "total": total}) == f"mfuscope: {expected}"


def test_run_line() -> None:
    label = messages.job_label(RUN)
    assert messages.run_line(7, 36, label, 2.1, 71.0) == (
        "[ 7/36] text.png repeat 1 (baseline)   2.1 s   about 1 min 10 s left"
    )
    assert messages.run_line(9, 9, label, 30, None, 30) == (
        "[9/9] text.png repeat 1 (baseline)    30.0 s"
    )


def test_start_and_failure_lines() -> None:
    resolution = {"variant": "baseline", "resolution": "1024+640x2x3"}
    assert (
        messages.start_line("calibrate", resolution) == "calibrating baseline at 1024+640x2x3 ..."
    )
    assert messages.start_line("probe_device", {}) == "probing the device ..."
    assert messages.start_line("profile", RUN) is None
    assert messages.failure_line("profile", RUN) == "run failed: text.png repeat 1 (baseline)"
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
