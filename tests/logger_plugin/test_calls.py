"""What real calls of Snakemake show in a terminal."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SNAKEFILE = """
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from mfuscope.core.runs import RunKey
from mfuscope.workflow.outlook import Cause, Outlook, Reason

PAGES = ("form.jpg", "text.png")
KEYS = [RunKey("baseline", page, 0) for page in PAGES]
logger.info("", extra={"outlook": Outlook(
    pages=2,
    repeats=1,
    variants=("baseline",),
    results=Path("results"),
    due={
        key: (Reason(Cause.CHANGED, key.image),)
        for key in KEYS
        if not Path(f"results/baseline/runs/{key.image}/0.json").exists()
    },
)})

if config.get("bad"):
    raise WorkflowError("mfuscope: images: folder 'scans' holds no image. Remedy: put one in.")

rule all:
    input: "results/report.html"

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
    input: expand("results/baseline/runs/{image}/0.json", image=PAGES)
    output: "results/report.html"
    params: text=config.get("text", "")
    log: "logs/render_report.log"
    shell: "touch {output}"

onsuccess:
    logger.info("mfuscope: report: results/report.html")
"""


# What the plugin reads of a run's record, with a field that it does not read.
RECORD = json.dumps(
    {
        "passes": [
            {
                "prefill_ms": 83.4,
                "decode_ms": 32.8,
                "step_ms": [16.4] * 2,
                "host": {"started_at": 1},
            }
        ],
        "settings": {"batch_size": 1},
        "session": {"call": "a", "process": "b"},
        "device": {"kind": "cpu"},
        "variant": "baseline",
    }
)
SCRIPT = (
    f"RECORD = {RECORD!r}\n"
    + """
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
    Path(snakemake.output[0]).write_text(RECORD)
"""
)


HOST_BLOCK = re.compile(r"\nSNAKEMAKE\n=+\n(  .*\n)+")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "profile.py").write_text(SCRIPT)
    profile = tmp_path / "profiles" / "default" / "profile.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("cores: 1\nkeep-going: true\nlatency-wait: 0\nlogger: [mfuscope]\n")
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
    return {
        **kept,
        "XDG_CACHE_HOME": str(project / "cache"),
        "TERM": "xterm",
        "PYTHONHASHSEED": "0",
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


def tty_output(project: Path, *arguments: str) -> str:
    """What Snakemake writes to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=project,
        env=environment(project),
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


PAGES = ("form.jpg", "text.png")
BOTH = "pages form.jpg, text.png changed"
BESIDES = "1 calibration, 3 other jobs"
IDLE = "Nothing to do: every result is up to date; report: results/report.html\n"


def log_file(project: Path) -> str:
    (path,) = (project / ".snakemake" / "log").glob("*.log")
    return path.read_text()


def test_unreadable_settings_are_reported_in_one_line(project: Path) -> None:
    def output(*arguments: str) -> str:
        status, stdout, stderr = snakemake(project, *arguments)
        assert status == 1
        return stdout + stderr

    snakefile, own = project / "Snakefile", project / "config.yaml"
    snakefile.write_text('configfile: "config.yaml"\n' + snakefile.read_text())
    own.write_text("images: scans\nrepeats: [\n")
    assert re.fullmatch(
        r"mfuscope: config.yaml, line 3, column 1: expected the node .*\n", output()
    )
    own.write_text("images: scans\n")
    no_value = "'repeats' gives no value. Remedy: write KEY=VALUE, e.g. repeats=5."
    for dry in ((), ("-n",)):
        assert output(*dry, "--config", "repeats") == f"mfuscope: --config: {no_value}\n"
    empty = "mfuscope: images: folder 'scans' holds no image. Remedy: put one in.\n"
    assert output("--config", "bad=1") == empty


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
        f"mfuscope: 2 runs to measure (2 pages × 1 repeat): {BOTH}; {BESIDES}",
        "probing the device ...",
        "calibrating at 1024+640x2x3 ...",
        "mfuscope: report: results/report.html",
    ]
    said = r"(form.jpg|text.png): prefill 83 ms, 61 tokens/s"
    first = re.fullmatch(rf"\[1/2\] {said}, \d+ s left", lines[3])
    second = re.fullmatch(rf"\[2/2\] {said}", lines[4])
    assert first is not None
    assert second is not None
    assert {first[1], second[1]} == set(PAGES)
    assert "\033" not in stderr, "no escape sequence in a pipe"
    log = log_file(project)
    for part in ("Provided cores: 1", "rule profile:", "7 of 7 steps (100%) done", "Elapsed time"):
        assert part in log

    status, _, stderr = snakemake(project)
    assert (status, stderr) == (0, IDLE)
    status, stdout, _ = snakemake(project, "-n", "--config", "text=new")
    assert stdout.splitlines()[-1] == (
        "mfuscope: no run to measure; 1 other job: settings or code changed"
    )
    assert "rerun-triggers" not in stdout
    assert "provenance triggered" not in stdout


def test_failing_runs(project: Path) -> None:
    fails = "fails={text.png: own, form.jpg: traceback}"
    status, _, stderr = snakemake(project, "--config", fails)
    assert status == 1
    own = (
        "run failed: text.png\n"
        "mfuscope: text.png: 3 GiB of GPU memory are missing. Remedy: lower `resolution`.\n"
        "log: logs/baseline/runs/text.png/0.log\n"
    )
    assert own in stderr
    traceback = stderr.partition("run failed: form.jpg\n")[2].splitlines()
    assert traceback[1:4] == [
        '        raise ValueError("3 is not 4")',
        "    ValueError: 3 is not 4",
        "log: logs/baseline/runs/form.jpg/0.log",
    ]
    assert stderr.splitlines()[-1] == (
        "mfuscope: 2 of 6 jobs failed; finished results are kept. "
        "Run the same command again to make only what is missing."
    )
    for clutter in ("RuleException", "CalledProcessError", "At least one job", "Exiting because"):
        assert clutter not in stderr
    log = log_file(project)
    assert "RuleException" in log
    assert "Error in rule profile" in log


def test_failing_without_a_message_and_without_output(project: Path) -> None:
    fails = "fails={text.png: silent, form.jpg: no output}"
    status, _, stderr = snakemake(project, "--config", fails)
    assert status == 1
    silent = stderr.partition("run failed: text.png\n")[2].splitlines()
    assert silent[0] == "RuleException:"
    assert silent[2].endswith("returned non-zero exit status 3.")
    assert silent[3] == "log: logs/baseline/runs/text.png/0.log"
    assert "\nmfuscope: MissingOutputException in rule profile " in stderr
    assert "results/baseline/runs/form.jpg/0.json (missing locally" in stderr
    assert "\nmfuscope: 2 of 6 jobs failed; " in stderr


def test_error_while_reading_the_snakefile_on_a_terminal(project: Path) -> None:
    error = "mfuscope: images: folder 'scans' holds no image. Remedy: put one in."
    assert f"\n\033[31m{error}\033[0m\n" in tty_output(project, "--config", "bad=1")


def test_other_errors_are_shown_in_full(project: Path) -> None:
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
    target = "results/baseline/runs/text.png/0.json"
    ours = snakemake(project, "-n", target)
    theirs = snakemake(project, "-n", target, "--workflow-profile", str(plain.parent))

    def blocks(stdout: str) -> list[str]:  # jobs of one level come in any order
        timeless = re.sub(r"^\[.*\]$", "", HOST_BLOCK.sub("", stdout), flags=re.M)
        return sorted(block.strip() for block in timeless.split("\n\n"))

    assert "rule profile:" in ours[1]
    shown, _, last = ours[1].removesuffix("\n").rpartition("\n")
    assert blocks(shown) == blocks(theirs[1])
    why = "1 run to measure: page text.png changed; 1 calibration, 2 other jobs"
    assert last == f"mfuscope: {why}"


def test_a_quiet_dry_run_is_one_line(project: Path) -> None:
    line = f"mfuscope: 2 runs to measure (2 pages × 1 repeat): {BOTH}; {BESIDES}\n"
    assert snakemake(project, "-n", "-q") == (0, line, "")


def test_quiet(project: Path) -> None:
    fails = ("--config", "fails={text.png: own}")
    status, stdout, stderr = snakemake(project, "--quiet", *fails)
    assert (status, stdout) == (1, "")
    assert "[1/2]" not in stderr
    assert stderr.startswith("run failed: text.png\nmfuscope: text.png: ")
    assert stderr.splitlines()[3].startswith("mfuscope: 1 of 6 jobs failed; ")
    assert snakemake(project, "--quiet", "all", *fails) == (1, "", "")


def test_answers_other_than_runs(project: Path) -> None:
    assert snakemake(project, "--summary")[1].startswith("output_file\t")
    assert "Lints for rule profile" in snakemake(project, "--lint")[2]
    assert snakemake(project, "--unlock")[2] == "Unlocked working directory.\n"
