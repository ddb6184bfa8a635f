"""Snakemake still has every internal that one file of this package uses.

A failure here names the attribute and why the workflow needs it: look for another way in the
release notes of Snakemake, change src/mfuscope/workflow/internals.py, and run `make test-slurm`.
"""

import inspect
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from checkouts import ROOT
from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.jobs import Job
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    ExecutionSettings,
    GroupSettings,
    ResourceSettings,
    StorageSettings,
)
from snakemake.workflow import Workflow

from mfuscope.workflow import internals
from mfuscope.workflow.internals import CHECKED_WITH, INTERNALS, Engine

FEW = 10
SETTINGS_OF = {
    "config_settings": ConfigSettings,
    "execution_settings": ExecutionSettings,
    "group_settings": GroupSettings,
}


def test_there_are_few() -> None:
    assert len(INTERNALS) <= FEW


def test_the_installed_snakemake_is_the_one_they_were_checked_with() -> None:
    assert version("snakemake") == CHECKED_WITH, (
        "another Snakemake is pinned: read its release notes for what INTERNALS lists, "
        "run make test-slurm, then change CHECKED_WITH"
    )


@pytest.mark.parametrize("name", INTERNALS)
def test_snakemake_has_it(name: str) -> None:
    first, _, rest = name.partition(".")
    why = f"Snakemake {version('snakemake')} has no Workflow.{name}: {INTERNALS[name]}"
    attributes = set(dir(Workflow)) | set(inspect.signature(Workflow).parameters)
    # What the constructor sets, as its source says: there is no workflow to look at here.
    attributes |= {
        word.partition(" ")[0] for word in inspect.getsource(Workflow.__post_init__).split("self.")
    }
    assert first in attributes, why
    if first in SETTINGS_OF:
        assert rest in {*SETTINGS_OF[first].__dataclass_fields__, *dir(SETTINGS_OF[first])}, why
    elif first == "dag":
        assert callable(getattr(DAG, rest, None)), why


@pytest.mark.parametrize("name", ["rule", "output", "log", "resources"])
def test_jobs_have_what_planned_jobs_are_made_of(name: str) -> None:
    assert hasattr(Job, name) or f"self.{name} = " in inspect.getsource(Job.__init__)


@pytest.mark.slurm
@pytest.mark.parametrize("name", [n for n in INTERNALS if n.startswith("executor_settings.")])
def test_slurms_executor_has_it(name: str) -> None:
    from snakemake_executor_plugin_slurm import ExecutorSettings

    assert name.partition(".")[2] in ExecutorSettings.__dataclass_fields__, INTERNALS[name]


def test_nothing_else_is_used() -> None:
    """Every attribute that the file reads of the workflow is on the list."""
    used = set()
    for line in inspect.getsource(internals).splitlines():
        _, found, rest = line.partition("self.workflow.")
        if found:
            used.add(re.match(r"[\w.]+", rest)[0])  # type: ignore[index]
    assert used - {"executor_settings"} == set(INTERNALS)


def test_no_other_file_reaches_as_deep() -> None:
    deep = (
        *("execute", "dag", "scheduler", "persistence", "executor_settings", "register_resource"),
        *("group_settings", "execution_settings", "workflow_settings", "dag_settings"),
        *("config_settings", "resource_settings"),
    )
    files = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    files += [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]
    for file in files:
        if file.name != "internals.py":
            text = file.read_text(encoding="utf-8")
            assert not [name for name in deep if f"workflow.{name}" in text], file


def test_a_workflow_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real Workflow object, asked everything that can be asked without executing it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extra.yaml").write_text("repeats: 2\n")
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'x'\n    shell: 'touch {output}'\n")
    with SnakemakeApi() as api:
        made = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(
                config={"repeats": 5}, configfiles=[tmp_path / "extra.yaml"]
            ),
            storage_settings=StorageSettings(),
            snakefile=tmp_path / "Snakefile",
        )
        dag = made.dag(DAGSettings())
        engine = Engine(dag.workflow_api._workflow)
        assert engine.is_main_process
        assert engine.command_line == {"repeats": 5}
        assert engine.configuration_files == [tmp_path / "extra.yaml"]
