"""The one file that reaches into Snakemake beyond its documented interfaces.

`INTERNALS` lists each attribute that is used and why; tests/workflow/test_internals.py checks each
of them in the installed Snakemake. Everything else asks `Engine`.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: The version of Snakemake that all of this was checked with.
CHECKED_WITH: Final = "9.27.1"

#: Attribute of ``snakemake.workflow.Workflow`` -> why the workflow cannot do without it.
INTERNALS: Final = {
    "is_main_process": "jobs on other machines parse the Snakefile again, and must not check "
    "pages and settings once more",
    "config_settings.config": "what --config set wins over environment variables, which win over "
    "files; the documented `config` has files and --config merged",
    "configfiles": "configuration files are checked for what YAML parsers pass over in silence, "
    "such as a key that is given twice",
    "local_exec": "the device of this machine is checked only where this machine measures",
    "dag.needrun_jobs": "the device is checked, and outdated records are removed on clusters, for "
    "what this call measures",
    "executor_settings.status_command": "which command Slurm's executor asks for the state of "
    "jobs: it must answer before a submission; other executors have no such setting",
    "executor_settings.init_seconds_before_status_checks": "when it first asks",
    "group_settings.group_components": "Slurm's executor hands no --group-components to the "
    "process that runs a batch on its node",
    "execution_settings.keep_going": "nor --keep-going",
    "register_resource": "nor --resources: the runs of a batch take turns by the resource `turn`",
}

# The groups of jobs that rules name.
_GROUPS: Final = ("measure", "read", "calibrate", "count")


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job that this call runs."""

    rule: str
    outputs: tuple[Path, ...]
    logs: tuple[Path, ...]
    resources: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """Snakemake's ``workflow`` object, as far as mfuscope asks it anything undocumented."""

    workflow: Any

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the call itself, not one that runs a job of it elsewhere."""
        return bool(self.workflow.is_main_process)

    @property
    def command_line(self) -> dict[str, Any]:
        """The settings that --config gave."""
        return dict(self.workflow.config_settings.config)

    @property
    def configuration_files(self) -> list[Path]:
        """Every configuration file that was read."""
        return [Path(path) for path in self.workflow.configfiles]

    @property
    def runs_here(self) -> bool:
        """Whether jobs run on this machine."""
        return bool(self.workflow.local_exec)

    @property
    def uses_slurm(self) -> bool:
        """Whether Slurm's executor submits the jobs."""
        return hasattr(self.workflow.executor_settings, "status_command")

    @property
    def slurm_status_query(self) -> tuple[str | None, int]:
        """Settings of Slurm's executor: ``sacct``, ``squeue`` or None; seconds before it asks."""
        first_check_s = self.workflow.executor_settings.init_seconds_before_status_checks
        return self.workflow.executor_settings.status_command, int(first_check_s)

    def planned_jobs(self) -> Iterator[PlannedJob]:
        """The jobs that this call runs, known once the graph of jobs is built."""
        for job in self.workflow.dag.needrun_jobs():
            yield PlannedJob(
                rule=job.rule.name,
                outputs=tuple(map(Path, job.output)),
                logs=tuple(map(Path, job.log)),
                resources=dict(job.resources.items()),
            )

    def run_batch(self) -> None:
        """On a node: run a batch in one process, one run after the other, and to its end."""
        self.workflow.register_resource("turn", 1)
        self.workflow.group_settings.group_components = dict.fromkeys(_GROUPS, sys.maxsize)
        self.workflow.execution_settings.keep_going = True
