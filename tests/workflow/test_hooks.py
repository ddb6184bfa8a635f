"""What happens before the first job, without Snakemake."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkouts import ROOT

from mfuscope.core.errors import UserError
from mfuscope.worker.runtime import Limits, Owner
from mfuscope.workflow import hooks as module
from mfuscope.workflow.call import Call
from mfuscope.workflow.hooks import Hooks
from mfuscope.workflow.internals import PlannedJob
from mfuscope.workflow.outcome import verdict

CALL = Call(
    id="20260102T030400Z-0a1b2c",
    settings={},
    device="cpu",
    owner=str(Owner.of(os.getpid())),
    limits=Limits(0, 60, 60),
    runtime_dir="/nowhere",
    max_image_megapixels=1,
    started=time.time(),
)


def job(rule: str, *outputs: Path) -> PlannedJob:
    return PlannedJob(rule, outputs, (), {})


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in usual.items():
        signal.signal(number, handler)


def hooks(folder: Path, jobs: list[PlannedJob], *, here: bool = True, **changes: Any) -> Hooks:
    engine = SimpleNamespace(planned_jobs=lambda: jobs, runs_here=here, uses_slurm=False)
    plan = SimpleNamespace(check_device=lambda: None)
    return Hooks(engine, replace(CALL, **changes), plan, folder / "results", print)  # type: ignore[arg-type]


def test_a_plan_that_another_call_overtook_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "metrics.csv"
    made.touch()
    os.utime(made, (CALL.started + 1, CALL.started + 1))
    with pytest.raises(UserError, match=r"another call made .*metrics\.csv while .* run the same"):
        hooks(tmp_path, [job("tabulate_metrics", made)]).start()


def test_older_results_are_made_again(tmp_path: Path) -> None:
    made = tmp_path / "metrics.csv"
    made.touch()
    os.utime(made, (1e9, 1e9))
    started = hooks(tmp_path, [job("tabulate_metrics", made, tmp_path / "not there")])
    started.start()
    assert started.rules == {"tabulate_metrics"}
    assert made.exists()


@pytest.mark.parametrize(("here", "left"), [(True, True), (False, False)])
def test_outdated_results_go_where_a_node_would_have_to_remove_them(
    here: bool, left: bool, tmp_path: Path
) -> None:
    record, table = tmp_path / "0.csv", tmp_path / "metrics.csv"
    for path in (record, table):
        path.touch()
        os.utime(path, (1e9, 1e9))
    jobs = [job("read_operators", record), job("tabulate_metrics", table)]
    hooks(tmp_path, jobs, here=here).start()
    assert record.exists() == left
    assert table.exists(), "tables are made where the call is"


def test_a_call_for_the_rest_holds_no_lock(tmp_path: Path) -> None:
    first = hooks(tmp_path, [])
    first.start()
    hooks(tmp_path, [], partial=True).start()
    with pytest.raises(UserError, match="another call is making these results"):
        hooks(tmp_path, []).start()


def test_an_interruption_is_noted_before_snakemake_handles_it(tmp_path: Path) -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    started = hooks(tmp_path, [])
    started.start()
    assert not started.interrupted
    os.kill(os.getpid(), signal.SIGTERM)
    assert started.interrupted
    assert seen == [signal.SIGTERM]


@pytest.mark.parametrize(
    ("here", "known", "said"),
    [
        (True, {"a": 35.0}, "nano on the CPU; about 1 min 10 s, as earlier runs took"),
        (True, {"b": 35.0}, "nano on the CPU; the first run tells how long it takes"),
        (False, {"a": 35.0}, "nano on the CPU"),  # nodes measure side by side
    ],
)
def test_a_call_says_what_it_measures_and_about_how_long(
    here: bool,
    known: dict[str, float],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "headline", lambda plan: "nano on the CPU")
    monkeypatch.setattr(module, "seconds_of_runs", lambda *_: known)
    monkeypatch.setattr(module, "remove_abandoned", lambda runtime: None)
    runs = [tmp_path / "a" / "runs" / "p.png" / f"{repeat}.json" for repeat in (0, 1)]
    started = hooks(tmp_path, [job("profile", run) for run in runs], here=here)
    started.plan.runs = lambda: []  # type: ignore[method-assign]
    vars(started.plan)["device"] = "cpu"
    started.start()
    assert capsys.readouterr().out == f"{said}\n"


def test_a_call_ends_with_the_verdict_and_the_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "end_workers", lambda runtime: None)
    (tmp_path / "results").symlink_to(ROOT / "docs" / "example")
    ended = hooks(tmp_path, [])
    ended.rules = {"render_report"}
    ended.succeed()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == list(verdict(ROOT / "docs" / "example" / "report.json"))
    assert lines[-1].startswith(f"report: {tmp_path}/results/report.html ")
