"""What Slurm's executor would hang at is reported before it submits, by stand-ins of its commands.

Slurm itself is not needed, its executor is (`make test-slurm`).
"""

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from checkouts import FIRST, SETTINGS, make_checkout

from mfuscope.core.errors import UserError, UserErrors
from mfuscope.workflow.submission import check_submission

pytestmark = pytest.mark.slurm

FAILS = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
# A site where everything answers.
COMMANDS = {
    "sacct": "exit 0",
    "sacctmgr": "echo astro; echo physics",
    "sbatch": "exit 1",
    "scontrol": "echo 'MinJobAge = 300 sec'",
    "sinfo": "echo gpu; echo cpu",
    "squeue": "exit 0",
    "sshare": FAILS,
}


def pretend(folder: Path, **commands: str) -> str:
    """Put commands into a folder; returns a PATH on which they come first."""
    folder.mkdir()
    for name, body in (COMMANDS | commands).items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


class Login:
    """A login node whose commands pretend."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def check(
        self,
        asked: Mapping[str, Any] | None = None,
        status: str = "sacct",
        first_check_s: int = 40,
        **commands: str,
    ) -> list[UserError]:
        """What is wrong where these commands do not do as `COMMANDS` says."""
        self.monkeypatch.setenv("PATH", pretend(self.folder / "bin", **commands))
        try:
            check_submission([asked or {}, asked or {}], status, first_check_s)
        except UserErrors as several:
            return list(several.errors)
        return []


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Login:
    return Login(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"gpu": 1, "gpu_model": "a100_80g", "slurm_account": "Astro,physics", "mem_mb": 4000},
        {"gres": "gpu:h100:1", "slurm_partition": "gpu", "slurm_extra": "--reservation=course"},
    ],
)
def test_what_the_executor_takes_is_not_refused(asked: dict[str, Any], login: Login) -> None:
    assert login.check(asked) == []


def test_an_account_that_slurm_does_not_know_is_reported(login: Login) -> None:
    (error,) = login.check({"slurm_account": "astro,biology"})
    assert error.problem.startswith("slurm_account: ")
    assert "biology" in error.problem
    assert "sacctmgr show user" in error.remedy
    assert "profiles/slurm/profile.yaml" in error.remedy


def test_an_account_where_slurm_keeps_none(login: Login) -> None:
    (error,) = login.check({"slurm_account": "astro"}, sacctmgr=FAILS)
    assert error.problem.startswith("slurm_account: ")
    assert "leave it out" in error.remedy


def test_a_partition_that_slurm_does_not_know_is_reported(login: Login) -> None:
    (error,) = login.check({"slurm_partition": "cpu,gpus"})
    assert error.problem == "slurm_partition: there is no partition 'gpus'"
    assert error.remedy == "name one of cpu, gpu in profiles/slurm/profile.yaml"


def test_where_no_partition_is_named_slurm_is_not_asked(login: Login) -> None:
    assert login.check(sinfo=FAILS) == []


def test_without_accounting_squeue_has_to_be_asked(login: Login) -> None:
    (error,) = login.check(sacct=FAILS)
    assert "sacct does not answer (Slurm accounting storage is disabled)" in error.problem
    assert error.remedy == ("write `slurm-status-command: squeue` into profiles/slurm/profile.yaml")


def test_squeue_needs_no_accounting(login: Login) -> None:
    assert login.check(status="squeue", sacct=FAILS) == []


@pytest.mark.parametrize(
    ("age", "remedy"),
    [("60 sec", "`slurm-init-seconds-before-status-checks: 20`"), ("0 sec", "raise MinJobAge")],
)
def test_a_squeue_that_forgets_is_not_asked(age: str, remedy: str, login: Login) -> None:
    """The executor falls back to sacct then, without a word."""
    scontrol = f"echo 'MinJobAge = {age}'"
    (error,) = login.check(status="squeue", sacct=FAILS, scontrol=scontrol)
    assert "sacct does not answer" in error.problem
    assert "MinJobAge" in error.problem
    assert remedy in error.remedy


def test_a_squeue_that_forgets_is_asked_sooner(login: Login) -> None:
    scontrol = "echo 'MinJobAge = 60 sec'"
    assert login.check(status="squeue", first_check_s=20, sacct=FAILS, scontrol=scontrol) == []


def test_a_call_ends_before_it_submits(tmp_path: Path) -> None:
    """All at once, in our words; and what was measured before is still there."""
    checkout = make_checkout(tmp_path / "checkout")
    checkout.configure(**SETTINGS)
    checkout.add_page(FIRST)
    outdated = checkout.root / "logs" / "baseline" / "runs" / FIRST / "0.log"
    outdated.parent.mkdir(parents=True)
    outdated.touch()
    submitted = tmp_path / "submitted"
    sbatch = f"touch {shlex.quote(str(submitted))}; exit 1"
    path = pretend(tmp_path / "bin", sbatch=sbatch, sacct=FAILS, sacctmgr=FAILS)
    resources = ("slurm_partition=nowhere", "slurm_account=astro", "runtime=10", "mem_mb=2000")
    status, said = checkout.call(
        *("--workflow-profile", "profiles/slurm", "--config", "device=cpu"),
        *("--default-resources", *resources),
        PATH=path,
    )
    assert status != 0
    reported = re.findall(r"^mfuscope: (\w+): .* Remedy: .*\.$", said, re.MULTILINE)
    assert reported == ["slurm_account", "slurm_partition", "slurm"]
    assert "Traceback" not in said
    assert not submitted.exists()
    assert outdated.exists()
