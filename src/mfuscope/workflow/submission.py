"""What Slurm's executor would fail at, told before it submits anything.

Its version 2.8.0 meets an exception while it submits a batch with another one, and then waits for
ever; so it does where the command that should tell of the jobs' states does not answer.
"""

import logging
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mfuscope.core.errors import Findings, UserError

PROFILE = "profiles/slurm/profile.yaml"
_ANSWER_S = 60  # as long as the executor itself waits for an answer
# Linux takes 131,072 bytes in one argument; a batch's has more in it than its runs.
_MOST_BYTES = 100_000

# The executor says the same again when it submits.
_QUIET = logging.Logger(__name__)
_QUIET.addHandler(logging.NullHandler())


class _Resources(dict[str, Any]):
    """A job's resources, which the executor reads as items and as attributes."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class _Job:
    """What the executor's functions look at."""

    resources: _Resources
    threads: int = 1

    def with_only(self, name: str) -> "_Job":
        return _Job(_Resources({key: self.resources[key] for key in self.resources if key == name}))


def check_submission(
    asked: Iterable[Mapping[str, Any]],
    status_command: str | None,
    first_check_s: int,
    partitions_in_file: bool = False,
    runs_in_batch: int = 1,
    bytes_of_run: int = 0,
) -> None:
    """See that Slurm's executor can submit jobs, and that it will learn of their end.

    Args:
        asked: resources of the jobs.
        status_command: the executor's setting, ``sacct`` or ``squeue``.
        first_check_s: its seconds before it looks at the jobs for the first time.
        partitions_in_file: the executor picks partitions by a file.
        runs_in_batch: how many share an allocation.
        bytes_of_run: what the longest of them takes in the command line of its batch.

    Raises:
        UserErrors: everything that stands against it.
    """
    findings = Findings()
    jobs = [_Job(_Resources(resources)) for resources in asked]
    for job in jobs:
        for name, check, remedy in _CHECKS:
            with findings.collect(), _told(name, f"{remedy} in {PROFILE}"):
                check(job)
        with findings.collect():
            _check_one_way(job)
    with findings.collect(), _told("slurm_account", f"correct it in {PROFILE}: {_YOUR_ACCOUNTS}"):
        _check_accounts(jobs)
    if not partitions_in_file:
        with findings.collect(), _told("slurm_partition", f"name the partition in {PROFILE}"):
            _check_partition(jobs)
    with findings.collect():
        _check_command_line(runs_in_batch, bytes_of_run)
    with findings.collect():
        _check_status_command(status_command, first_check_s)
    findings.raise_any()


_YOUR_ACCOUNTS = (
    "`sacctmgr show user $USER withassoc` lists yours; where Slurm keeps none, leave it out"
)


@contextmanager
def _told(name: str, remedy: str) -> Iterator[None]:
    """Tell what the executor raises in the body about a resource as a user's error."""
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        yield
    except (WorkflowError, OSError, TypeError) as error:
        raise UserError(f"{name}: {str(error).rstrip(' .:')}", remedy) from error


def _check_gpu_model(job: _Job) -> None:
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    model = job.resources.get("gpu_model", "")
    if not isinstance(model, str):
        remedy = f"write it in quotes, `gpu_model='{model}'`, in {PROFILE}"
        raise UserError(f"gpu_model: {model!r} is taken for a number", remedy)
    set_gres_string(job.with_only("gpu_model"))


def _check_gres(job: _Job) -> None:
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    set_gres_string(job.with_only("gres"))


def _check_one_way(job: _Job) -> None:
    if job.resources.get("gpu_model") and "gpu" in str(job.resources.get("gres", "")):
        raise UserError(
            "gpu_model: it asks for a GPU, and so does `gres`",
            f"leave `gpu_model` out and write `gres=gpu:MODEL:1` in {PROFILE}",
        )


def _check_extra(job: _Job) -> None:
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

    validate_slurm_extra(job)


def _check_the_rest(job: _Job) -> None:
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command

    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    get_submit_command(job, dict.fromkeys(names, ""))


_CHECKS: tuple[tuple[str, Callable[[_Job], None], str], ...] = (
    (
        "gpu_model",
        _check_gpu_model,
        "the executor takes letters, digits, _ and . in it: where your site's name has others, "
        "leave it out and set `constraint` to a feature of the nodes (sinfo -o '%N %G %f')",
    ),
    ("gres", _check_gres, "write `gres=gpu:1` or `gres=gpu:MODEL:1`"),
    ("slurm_extra", _check_extra, "leave the option out, and set the resource of its own"),
    ("resources", _check_the_rest, "correct them"),
)


def _check_accounts(jobs: Iterable[_Job]) -> None:
    """The executor's own checks, once for every account."""
    from snakemake_executor_plugin_slurm.accounts import get_account, validate_account

    given = {str(job.resources.get("slurm_account") or "") for job in jobs}
    for accounts in sorted(given):
        names: list[str | None] = [name for name in re.split(r"[,\s]+", accounts) if name]
        try:
            for name in names or [get_account(_QUIET)]:
                if name:
                    validate_account(name, _QUIET)
        except FileNotFoundError as error:  # it asks sacct for one, and sacctmgr of one
            problem = f"slurm_account: the executor asks {error.filename}, which is not installed"
            remedy = f"name `slurm_account` in {PROFILE}" if not names else "have it installed"
            raise UserError(problem, remedy) from error


def _check_partition(jobs: Iterable[_Job]) -> None:
    """That there is a default partition to ask for, where none is named."""
    from snakemake_executor_plugin_slurm.partitions import get_default_partition

    if unnamed := [job for job in jobs if not job.resources.get("slurm_partition")]:
        get_default_partition(unnamed[0], _QUIET)


def _check_command_line(runs: int, bytes_of_run: int) -> None:
    if runs * bytes_of_run > _MOST_BYTES:
        raise UserError(
            f"group-components: `measure={runs}` runs do not fit into one command line",
            f"write `measure={max(1, _MOST_BYTES // bytes_of_run)}` or less in {PROFILE}",
        )


def _check_status_command(setting: str | None, first_check_s: int) -> None:
    """Ask what the executor will ask, of no job.

    Raises:
        UserError: there is no answer.
    """
    from snakemake_executor_plugin_slurm.job_status_query import (
        get_min_job_age,
        is_query_tool_available,
        query_job_status_sacct,
        query_job_status_squeue,
    )

    # Which one it asks, is decided as `Executor.check_active_jobs` does.
    has_sacct = is_query_tool_available("sacct")
    age = get_min_job_age()
    squeue_forgets = age is None or age < 3 * first_check_s
    if not has_sacct or (setting == "squeue" and not squeue_forgets):
        if no_answer := _no_answer(query_job_status_squeue("mfuscope")):
            raise UserError(f"slurm: squeue {no_answer}", "submit where Slurm's commands work")
        return
    no_answer = _no_answer(query_job_status_sacct("mfuscope"))
    if not no_answer:
        return
    problem = f"slurm: sacct {no_answer}, and tells of no job's end"
    if setting == "squeue":
        problem += f"; squeue is not asked, as it forgets jobs after {age} s (MinJobAge)"
    steps = []
    if setting != "squeue":
        steps.append(f"have squeue asked: `slurm-status-command: squeue` in {PROFILE}")
    if squeue_forgets and age is not None and age >= 3:
        steps.append(f"add `slurm-init-seconds-before-status-checks: {age // 3}` to {PROFILE}")
    elif squeue_forgets:
        steps.append("have Slurm's administrators raise MinJobAge, or set up accounting")
    raise UserError(problem, ", and ".join(steps))


def _no_answer(command: str) -> str:
    """Why a command did not answer, in words; empty if it did."""
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=_ANSWER_S
        )
    except subprocess.TimeoutExpired:
        return f"does not answer within {_ANSWER_S} s"
    except OSError as error:
        return f"cannot be started ({error.strerror})"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip() or f"exit status {done.returncode}"
    return f"does not answer ({said.splitlines()[0]})"
