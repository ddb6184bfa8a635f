"""The workflow when something ends in the middle of a run: real processes, really ended.

The tests follow one another on one folder of results: what one breaks off, the next call redoes.
"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from checkouts import SAMPLES, SETTINGS, Checkout, make_checkout
from processes import SUPPORT, Faults, runtime_of, wait_for

from mfuscope.storage.artefacts import PARTIAL

pytestmark = pytest.mark.faults

PAGES = [path.name for path in sorted(SAMPLES.glob("*.png"))[:7]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = make_checkout(tmp_path_factory.mktemp("faults") / "checkout")
    made.configure(**SETTINGS, repeats=1)
    made.add_page(PAGES[0])
    made.run()
    return made


class Broken:
    """A call with a page more, that something happens to."""

    def __init__(self, checkout: Checkout, faults: Faults, page: str) -> None:
        self.checkout, self.faults = checkout, faults
        self.kept = checkout.digests()
        self.left: Path | None = None  # sockets and traces of the call, once it has begun
        assert self.kept, "there must be something to lose"
        checkout.add_page(page)
        path = os.pathsep.join([str(SUPPORT / "faults"), str(SUPPORT), str(checkout.root / "src")])
        self.environment = faults.environment | {"PYTHONPATH": path}

    def hang(self, *arguments: str) -> tuple[subprocess.Popen[str], int]:
        """Start the call, and wait until its worker is in the middle of a run."""
        self.faults.ask_for("hang")
        process = self.checkout.start(*arguments, **self.environment)
        self.left = runtime_of(process.pid).owner_folder
        return process, self.faults.wait_until_it_hangs()

    def check(self, process: subprocess.Popen[str]) -> str:
        """It failed, has left no process, and what was there is there; returns what it printed."""
        said, _ = process.communicate(timeout=120)
        assert process.returncode != 0
        wait_for(lambda: not self.faults.processes(), "the end of every process", 10)
        assert self.left is None or not self.left.exists()
        found = self.checkout.digests()
        assert {path: found.get(path) for path in self.kept} == self.kept
        assert not list(self.checkout.results.rglob(f".*{PARTIAL}")), "nothing half-written"
        self.faults.heal()
        return said


def test_kill_the_worker(checkout: Checkout, faults: Faults) -> None:
    broken = Broken(checkout, faults, PAGES[1])
    process, worker = broken.hang()
    os.kill(worker, signal.SIGKILL)
    faults.heal()
    said = broken.check(process)
    assert f"run failed: {PAGES[1]}\n" in said
    assert "the model worker ended in the middle of this run" in said
    assert "finished results are kept" in said


def test_kill_a_job(checkout: Checkout, faults: Faults) -> None:
    broken = Broken(checkout, faults, PAGES[5])
    process, worker = broken.hang()
    (job,) = (
        number
        for number, command in faults.processes(".profile.py").items()
        if Path(command.split()[0]).name.startswith("python")
    )
    os.kill(job, signal.SIGKILL)
    faults.heal()
    wait_for(lambda: worker not in faults.processes(), "the end of the worker", 10)
    said = broken.check(process)
    assert "run failed: " in said
    assert "stopped by signal SIGKILL" in said
    assert len(checkout.digests()) == 2, "the other run was measured, by another worker"


def test_a_model_that_hangs(checkout: Checkout, faults: Faults) -> None:
    broken = Broken(checkout, faults, PAGES[6])
    process, _ = broken.hang("--config", "worker={run_timeout: 10}")
    faults.heal()  # it sleeps on; the next run does not
    said = broken.check(process)
    assert "the run took longer than `worker.run_timeout` (10 s)" in said
    assert len(checkout.digests()) == 3, "the other run was measured, by another worker"


def test_kill_the_workflow(checkout: Checkout, faults: Faults) -> None:
    broken = Broken(checkout, faults, PAGES[2])
    process, _ = broken.hang()
    process.kill()
    broken.check(process)


def test_interrupt_the_workflow(checkout: Checkout, faults: Faults) -> None:
    # Tests that run in the background ignore SIGINT, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    broken = Broken(checkout, faults, PAGES[3])
    process, _ = broken.hang()
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert "finished results are kept" in broken.check(process)


def test_an_error_inside_the_model(checkout: Checkout, faults: Faults) -> None:
    broken = Broken(checkout, faults, PAGES[4])
    faults.ask_for("raise")
    process = checkout.start(**broken.environment)
    said = broken.check(process)
    # One run alone: the others were measured, by another worker.
    assert "RuntimeError: a fault in the model" in said
    assert "1 of " in said
    assert len(checkout.digests()) == 6
    assert "report of the other 6 runs: results/report.html" in said
    head = json.loads((checkout.results / "report.json").read_bytes())
    assert head["measured"]["runs"] == 6
    assert head["measured"]["missing_runs"] == 1
    assert "1 of 7 runs failed or never started" in head["notices"][0]
    (failed,) = set(PAGES) - {row["image"] for row in checkout.table("metrics.csv")}
    for name in ("report.md", "report.html"):
        assert failed in checkout.text(name)
        assert "RuntimeError: a fault in the model" in checkout.text(name)
    assert "1 of 7 runs failed" in checkout.text("stakeholder.md")


def test_the_next_call_completes(checkout: Checkout) -> None:
    before = checkout.digests()
    assert checkout.planned()["profile"] == 1
    checkout.run()
    after = checkout.digests()
    assert len(after) == 7
    assert {path: after[path] for path in before} == before
    assert len(checkout.table("metrics.csv")) == 7
    assert "failed or never started" not in checkout.text("report.md")
    assert checkout.planned() == {}
