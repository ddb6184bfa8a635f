"""A job's log and its end, seen from outside: jobs replace the process's own file descriptors."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from calls import encoded_call
from mounts import read_only, small_disk
from processes import wait_for

import mfuscope
from mfuscope.workflow.call import VARIABLE

SOURCE = Path(mfuscope.__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    code: int
    terminal: str
    log: str
    went_on: bool


def job(folder: Path, body: str, before: str = "") -> Ended:
    """Run `body` (one line) in a job; `before` runs in the same process, ahead of it."""
    log, after = folder / "logs" / "job.log", folder / "after"
    script = f"""
import os, sys
from pathlib import Path
from mfuscope.core.errors import MfuscopeError, UserError
from mfuscope.workflow.joblog import job_log
{before}
with job_log({str(log)!r}):
    {body}
Path({str(after)!r}).touch()
"""
    # Buffered, as users' shells have it.
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
        env=clean | {"PYTHONPATH": str(SOURCE), VARIABLE: encoded_call(os.getpid())},
    )
    written = log.read_text() if log.exists() else ""
    return Ended(done.returncode, done.stdout, written, after.exists())


def test_an_error_of_the_user_is_one_line(tmp_path: Path) -> None:
    ended = job(tmp_path, "raise UserError('images: no page', 'add one')")
    assert ended.code == 1
    assert ended.log == "mfuscope: images: no page. Remedy: add one.\n"
    assert ended.terminal == ""
    assert not ended.went_on


@pytest.mark.parametrize(
    ("error", "last"),
    [
        ("ValueError('a shape:\\n  3 x 4')", "mfuscope: ValueError: a shape: 3 x 4"),
        ("FileNotFoundError(2, 'Gone', 'x')", "mfuscope: FileNotFoundError: [Errno 2] Gone: 'x'"),
    ],
)
def test_another_error_has_its_traceback_above_the_last_line(
    error: str, last: str, tmp_path: Path
) -> None:
    ended = job(tmp_path, f"raise {error}")
    assert ended.code == 1
    lines = ended.log.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == last
    assert sum(line.startswith("mfuscope: ") for line in lines) == 1
    assert ended.terminal == ""
    assert not ended.went_on


def test_whatever_is_printed_lands_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.log").write_text("of the attempt before\n")
    native = "os.write(1, b'native out\\n'); os.write(2, b'native err\\n')"
    child = "os.system('echo child out; echo child err >&2')"
    python = "print('python out'); print('python err', file=sys.stderr)"
    ended = job(tmp_path, f"{native}; {child}; {python}")
    assert ended.code == 0
    assert ended.went_on
    assert ended.terminal == ""
    assert sorted(ended.log.splitlines()) == sorted(
        f"{who} {where}" for who in ("native", "child", "python") for where in ("out", "err")
    )


def test_what_was_printed_before_is_no_part_of_the_log(tmp_path: Path) -> None:
    ended = job(tmp_path, "print('inside')", before="print('before')")
    assert ended.terminal == "before\n"
    assert ended.log == "inside\n"


def test_the_last_line_stands_alone_after_a_progress_bar(tmp_path: Path) -> None:
    bar = "import ctypes; sys.stderr.write('50%|###'); ctypes.CDLL(None).printf(b' native')"
    ended = job(tmp_path, f"{bar}; raise UserError('a problem', 'repair it')")
    assert ended.log.splitlines()[-1] == "mfuscope: a problem. Remedy: repair it."
    assert "50%|###" in ended.log
    assert " native" in ended.log


def test_an_error_of_several_lines_is_ours_in_every_line(tmp_path: Path) -> None:
    ended = job(tmp_path, "raise MfuscopeError('these differ:\\n  a\\n  b')")
    reported = ["mfuscope: these differ:", "mfuscope:   a", "mfuscope:   b"]
    assert ended.log.splitlines() == reported


def test_where_the_log_has_no_room_the_terminal_has(tmp_path: Path) -> None:
    with small_disk(tmp_path / "logs", "4k"):
        (tmp_path / "logs" / "filler").write_bytes(bytes(4096))
        ended = job(tmp_path, "raise UserError('a problem', 'repair it')")
        other = job(tmp_path, "raise ValueError('a value')")
    assert (ended.code, other.code) == (1, 1)
    assert ended.terminal == "mfuscope: a problem. Remedy: repair it.\n"
    assert other.terminal == "mfuscope: ValueError: a value\n"


def test_a_log_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with read_only(tmp_path / "logs"):
        ended = job(tmp_path, "pass")
    assert ended.code == 1
    assert ended.terminal.startswith("mfuscope: the log ")
    assert ended.terminal.endswith("cannot be written (Read-only file system)\n")
    assert not ended.went_on


def test_a_job_ends_with_its_call_however_that_ends(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = (
        "import time\nfrom pathlib import Path\n"
        "from mfuscope.workflow.joblog import job_log\n"
        f"with job_log({str(tmp_path / 'job.log')!r}):\n"
        f"    Path({str(begun)!r}).touch()\n    time.sleep(600)\n"
    )
    owner = subprocess.Popen(["sleep", "600"])
    environment = {"PYTHONPATH": str(SOURCE), VARIABLE: encoded_call(owner.pid)}
    job = subprocess.Popen([sys.executable, "-c", code], env=os.environ | environment)
    try:
        wait_for(begun.exists, "the job", 60)
        assert job.poll() is None
    finally:
        owner.kill()
        owner.wait()
    assert job.wait(10) != 0


def test_a_job_of_no_call_says_so(tmp_path: Path) -> None:
    code = f"from mfuscope.workflow.joblog import job_log\nwith job_log({str(tmp_path / 'l')!r}): 0"
    clean = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment = clean | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 1
    assert "started by no call of the workflow" in (tmp_path / "l").read_text()
