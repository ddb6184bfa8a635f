"""Which runs lack a current result, and why."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import pytest
from provenances import SETTINGS

from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.paths import RunPaths
from mfuscope.workflow import due
from mfuscope.workflow.due import due_runs
from mfuscope.workflow.outlook import Cause, Outlook, Reason, in_words

RUNS = [RunKey(v, image, r) for v in "ab" for image in ("p", "q") for r in (0, 1)]


@dataclass
class Asked:
    """What is asked of a plan: two variants, two pages, two repeats, of which all was made."""

    results: Path
    parameters: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    pages: dict[str, str] = field(default_factory=dict)
    device: str = "cuda"

    def __post_init__(self) -> None:
        self.variants = {"a": None, "b": None}
        self.settings = SimpleNamespace(repeats=2)

    def runs(self) -> list[RunKey]:
        return RUNS

    def digest(self, image: str) -> str:
        return self.pages.get(image, builders.SHA256)

    def due(self) -> dict[RunKey, tuple[Reason, ...]]:
        return due_runs(self, self.results)  # type: ignore[arg-type]

    def why(self) -> str:
        """Every reason, in words."""
        return in_words(reason for why in self.due().values() for reason in why)

    def path(self, run: RunKey) -> Path:
        return RunPaths.of(self.results, run).record

    def remove(self, *runs: RunKey) -> None:
        for run in runs:
            self.path(run).unlink()

    def report(self, *runs: RunKey) -> None:
        """The tables of a report of these runs."""
        rows = "".join(f"{run.variant},{run.image},{run.repeat}\n" for run in runs)
        (self.results / "metrics.csv").write_text(f"variant,image,repeat\n{rows}")
        pages = "".join(f"{image},x\n" for image in sorted({run.image for run in runs}))
        (self.results / "inputs.csv").write_text(f"image,path\n{pages}")

    def keep(self, wanted: Callable[[RunKey], bool]) -> None:
        """Results and a report of these runs alone."""
        self.remove(*(run for run in RUNS if not wanted(run)))
        self.report(*filter(wanted, RUNS))


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked(tmp_path)
    for run in RUNS:
        record = builders.run(variant=run.variant, image=run.image, repeat=run.repeat)
        write_json(made.path(run), record)
        activity = RunPaths.of(tmp_path, run).activity
        activity.parent.mkdir(parents=True, exist_ok=True)
        activity.touch()
    made.report(*RUNS)
    monkeypatch.setattr(due, "run_parameters", lambda plan, variant: plan.parameters)
    return made


def test_results_that_are_current_are_not_due(asked: Asked) -> None:
    assert asked.due() == {}


def lose_tables(asked: Asked) -> None:
    for run in RUNS:
        RunPaths.of(asked.results, run).activity.unlink()


def stop_early(asked: Asked) -> None:
    asked.remove(RUNS[-1])
    (asked.results / "metrics.csv").unlink()
    (asked.results / "inputs.csv").unlink()


def start_anew(asked: Asked) -> None:
    asked.remove(*RUNS)
    (asked.results / "metrics.csv").unlink()


CASES: dict[str, Callable[[Asked], object]] = {
    "page q changed": lambda asked: asked.pages.update(q="0" * 64),
    "settings changed (max_new_tokens 4 → 9)": lambda asked: asked.parameters.update(
        max_new_tokens=9
    ),
    "the model's files changed": lambda asked: asked.parameters.update(
        model=SETTINGS["model"] | {"fingerprint": "other"}
    ),
    "the device changed (cuda → cpu)": lambda asked: setattr(asked, "device", "cpu"),
    "results of p were removed": lambda asked: asked.remove(RUNS[0]),
    "results of p, q were removed": lose_tables,
    "the result of p is damaged": lambda asked: asked.path(RUNS[0]).write_text("{"),
    "page q is new": lambda asked: asked.keep(lambda run: run.image == "p"),
    "variant b is new": lambda asked: asked.keep(lambda run: run.variant == "a"),
    "repeats raised (1 → 2)": lambda asked: asked.keep(lambda run: run.repeat == 0),
    "q is not measured yet": stop_early,
    "nothing is measured yet": start_anew,
}


@pytest.mark.parametrize("why", CASES)
def test_each_cause_is_told(why: str, asked: Asked) -> None:
    CASES[why](asked)
    assert asked.why() == why


def test_only_runs_that_lack_a_result_are_due(asked: Asked) -> None:
    asked.pages["q"] = "0" * 64
    assert list(asked.due()) == [run for run in RUNS if run.image == "q"]


def test_another_model_has_other_files(asked: Asked) -> None:
    asked.parameters["model"] = SETTINGS["model"] | {"model": "big", "fingerprint": "other"}
    assert asked.why().startswith("settings changed (model ")
    assert "files" not in asked.why()


def test_tables_that_cannot_be_read_explain_nothing(asked: Asked) -> None:
    asked.remove(RUNS[0])
    (asked.results / "metrics.csv").write_bytes(b"variant\xff\n\0")
    os.truncate(asked.results / "inputs.csv", 3)
    assert asked.why() == "p is not measured yet"


def test_a_long_value_of_a_setting_is_shortened(asked: Asked) -> None:
    asked.parameters["model"] = SETTINGS["model"] | {"prompt": "Read\nthis " * 20}
    assert asked.why().endswith("→ Read\\nthis Read\\nthis R…)")


def test_many_names_are_counted() -> None:
    reasons = [Reason(Cause.CHANGED, f"{n}.png") for n in (1, 2, 2, 3, 4, 5)]
    assert in_words(reasons) == "pages 1.png, 2.png, 3.png and 2 more changed"
    assert in_words([]) == ""


def test_the_note_names_outdated_runs_alone() -> None:
    why = {RUNS[0]: (Reason(Cause.CHANGED, "p"),), RUNS[1]: (Reason(Cause.NEW, "p"),)}
    known = Outlook(pages=1, repeats=2, variants=("a",), results=Path("r"), due=why)
    assert "than now: a/p/0. Snakemake" in known.outdated_note
    assert not Outlook(pages=1, repeats=2, variants=("a",), results=Path(), due={}).outdated_note
