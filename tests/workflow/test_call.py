"""A call reaches its jobs through one environment variable."""

import os
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from checkouts import FIRST, ROOT, SAMPLES
from validate import schemas

from mfuscope.core.errors import UserError, UserErrors
from mfuscope.core.runs import RunKey
from mfuscope.planning.plan import Plan
from mfuscope.worker.runtime import Limits, Owner
from mfuscope.workflow import start
from mfuscope.workflow.call import VARIABLE, Call
from mfuscope.workflow.internals import Engine
from mfuscope.workflow.outlook import Outlook

RESULTS = Path("results")


def engine(
    command_line: dict[str, Any] | None = None, *, main: bool = True, files: tuple[Path, ...] = ()
) -> Engine:
    return Engine(
        SimpleNamespace(
            is_main_process=main,
            config_settings=SimpleNamespace(config=command_line or {}),
            configfiles=files,
        )
    )


def open_call(
    engine: Engine, config: dict[str, Any], root: Path, results: Path
) -> tuple[Call, Plan]:
    """A call that logs nothing."""
    return start.open_call(engine, config, root, results, lambda *_, **__: None)


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # also takes away what a test leaves there
    for name in [name for name in os.environ if name.startswith(("DSOCR_", "MFU_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / FIRST).write_bytes((SAMPLES / FIRST).read_bytes())


FILE = {"images": "pages", "device": "cpu", "max_new_tokens": 3}


def test_a_call_is_handed_to_its_jobs() -> None:
    call, plan = open_call(engine(), FILE, ROOT, RESULTS)
    assert Call.inherited() == call
    assert call.device == plan.device == "cpu"
    assert call.runtime.owner == Owner.of(os.getpid())
    assert isinstance(call.limits, Limits)
    assert not call.partial
    assert re.fullmatch(schemas()["common.schema.yaml"]["$defs"]["call"]["pattern"], call.id)
    assert open_call(engine(), FILE, ROOT, RESULTS)[0].id != call.id, "another call"


def test_a_job_takes_the_call_and_looks_at_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    call, plan = open_call(engine({"repeats": "4"}), FILE | {"repeats": 4}, ROOT, RESULTS)
    monkeypatch.setenv("DSOCR_MAX_NEW_TOKENS", "77")  # of the node, not of the call
    (Path("pages") / "bad.png").write_bytes(b"text")
    again, in_job = open_call(engine(main=False), {"repeats": 1}, ROOT, RESULTS)
    assert (again.id, again.settings) == (call.id, call.settings)
    assert in_job.settings.repeats == 4
    assert in_job.variants == plan.variants
    assert in_job.facts == {}
    assert in_job.digest(FIRST) == plan.digest(FIRST)
    assert in_job.resolution("baseline", FIRST) == plan.resolution("baseline", FIRST)


def test_a_later_call_resolves_its_own_settings() -> None:
    """One process may make several calls, through Snakemake's API."""
    open_call(engine(), FILE, ROOT, RESULTS)
    _, plan = open_call(engine(), FILE | {"max_new_tokens": 5}, ROOT, RESULTS)
    assert plan.settings.inference.max_new_tokens == 5


@pytest.mark.parametrize(
    ("command_line", "environment", "expected"),
    [({}, None, 3), ({}, "4", 4), ({"max_new_tokens": "5"}, "4", 5)],
)
def test_the_command_line_wins_over_the_environment_and_that_over_files(
    command_line: dict[str, Any],
    environment: str | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if environment:
        monkeypatch.setenv("DSOCR_MAX_NEW_TOKENS", environment)
    _, plan = open_call(engine(command_line), FILE | command_line, ROOT, RESULTS)
    assert plan.settings.inference.max_new_tokens == expected


def test_nested_settings_of_files_stay_beside_the_command_lines() -> None:
    file = FILE | {"profiler": {"keep_traces": "none", "record_shapes": True}}
    _, plan = open_call(engine({"profiler": {"record_shapes": True}}), file, ROOT, RESULTS)
    assert plan.settings.keep_traces == "none"
    assert plan.settings.profiler.record_shapes


def test_a_key_that_a_file_gives_twice_is_reported() -> None:
    path = Path("config.yaml")
    path.write_text(yaml.safe_dump(FILE) + "repeats: 2\nrepeats: 3\n")
    with pytest.raises(UserErrors, match=r"config\.yaml.*line 5.*repeats"):
        open_call(engine(files=(path,)), FILE | {"repeats": 3}, ROOT, RESULTS)


def test_prompts_and_model_paths_may_hold_braces(tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "a {model} of {{mine}}"
    shutil.copytree(ROOT / "config" / "models" / "deepseek-ocr-nano", model)
    asked = {"prompt": "Read {text} now", "model": str(model), "load_format": "dummy"}
    _, plan = open_call(engine(asked), FILE | asked, ROOT, RESULTS)
    assert plan.variants["baseline"].prompt == "Read {text} now"
    assert plan.models["baseline"].path == model


def test_what_the_variable_holds_must_be_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "foo")
    with pytest.raises(UserError, match=rf"^{VARIABLE} .*Remedy: unset it\.$"):
        open_call(engine(), FILE, ROOT, RESULTS)


@pytest.mark.parametrize(("broken", "unreadable"), [(False, 0), (True, 1)])
def test_the_terminal_knows_what_is_due_whether_the_call_begins_or_not(
    broken: bool, unreadable: int, tmp_path: Path
) -> None:
    logged: list[Outlook] = []

    def log(message: str, extra: dict[str, Outlook]) -> None:
        logged.append(extra["outlook"])

    if broken:
        (tmp_path / "pages" / "z.png").write_bytes(b"no image")
    with pytest.raises(UserErrors, match=r"z\.png") if broken else nullcontext():
        start.open_call(engine(), FILE, ROOT, RESULTS, log)
    (known,) = logged
    assert (known.pages, known.unreadable, list(known.due)) == (
        1,
        unreadable,
        [RunKey("baseline", FIRST, repeat) for repeat in range(known.repeats)],
    )
    logged.clear()
    with pytest.raises(UserErrors):  # of more than pages
        start.open_call(engine(), FILE | {"repeats": 0}, ROOT, RESULTS, log)
    assert logged == []
