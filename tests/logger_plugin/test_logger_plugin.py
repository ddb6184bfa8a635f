"""The terminal output: its words, and what real runs of Snakemake show of them."""

import io
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from snakemake.cli import parse_config
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import LockException
from snakemake.io import check
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from snakemake_logger_plugin_mfuscope import LogHandler, causes, text
from snakemake_logger_plugin_mfuscope.failures import Failures

RUN = {"variant": "baseline", "image": "text.png", "repeat": "1"}

SNAKEFILE = """
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

if config.get("bad"):
    raise WorkflowError("mfuscope: images: folder 'scans' holds no image. Remedy: put one in.")

rule all:
    input: "report.html"

rule inspect_images:
    output: "results/images.json"
    log: "logs/inspect_images.log"
    shell: "touch {output}"

rule probe_device:
    output: "results/device.json"
    log: "logs/probe_device.log"
    shell: "touch {output}"

rule calibrate:
    input: "results/device.json"
    output: "results/{variant}/calibration/{resolution}.json"
    log: "logs/{variant}/calibration/{resolution}.log"
    shell: "touch {output}"

rule profile:
    input: "results/images.json", "results/{variant}/calibration/1024+640x2x3.json"
    output: "results/{variant}/runs/{image}/{repeat}.json"
    log: "logs/{variant}/runs/{image}/{repeat}.log"
    script: "profile.py"

rule render_report:
    input: expand("results/baseline/runs/{image}/1.json", image=["form.jpg", "text.png"])
    output: "report.html"
    log: "logs/render_report.log"
    shell: "touch {output}"

onsuccess:
    logger.info("mfuscope: report.html is ready")
"""

SCRIPT = """
import sys
from pathlib import Path

sys.stderr = open(snakemake.log[0], "w")
fails = snakemake.config.get("fails", {}).get(snakemake.wildcards.image)
if fails == "silent":
    sys.exit(3)
print("loading the model", file=sys.stderr)
if fails == "own":
    sys.exit("mfuscope: text.png: 3 GiB of GPU memory are missing. Remedy: lower `resolution`.")
if fails == "traceback":
    raise ValueError("3 is not 4")
if fails != "no output":
    Path(snakemake.output[0]).write_text("{}")
"""

TRACEBACK = "Traceback (most recent call last):\n"

HOST_BLOCK = re.compile(r"\nSNAKEMAKE\n=+\n(  .*\n)+")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "profile.py").write_text(SCRIPT)
    profile = tmp_path / "profiles" / "default" / "profile.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("cores: 1\nkeep-going: true\nlatency-wait: 0\nlogger: [mfuscope]\n")
    return tmp_path


def environment(project: Path, **extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    return {
        **kept,
        "XDG_CACHE_HOME": str(project / "cache"),
        "TERM": "xterm",
        "PYTHONHASHSEED": "0",
        **extra,
    }


def snakemake(project: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr; less Snakemake's print on the profile it uses."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stderr.splitlines(keepends=True)
    return done.returncode, done.stdout, "".join(x for x in lines if not x.startswith("Using "))


def tty_output(project: Path, *arguments: str, **extra: str) -> str:
    """What a terminal gets to see."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=project,
        env=environment(project, **extra),
        stdout=slave,
        stderr=slave,
    ):
        os.close(slave)
        seen = b""
        try:
            while chunk := os.read(master, 4096):
                seen += chunk
        except OSError:  # the other side is closed
            pass
    os.close(master)
    return seen.decode().replace("\r\n", "\n")


def log_file(project: Path) -> str:
    (path,) = (project / ".snakemake" / "log").glob("*.log")
    return path.read_text()


# The words


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
    assert text.duration(seconds) == expected


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
    assert text.rough_duration(seconds) == expected


@pytest.mark.parametrize(
    ("remaining", "parallel", "expected"), [(10, 1, 30), (10, 4, 9), (1, 4, 3), (3, 0, 9)]
)
def test_seconds_left_counts_rounds_of_parallel_runs(
    remaining: int, parallel: int, expected: float
) -> None:
    assert text.seconds_left(remaining, [2, 4], parallel) == pytest.approx(expected)


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
    assert text.plan_line({**stats, "all": 1, "total": total}) == f"mfuscope: {expected}"


def test_run_line() -> None:
    label = text.job_label(RUN)
    assert text.run_line(7, 36, label, 2.1, 71.0) == (
        "[ 7/36] text.png repeat 1 (baseline)   2.1 s   about 1 min 10 s left"
    )
    assert text.run_line(9, 9, label, 30, None, 30) == (
        "[9/9] text.png repeat 1 (baseline)    30.0 s"
    )


def test_start_and_failure_lines() -> None:
    resolution = {"variant": "baseline", "resolution": "1024+640x2x3"}
    assert text.start_line("calibrate", resolution) == "calibrating baseline at 1024+640x2x3 ..."
    assert text.start_line("probe_device", {}) == "probing the device ..."
    assert text.start_line("profile", RUN) is None
    assert text.failure_line("profile", RUN) == "run failed: text.png repeat 1 (baseline)"
    assert text.failure_line("calibrate", resolution) == (
        "calibration failed: baseline at 1024+640x2x3"
    )
    assert text.failure_line("tabulate_metrics", {"variant": "x"}) == (
        "tabulate_metrics failed: variant x"
    )
    assert text.failure_line("render_report", {}) == "render_report failed"


def test_log_excerpt_prefers_our_own_lines() -> None:
    own = "mfuscope: a.png: unreadable. Remedy: save it anew."
    assert text.log_excerpt(f"loading\n{own}\n{own}\nTraceback ...\n") == [own]
    log = 'Traceback ...\n  File "x.py", line 1\n    f(1)\n    ^^^^\n\nValueError: 3 is not 4\n'
    assert text.log_excerpt(log) == [
        '      File "x.py", line 1',
        "        f(1)",
        "    ValueError: 3 is not 4",
    ]
    assert text.log_excerpt("") == []


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
    assert text.error_text(message) == "mfuscope: a.\n  b"


def test_error_text_keeps_other_errors_whole() -> None:
    message = "MissingInputException in rule profile:\nMissing input files:\n    a.png"
    assert text.error_text(message) == f"mfuscope: {message}"


@pytest.mark.parametrize(
    ("error", "told"),
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
            "results/a b.csv was made, but results/it's (1).json is dated later, in the "
            "future or before the clock was set back. Remedy: "
            "`touch 'results/it'\"'\"'s (1).json'` and",
        ),
    ],
)
def test_error_text_tells_what_snakemakes_errors_mean(error: str, told: str) -> None:
    said = text.error_text(error)
    assert said.startswith("mfuscope: ")
    assert told in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "message",
    [
        f'{TRACEBACK}\n  File "x.py", line 1, in f\n    f(1)\n    ^^^^\n\nValueError: 3 is not 4\n',
        f"{TRACEBACK}KeyError: 1\n\nDuring ...:\n\n{TRACEBACK}ValueError: 3 is not 4\n\n",
    ],
)
def test_error_text_reduces_a_traceback_to_its_last_line(message: str) -> None:
    assert text.error_text(message) == "mfuscope: ValueError: 3 is not 4 (--verbose shows where)"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("repeats", "'repeats' gives no value. Remedy: write KEY=VALUE, e.g. repeats=5."),
        ("images= ", "images has no value. Remedy: write KEY=VALUE, e.g. repeats=5."),
        ("2nd=3", "'2nd' is not the name of a setting. Remedy: write KEY=VALUE, e.g. repeats=5."),
        (
            "worker.pool.size=2",
            "'worker.pool.size' is not the name of a setting. Remedy: write "
            "'worker={pool: {size: 2}}'.",
        ),
    ],
)
def test_a_malformed_config_is_told_in_one_line(entry: str, told: str) -> None:
    with pytest.raises(Exception) as caught:
        parse_config(["fine=1", entry])
    assert causes.told(caught.value) == f"--config: {told}"


def test_other_errors_have_no_cause_of_ours() -> None:
    assert causes.told(ValueError("3 is not 4")) is None


MEND = (
    "mend the YAML there or in the lines before (blanks instead of tabs, quotes around text with "
    "`: ` or ` #` in it)"
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"\nrepeats: [1,\n2\nb: 3",
            ", line 4, column 2: expected ',' or ']', but got ':' (while parsing a flow sequence "
            f"that begins in line 2). Remedy: {MEND}",
        ),
        (
            b"a: b: c",
            f", line 1, column 5: mapping values are not allowed here. Remedy: {MEND}",
        ),
        (
            b"a: {\n\tb: 1",
            ", line 2, column 1: found character '\\t' that cannot start any token (while scanning "
            f"for the next token). Remedy: {MEND}",
        ),
        (
            "# €".encode() + b"\n#" * 9000 + "\nStraße: Stra".encode() + b"\xdfe",
            ", line 9002, column 13: this is not UTF-8. Remedy: save the file as UTF-8",
        ),
        (
            b"a: \x00",
            ", character 4: special characters are not allowed. Remedy: remove that character",
        ),
        (b"", ": holds no settings. Remedy: write lines such as `repeats: 5` into it"),
        (b"- a", ": holds no settings. Remedy: write lines such as `repeats: 5` into it"),
        (
            b"a: 2026-13-01",
            ": ValueError: month must be in 1..12. Remedy: write it as YAML or JSON",
        ),
        (None, ": No such file or directory. Remedy: name a file that is there and can be read"),
    ],
)
def test_a_configuration_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("my.yaml").write_bytes(content)
    with pytest.raises(Exception) as caught:
        load_configfile("my.yaml")
    assert causes.told(caught.value) == f"my.yaml{told}."


def test_stop_signal() -> None:
    assert text.stop_signal("Command 'x' died with <Signals.SIGKILL: 9>.") == "SIGKILL"
    assert text.stop_signal("Command 'x' returned non-zero exit status 137.") == "SIGKILL"
    assert text.stop_signal("Command 'x' returned non-zero exit status 255.") is None
    assert text.stop_signal("Command 'x' returned non-zero exit status 1.") is None


# The handler, fed with records


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def handler(**settings: object) -> LogHandler:
    common: Any = MockOutputSettings()
    common.printshellcmds = common.show_failed_logs = False
    vars(common).update(settings)
    return LogHandler(common, None)


def record(message: str = "", level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, __file__, 1, message, None, None)
    vars(made).update(fields)
    return made


def job_info(jobid: int, **wildcards: str) -> logging.LogRecord:
    fields: dict[str, Any] = {"jobid": jobid, "rule_name": "profile"}
    fields["wildcards"] = {**RUN, **wildcards}
    return record(event=LogEvent.JOB_INFO, **fields)


def finished(jobid: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_FINISHED, job_id=jobid)


def failed_command(reason: str) -> logging.LogRecord:
    message = f"RuleException:\nCalledProcessError in file 'Snakefile', line 1:\nCommand {reason}"
    return record(message, logging.ERROR, event=LogEvent.ERROR)


def job_error(jobid: int, log: Path) -> logging.LogRecord:
    fields: dict[str, Any] = {"jobid": jobid, "rule_name": "profile", "log": [str(log)]}
    return record("Error in rule", logging.ERROR, event=LogEvent.JOB_ERROR, **fields)


def batch_error(
    jobs: dict[int, Path], log: Path | None, rule: str = "profile", **fields: object
) -> list[logging.LogRecord]:
    """What Snakemake logs of a failed batch; `jobs` are logs by job id."""
    infos = [
        {"jobid": jobid, "rule_name": rule, "log": [str(own)], "output": [f"{own}.json"]}
        for jobid, own in jobs.items()
    ]
    what = {"event": LogEvent.GROUP_ERROR, "job_error_info": infos, "aux_logs": [], **fields}
    if log:
        what["aux_logs"] = [str(log)]
    each = [job_error(jobid, own) for jobid, own in jobs.items()]
    return [record("Error in group x", logging.ERROR, **what), *each]


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
    """Whatever the time of day does meanwhile."""
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
        "[1/7] text.png repeat 1 (baseline)  10.0 s   about 30 s left",  # 6 left, 2 at a time
        "[2/7] text.png repeat 3 (baseline)  10.0 s",  # perhaps no further run begins
        "[3/7] text.png repeat 4 (baseline)  10.0 s   about 30 s left",  # 3 left, one per 10 s
    ]


@pytest.mark.parametrize("jump", [0, 86400, -86400])
@pytest.mark.parametrize("before", [True, False])
def test_a_failed_jobs_log_is_shown_though_the_clock_was_set(
    jump: int,
    before: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Whether it was set before or after the log was written."""
    log, began = tmp_path / "run.log", 1e9
    log.write_text("mfuscope: why it failed\n")
    written = began + 60 + (jump if before else 0)
    os.utime(log, (written, written))
    shown = handler()
    for seconds, what in ((0, job_info(1)), (90, job_error(1, log))):
        for room in ("snakemake_logger_plugin_mfuscope", Failures.__module__):
            monkeypatch.setattr(f"{room}.monotonic", lambda s=seconds: 500 + s)
        now = began + seconds + jump * (seconds > 0)
        monkeypatch.setattr(f"{Failures.__module__}.time", lambda now=now: now)
        what.created = began + seconds
        shown.emit(what)
    assert "mfuscope: why it failed" in capsys.readouterr().err


def test_a_killed_job_with_the_log_of_an_earlier_try(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("mfuscope: an old error\n")
    os.utime(log, (0, 0))
    shown = handler()
    shown.emit(job_info(1))
    shown.emit(failed_command("'x' died with <Signals.SIGKILL: 9>."))
    shown.emit(job_error(1, log))
    assert capsys.readouterr().err.splitlines() == [
        "run failed: text.png repeat 1 (baseline)",
        "stopped by signal SIGKILL (out of host memory?)",
        "RuleException:",
        "CalledProcessError in file 'Snakefile', line 1:",
        "Command 'x' died with <Signals.SIGKILL: 9>.",
        f"log: {os.path.relpath(log)}",
    ]


SLURM_LOG = """\
Error in rule profile:
slurmstepd-n1: error: *** STEP 6.0 ON n1 CANCELLED AT 2026-01-01T10:00:00 DUE TO TIME LIMIT ***
srun: error: n1: task 0: Exited with exit code 1
"""
TIME_LIMIT = f"    {SLURM_LOG.splitlines()[1]}"


def in_batch(tmp_path: Path, repeats: int) -> tuple[LogHandler, dict[int, Path]]:
    """A handler that knows of so many runs, and their logs, of which none is written."""
    shown = handler()
    shown.emit(record(event=LogEvent.GROUP_INFO))
    for jobid in range(repeats):
        shown.emit(job_info(jobid, repeat=str(jobid)))
    return shown, {jobid: tmp_path / f"{jobid}.log" for jobid in range(repeats)}


@pytest.mark.parametrize("fails", [False, True])
def test_a_failed_allocation_is_told_once(
    fails: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the run in it that failed by itself; and without those that could not begin."""
    shown, jobs = in_batch(tmp_path, 4)
    Path(f"{jobs[0]}.json").touch()
    jobs[1].write_text("mfuscope: no memory\n" if fails else "USDT: profiler_start\n")
    log = tmp_path / "6.log"
    log.write_text(SLURM_LOG)
    for what in batch_error(jobs, log, external_jobid="6", executor_says="TIMEOUT"):
        shown.emit(what)
    shown.emit(
        record(
            "WorkflowError:\nAt least one job did not complete successfully.",
            logging.ERROR,
            event=LogEvent.ERROR,
        )
    )
    own = [
        "run failed: text.png repeat 1 (baseline)",
        "mfuscope: no memory",
        f"log: {os.path.relpath(jobs[1])}",
    ]
    assert capsys.readouterr().err.splitlines() == [
        *(own if fails else []),
        "allocation failed: Slurm job 6, TIMEOUT (3 of 4 runs not made)",
        TIME_LIMIT,
        f"log: {os.path.relpath(log)}",
        f"mfuscope: 3 jobs failed; finished results are kept. {text.RERUN}",
    ]


def test_runs_that_failed_by_themselves_explain_their_allocation(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 2)
    jobs[1].write_text("mfuscope: no memory\n")
    Path(f"{jobs[0]}.json").touch()
    log = tmp_path / "6.log"
    log.write_text("srun: error: n1: task 0: Exited with exit code 1\n")
    for what in batch_error(jobs, log, external_jobid="6", executor_says="FAILED"):
        shown.emit(what)
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == ["run failed: text.png repeat 1 (baseline)", "mfuscope: no memory"]
    assert len(told) == 3


def test_an_allocation_that_ends_without_a_word_of_slurm(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 1)
    log = tmp_path / "6.log"
    log.write_text("/usr/bin/python: No module named snakemake\n")
    for what in batch_error(jobs, log, external_jobid="6", executor_says="FAILED"):
        shown.emit(what)
    assert capsys.readouterr().err.splitlines() == [
        "allocation failed: Slurm job 6 (1 of 1 run not made)",
        "    /usr/bin/python: No module named snakemake",
        f"log: {os.path.relpath(log)}",
    ]


def test_what_sbatch_says_is_told_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown, jobs = in_batch(tmp_path, 3)
    words = "sbatch: error: invalid partition\nsbatch: error: submission failed"
    first, second = {0: jobs[0], 1: jobs[1]}, {2: jobs[2]}
    for what in (
        *batch_error(first, None, executor_says=words),
        *batch_error(second, None, rule="calibrate", executor_says=words),
    ):
        shown.emit(what)
    alone = job_error(7, tmp_path / "7.log")
    call = "\n    sbatch call:\n        sbatch -p x\n"
    alone.rule_name = "probe_device"
    alone.rule_msg = f"SLURM sbatch failed. The error message was '{words}'.{call}"
    shown.emit(alone)
    assert capsys.readouterr().err.splitlines() == [
        "allocation refused (2 of 2 runs not made)",
        "    sbatch: error: invalid partition",
        "    sbatch: error: submission failed",
        "allocation refused (1 of 1 calibration not made)",
        "probe_device failed",
        f"log: {os.path.relpath(tmp_path / '7.log')}",
    ]


def test_a_batch_that_is_tried_again_may_fail_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown, jobs = in_batch(tmp_path, 1)
    for number in ("6", "7"):
        shown.emit(job_info(0, repeat="0"))
        for what in batch_error(jobs, None, external_jobid=number, executor_says="NODE_FAIL"):
            shown.emit(what)
    assert capsys.readouterr().err.splitlines() == [
        f"allocation failed: Slurm job {number}, NODE_FAIL (1 of 1 run not made)"
        for number in ("6", "7")
    ]


def test_allocation_line_counts_what_matters() -> None:
    batch = ["profile", "profile_again", "read_operators", "read_operators"]
    for missing, counted in (
        (batch[1:3], "(1 of 2 runs not made)"),
        (batch[1:], "(1 of 2 runs not made, 1 not read)"),
        (batch[3:], "(1 of 2 traces not read)"),
        ([], "(0 of 4 jobs not done)"),
    ):
        assert text.allocation_line("6", "", missing, batch).endswith(counted)


def test_show_failed_logs_shows_the_whole_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("one\ntwo\nthree\nfour\nmfuscope: five\n")
    shown = handler(show_failed_logs=True)
    shown.emit(job_info(1))
    shown.emit(job_error(1, log))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:6] == ["one", "two", "three", "four", "mfuscope: five"]


def test_jobs_that_ctrl_c_ends_have_not_failed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(job_info(1))
    shown.emit(job_info(2))
    shown.emit(failed_command("'x' died with <Signals.SIGINT: 2>."))
    shown.emit(job_error(1, Path("no.log")))
    shown.emit(record("Terminating processes on user request, this might take some time."))
    shown.emit(failed_command("'x' returned non-zero exit status 1."))
    shown.emit(job_error(2, Path("no.log")))
    final = "WorkflowError:\nAt least one job did not complete successfully."
    shown.emit(record(final, logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err.splitlines() == [
        "mfuscope: stopping ...",
        f"mfuscope: stopped; finished results are kept. {text.RERUN}",
    ]


def test_a_failed_command_that_no_job_claims_is_shown_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = handler()
    shown.emit(failed_command("'conda' returned non-zero exit status 1."))
    assert capsys.readouterr().err == ""
    shown.emit(failed_command("'tar' returned non-zero exit status 2."))
    assert "Command 'conda' returned non-zero exit status 1." in capsys.readouterr().err
    shown.close()
    assert "Command 'tar' returned non-zero exit status 2." in capsys.readouterr().err


@pytest.mark.parametrize("setting", ["dryrun", "verbose", "printshellcmds", "debug_dag"])
def test_who_asks_for_detail_gets_snakemakes_output(
    capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    shown = handler(**{setting: True})
    shown.emit(record("Building DAG of jobs..."))
    shown.emit(record("WorkflowError:\nno such rule", logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err == "Building DAG of jobs...\nWorkflowError:\nno such rule\n"


@pytest.mark.parametrize("setting", [None, "dryrun", "verbose", "printshellcmds", "debug_dag"])
def test_errors_with_a_meaning_are_told_in_our_words_to_all(
    capsys: pytest.CaptureFixture[str], setting: str | None
) -> None:
    shown = handler(**({setting: True} if setting else {}))
    for words in ("mfuscope: a.\n", "KeyError: 1\n"):
        message = f'Traceback (most recent call last):\n  File "a.smk", line 4, in f\n{words}'
        shown.emit(record(message, logging.ERROR, event=LogEvent.ERROR))
    assert (
        capsys.readouterr().err == "mfuscope: a.\nmfuscope: KeyError: 1 (--verbose shows where)\n"
    )


def test_who_wants_quiet_gets_no_error_but_of_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    error = record("mfuscope: a.", logging.ERROR, event=LogEvent.ERROR)
    for settings in ({}, {"printshellcmds": True}):
        handler(quiet={Quietness.ALL}, **settings).emit(error)
    assert capsys.readouterr().err == ""
    handler(quiet={Quietness.ALL}, dryrun=True).emit(error)  # as Snakemake's own
    assert capsys.readouterr().err == "mfuscope: a.\n"


@pytest.mark.parametrize("settings", [{}, {"dryrun": True}, {"verbose": True}])
@pytest.mark.parametrize("name", ["a\nb.png", " a.png", "a.png ", "it's\n'so' .png "])
def test_warnings_about_names_that_are_no_trouble_are_left_out(
    settings: dict[str, bool], name: str, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    check(name)
    assert caplog.records
    shown = handler(**settings)
    for warning in caplog.records:
        shown.emit(warning)
    shown.emit(record("File path 'a//b' contains double '/'.", logging.WARNING))
    told = capsys.readouterr().err.removeprefix("warning: ")
    assert told == "File path 'a//b' contains double '/'.\n"


def test_warnings_and_the_end_without_known_failures(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(record("the disk is nearly full", logging.WARNING))
    final = "WorkflowError:\nAt least one job did not complete successfully."
    shown.emit(record(final, logging.ERROR, event=LogEvent.ERROR))
    assert capsys.readouterr().err == f"warning: the disk is nearly full\nmfuscope: {final}\n"


@pytest.mark.parametrize("settings", [{}, {"dryrun": True}])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_names_do_not_command_the_terminal(
    settings: dict[str, bool], level: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, returns to the line's start and changes of direction are spelt out."""
    shown = handler(**settings)
    shown.emit(record("mfuscope: a\x1b[2J\x1b]0;title\x07b\u202ec\x9b1m\udcff é\n\tnext", level))
    seen = capsys.readouterr().err
    assert seen.startswith("mfuscope: ")
    assert seen.removeprefix("mfuscope: ").strip() == (
        "a\\x1b[2J\\x1b]0;title\\x07b\\u202ec\\x9b1m\\udcff é\n\tnext"
    )


def test_the_words_of_a_failed_job_do_not_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, log = handler(), tmp_path / "log\x1b[31m"
    shown.emit(job_info(1, image="page\x1b[31m.png"))
    log.write_text("mfuscope: cannot read page\x1b[31m.png\n")
    shown.emit(failed_command("'x' returned non-zero exit status 1."))
    shown.emit(job_error(1, log))
    seen = capsys.readouterr().err
    assert seen.count("\\x1b[31m") == 3
    assert "\x1b" not in seen


def test_an_exception_in_the_handler_is_told_and_survived(
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


# Real runs


@pytest.mark.parametrize("dry", [(), ("-n",)])
def test_settings_that_snakemake_cannot_read_are_told_in_one_line(
    project: Path, dry: tuple[str, ...]
) -> None:
    def told(*arguments: str) -> str:
        status, stdout, stderr = snakemake(project, *dry, *arguments)
        assert status == 1
        return stdout + stderr

    snakefile, own = project / "Snakefile", project / "config.yaml"
    snakefile.write_text('configfile: "config.yaml"\n' + snakefile.read_text())
    own.write_text("images: scans\nrepeats: [\n")
    assert re.fullmatch(r"mfuscope: config.yaml, line 3, column 1: expected the node .*\n", told())
    own.write_text("images: scans\n")
    no_value = "'repeats' gives no value. Remedy: write KEY=VALUE, e.g. repeats=5."
    assert told("--config", "repeats") == f"mfuscope: --config: {no_value}\n"
    empty = "mfuscope: images: folder 'scans' holds no image. Remedy: put one in.\n"
    assert told("--config", "bad=1") == empty


def test_verbose_calls_show_where_an_error_came_from(project: Path) -> None:
    _, _, stderr = snakemake(project, "--verbose", "--config", "repeats")
    assert "in parse_config\n" in stderr
    assert stderr.endswith(" Remedy: write KEY=VALUE, e.g. repeats=5.\n")


def test_a_page_with_a_line_break_in_its_name_stays_on_its_line(project: Path) -> None:
    (project / "two\nlines.png").touch()
    (project / "Snakefile").write_text(
        'rule all:\n    input: "two\\nlines.png"\n    output: "b"\n    shell: "touch b"\n'
    )
    status, stdout, stderr = snakemake(project, "-n")
    assert status == 0
    assert "\n    input: two\\nlines.png\n" in stdout
    assert "line break" not in stdout + stderr
    status, _, stderr = snakemake(project)
    assert (status, stderr) == (0, "mfuscope: no run to measure\n")


def test_run_then_nothing_to_do(project: Path) -> None:
    status, stdout, stderr = snakemake(project)
    assert (status, stdout) == (0, "")
    lines = stderr.splitlines()
    assert [*lines[:3], *lines[5:]] == [
        "mfuscope: 2 runs to measure, 1 calibration, 3 other jobs",
        "probing the device ...",
        "calibrating baseline at 1024+640x2x3 ...",
        "mfuscope: report.html is ready",
    ]
    name = r"(form.jpg|text.png) repeat 1 \(baseline\)   \d\.\d s"
    first = re.fullmatch(rf"\[1/2\] {name}   about \d+ s left", lines[3])
    second = re.fullmatch(rf"\[2/2\] {name}", lines[4])
    assert first is not None
    assert second is not None
    assert {first[1], second[1]} == {"form.jpg", "text.png"}
    log = log_file(project)
    for part in ("Provided cores: 1", "rule profile:", "7 of 7 steps (100%) done", "Elapsed time"):
        assert part in log

    status, _, stderr = snakemake(project)
    assert (status, stderr) == (0, "Nothing to do: every result is up to date.\n")


def test_failing_runs(project: Path) -> None:
    fails = "fails={text.png: own, form.jpg: traceback}"
    status, _, stderr = snakemake(project, "--config", fails)
    assert status == 1
    own = (
        "run failed: text.png repeat 1 (baseline)\n"
        "mfuscope: text.png: 3 GiB of GPU memory are missing. Remedy: lower `resolution`.\n"
        "log: logs/baseline/runs/text.png/1.log\n"
    )
    assert own in stderr
    traceback = stderr.partition("run failed: form.jpg repeat 1 (baseline)\n")[2].splitlines()
    assert traceback[1:4] == [
        '        raise ValueError("3 is not 4")',
        "    ValueError: 3 is not 4",
        "log: logs/baseline/runs/form.jpg/1.log",
    ]
    assert stderr.splitlines()[-1] == (
        "mfuscope: 2 of 6 jobs failed; finished results are kept. "
        "Run the same command again to redo only what is missing."
    )
    for clutter in ("RuleException", "CalledProcessError", "At least one job", "Exiting because"):
        assert clutter not in stderr
    log = log_file(project)
    assert "RuleException" in log
    assert "Error in rule profile" in log


def test_failing_without_a_word_and_without_output(project: Path) -> None:
    fails = "fails={text.png: silent, form.jpg: no output}"
    status, _, stderr = snakemake(project, "--config", fails)
    assert status == 1
    silent = stderr.partition("run failed: text.png repeat 1 (baseline)\n")[2].splitlines()
    assert silent[0] == "RuleException:"
    assert silent[2].endswith("returned non-zero exit status 3.")
    assert silent[3] == "log: logs/baseline/runs/text.png/1.log"
    assert "\nmfuscope: MissingOutputException in rule profile " in stderr
    assert "results/baseline/runs/form.jpg/1.json (missing locally" in stderr
    assert "\nmfuscope: 2 of 6 jobs failed; " in stderr


def test_error_while_reading_the_snakefile_on_a_terminal(project: Path) -> None:
    error = "mfuscope: images: folder 'scans' holds no image. Remedy: put one in."
    assert f"\n\033[31m{error}\033[0m\n" in tty_output(project, "--config", "bad=1")
    seen = tty_output(project, "--config", "bad=1", NO_COLOR="1")
    assert seen.splitlines()[1:] == [error]


def test_other_errors_are_whole(project: Path) -> None:
    status, _, stderr = snakemake(project, "no/such/file")
    assert status == 1
    assert stderr.startswith("mfuscope: MissingRuleException:\nNo rule to produce no/such/file")


@pytest.mark.parametrize("option", ["--printshellcmds", "--touch"])
def test_snakemakes_own_output(project: Path, option: str) -> None:
    status, _, stderr = snakemake(project, option, "results/device.json")
    assert status == 0
    assert "\nlocalrule probe_device:\n    output: results/device.json\n" in stderr
    assert "other job" not in stderr
    assert ("touch results/device.json" in stderr) == (option == "--printshellcmds")


def test_dry_run_equals_snakemakes(project: Path) -> None:
    plain = project / "profiles" / "plain" / "profile.yaml"
    plain.parent.mkdir()
    plain.write_text("cores: 1\nkeep-going: true\nlatency-wait: 0\n")
    target = "results/baseline/runs/text.png/1.json"
    ours = snakemake(project, "-n", target)
    theirs = snakemake(project, "-n", target, "--workflow-profile", str(plain.parent))

    def blocks(stdout: str) -> list[str]:  # jobs of one level come in any order
        timeless = re.sub(r"^\[.*\]$", "", HOST_BLOCK.sub("", stdout), flags=re.M)
        return sorted(block.strip() for block in timeless.split("\n\n"))

    assert "rule profile:" in ours[1]
    assert blocks(ours[1]) == blocks(theirs[1])


def test_quiet(project: Path) -> None:
    fails = ("--config", "fails={text.png: own}")
    status, stdout, stderr = snakemake(project, "--quiet", *fails)
    assert (status, stdout) == (1, "")
    assert "[1/2]" not in stderr
    assert stderr.startswith("run failed: text.png repeat 1 (baseline)\nmfuscope: text.png: ")
    assert stderr.splitlines()[3].startswith("mfuscope: 1 of 6 jobs failed; ")
    assert snakemake(project, "--quiet", "all", *fails) == (1, "", "")


def test_answers_other_than_runs(project: Path) -> None:
    assert snakemake(project, "--summary")[1].startswith("output_file\t")
    assert "Lints for rule profile" in snakemake(project, "--lint")[2]
    assert snakemake(project, "--unlock")[2] == "Unlocked working directory.\n"


def test_traces_left_at_the_end_are_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO, stats={"profile": 0, "read_operators": 5}))
    for jobid in range(5):
        job = job_info(jobid, repeat=str(jobid))
        job.rule_name = "read_operators"
        shown.emit(job)
    told = [line for line in capsys.readouterr().err.splitlines() if "reading" in line]
    assert told == ["reading 5 traces ..."]
    shown = handler()
    shown.emit(record(event=LogEvent.RUN_INFO, stats={"profile": 1, "read_operators": 1}))
    job = job_info(1)
    job.rule_name = "read_operators"
    shown.emit(job)
    assert "reading" not in capsys.readouterr().err
