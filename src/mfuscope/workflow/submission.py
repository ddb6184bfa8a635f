"""What Slurm's executor would fail at, reported before it submits anything.

Its version 2.8.0 meets an exception while it submits a batch with another one, and then waits for
ever; it also waits for ever where the command that tells of the jobs' states does not answer.
"""

import logging
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from mfuscope.core.errors import Findings, UserError

PROFILE: Final = "profiles/slurm/profile.yaml"
_ANSWER_S: Final = 60  # as long as the executor itself waits for an answer
_YOUR_ACCOUNTS: Final = (
    "`sacctmgr show user $USER withassoc` lists yours; where Slurm keeps none, leave it out"
)

# The executor says the same again when it submits.
_QUIET: Final = logging.Logger(__name__)
_QUIET.addHandler(logging.NullHandler())


def check_submission(
    resources: Iterable[Mapping[str, Any]], status_command: str | None, first_check_s: int
) -> None:
    """Check that account and partition exist and that the status command answers.

    Args:
        resources: of the jobs to submit.
        status_command: the executor's setting, ``sacct`` or ``squeue``.
        first_check_s: its seconds before it looks at the jobs for the first time.

    Raises:
        UserErrors: everything that stands in the way.
    """
    asked = list(resources)
    findings = Findings()
    account = _reported("slurm_account", f"correct it in {PROFILE}: {_YOUR_ACCOUNTS}")
    with findings.collect(), account:
        _check_accounts(asked)
    with findings.collect():
        _check_partitions(asked)
    with findings.collect():
        _check_status_command(status_command, first_check_s)
    findings.raise_any()


@contextmanager
def _reported(name: str, remedy: str) -> Iterator[None]:
    """Report what the executor's own checks raise as a user error about a resource."""
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        yield
    except WorkflowError as error:
        raise UserError(f"{name}: {str(error).rstrip(' .:')}", remedy) from error


def _check_accounts(asked: Iterable[Mapping[str, Any]]) -> None:
    """The executor's own check of every account that is named."""
    from snakemake_executor_plugin_slurm.accounts import validate_account

    given = " ".join(str(resources.get("slurm_account") or "") for resources in asked)
    for account in sorted(set(filter(None, re.split(r"[,\s]+", given)))):
        try:
            validate_account(account, _QUIET)
        except FileNotFoundError as error:
            raise UserError(
                f"slurm_account: {error.filename}, which knows the accounts, is not installed",
                "submit where Slurm's commands work",
            ) from error


def _check_partitions(asked: Iterable[Mapping[str, Any]]) -> None:
    """Check that every partition that is named is one of Slurm's."""
    named = {str(r["slurm_partition"]) for r in asked if r.get("slurm_partition")}
    if not named:
        return
    known = set(_answer("sinfo --noheader --format %R", "slurm_partition").split())
    if missing := sorted({one for names in named for one in names.split(",")} - known):
        raise UserError(
            f"slurm_partition: there is no partition {missing[0]!r}",
            f"name one of {', '.join(sorted(known))} in {PROFILE}",
        )


def _check_status_command(setting: str | None, first_check_s: int) -> None:
    """Ask what the executor will ask, of no job."""
    from snakemake_executor_plugin_slurm.job_status_query import (
        get_min_job_age,
        is_query_tool_available,
        query_job_status_sacct,
        query_job_status_squeue,
    )

    # As `Executor.check_active_jobs` decides: squeue forgets jobs after MinJobAge.
    age = get_min_job_age()
    too_young = age is None or age < 3 * first_check_s
    if not is_query_tool_available("sacct") or (setting == "squeue" and not too_young):
        _answer(query_job_status_squeue("mfuscope"), "slurm")
        return
    try:
        _answer(query_job_status_sacct("mfuscope"), "slurm")
    except UserError as error:
        steps = []
        if setting != "squeue":
            steps.append(f"write `slurm-status-command: squeue` into {PROFILE}")
        if too_young and age is not None and age >= 3:
            steps.append(f"add `slurm-init-seconds-before-status-checks: {age // 3}` to {PROFILE}")
        elif too_young:
            steps.append("have Slurm's administrators raise MinJobAge, or set up accounting")
        problem = f"{error.problem}, and reports no job's end"
        if setting == "squeue":
            problem += f"; squeue is not asked, as it forgets jobs after {age} s (MinJobAge)"
        raise UserError(problem, ", and ".join(steps)) from error


def _answer(command: str, name: str) -> str:
    """What a command of Slurm's prints.

    Raises:
        UserError: it does not answer.
    """
    tool = shlex.split(command)[0]
    remedy = "submit where Slurm's commands work"
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=_ANSWER_S
        )
    except subprocess.TimeoutExpired:
        problem = f"{name}: {tool} does not answer within {_ANSWER_S} s"
        raise UserError(problem, remedy) from None
    except OSError as error:
        raise UserError(f"{name}: {tool} cannot be started ({error.strerror})", remedy) from error
    if done.returncode:
        printed = done.stderr.strip() or f"exit status {done.returncode}"
        raise UserError(f"{name}: {tool} does not answer ({printed.splitlines()[0]})", remedy)
    return done.stdout
