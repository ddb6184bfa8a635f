"""Which runs a report lacks after failures, and why."""

from pathlib import Path

import pytest

from mfuscope.core.records import MissingRun
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import write_json
from mfuscope.workflow.missing import (
    VARIABLE,
    OpenJob,
    failure_reason,
    listed_missing,
    missing_runs,
)

WANTED = [RunKey(v, image, r) for v in ("a", "b") for image in ("p", "q") for r in (0, 1)]


def at(variant: str, image: str) -> str:
    return {"p": "512", "q": "1024"}[image]


def run(variant: str, image: str, repeat: int, log: Path | None = None) -> OpenJob:
    return OpenJob({"variant": variant, "image": image, "repeat": str(repeat)}, log)


def test_nothing_is_missing_where_every_job_is_done() -> None:
    assert missing_runs(WANTED, [], at) == []


@pytest.mark.parametrize("backwards", [False, True])
def test_failed_and_unstarted_runs_are_missing(tmp_path: Path, backwards: bool) -> None:
    log = tmp_path / "job.log"
    log.write_text("Traceback ...\nmfuscope: it broke\n")
    # The run itself, and the reading of its trace, which could not start.
    jobs = [run("a", "p", 1, log), run("a", "p", 1), run("b", "q", 0)]
    assert missing_runs(WANTED, jobs[::-1] if backwards else jobs, at) == [
        MissingRun(variant="a", image="p", repeat=1, reason="it broke"),
        MissingRun(variant="b", image="q", repeat=0, reason="the workflow ended before it"),
    ]


def test_runs_without_their_calibration_are_missing(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("mfuscope: out of memory\n")
    found = missing_runs(WANTED, [OpenJob({"variant": "b", "resolution": "1024"}, log)], at)
    assert [(one.variant, one.image, one.repeat) for one in found] == [("b", "q", 0), ("b", "q", 1)]
    assert found[0].reason == "its FLOPs at 1024 were not counted: out of memory"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("one\nmfuscope: first\nmfuscope: last\n", "last"),
        ("mfuscope: ours\nnoise after it\n", "ours"),
        ("  only\n  other words  \n\n", "other words"),
        ("", "it ended without a word: it was killed"),
        ("x" * 30_000 + "\nmfuscope: at the end", "at the end"),
    ],
)
def test_the_reason_is_the_logs_last_word(content: str, reason: str, tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text(content)
    assert failure_reason(log) == reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "it timed out"),
        ("noise\n", "it timed out"),
        ("", "it timed out"),
        ("mfuscope: x", "x"),
    ],
)
def test_an_allocations_end_is_the_reason_of_who_gives_none(
    content: str | None, reason: str, tmp_path: Path
) -> None:
    log = tmp_path / "job.log"
    if content is not None:
        log.write_text(content)
    names = {"variant": "a", "image": "p", "repeat": "1"}
    own = OpenJob(names, None if content is None else log, "it timed out")
    reading = OpenJob(names, None, "it timed out")  # the run's trace, in the same batch
    for jobs in ([own, reading], [reading, own]):
        assert [run.reason for run in missing_runs(WANTED, jobs, at)] == [reason]
    assert failure_reason(tmp_path / "none.log", "it timed out") == "it timed out"


def test_a_log_that_is_not_there_is_a_reason_too(tmp_path: Path) -> None:
    assert "No such file" in failure_reason(tmp_path / "none.log")


def test_the_list_reaches_the_call_that_reports(tmp_path: Path) -> None:
    assert listed_missing({}) == []
    missing = [MissingRun(variant="a", image="p", repeat=1, reason="it broke")]
    write_json(tmp_path / "list.json", missing)
    assert listed_missing({VARIABLE: str(tmp_path / "list.json")}) == missing
