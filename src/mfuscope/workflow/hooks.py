"""What happens before the first job and after the last one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Final

from mfuscope.core.errors import Findings, UserError
from mfuscope.measure import ncu
from mfuscope.planning.parameters import headline
from mfuscope.planning.plan import Plan
from mfuscope.storage.locks import hold_results
from mfuscope.storage.paths import run_key
from mfuscope.storage.space import check_space, check_writable
from mfuscope.worker.ending import end_workers
from mfuscope.worker.runtime import remove_abandoned
from mfuscope.workflow.call import VARIABLE, Call
from mfuscope.workflow.counting import uncounted
from mfuscope.workflow.internals import Engine, PlannedJob
from mfuscope.workflow.missing import is_current, missing_runs
from mfuscope.workflow.outcome import expected_seconds, seconds_of_runs, verdict
from mfuscope.workflow.submission import check_submission
from mfuscope.workflow.words import counted, rough_duration

#: Rules that hold the measuring device for one run.
PROFILING: Final = ("profile", "profile_again")
_BATCHED: Final = (*PROFILING, "read_operators", "calibrate", "count_hardware")
# Nothing is measured for a report after failures, whatever has changed meanwhile.
_DERIVING: Final = (
    *("resolve_hardware", "inspect_images", "tabulate_metrics", "summarise", "compare_variants"),
    "render_report",
)


@dataclass
class Hooks:
    """The hooks of one call.

    Attributes:
        say: shows the user a line, in order with the progress lines.
        rules: the rules that this call runs, known once it starts.
        interrupted: Ctrl-C or a signal asked this process to stop.
    """

    engine: Engine
    call: Call
    plan: Plan
    results: Path
    say: Callable[[str], None]
    rules: set[str] = field(default_factory=set)
    interrupted: bool = False

    def start(self) -> None:
        """Take the results, check that jobs can run where they will run, say what is measured.

        Raises:
            MfuscopeError: another call makes these results, or something stands in the way.
        """
        check_space(Path())
        jobs = list(self.engine.planned_jobs())
        if not self.call.partial:
            hold_results(self.results)
            self._check_plan(jobs)
        self._watch_signals()
        self.rules = {job.rule for job in jobs}
        measures = not self.rules.isdisjoint(PROFILING)
        findings = Findings()
        with findings.collect():
            check_writable(file for job in jobs for file in (*job.outputs, *job.logs))
        with findings.collect():
            if measures and self.engine.runs_here:
                self.plan.check_device()
        with findings.collect():
            if self.engine.uses_slurm:
                check_submission(
                    [job.resources for job in jobs if job.rule in (*_BATCHED, "probe_device")],
                    *self.engine.slurm_status_query,
                )
        findings.raise_any()
        if not self.engine.runs_here:
            _remove_outdated(jobs)
        if measures:
            remove_abandoned(self.call.runtime)
            self.say(self._subject(jobs))
        counts = "count_hardware" in self.rules and self.engine.runs_here
        if counts and (reason := ncu.obstacle(ncu.find_ncu(), "")):
            self.say(f"hardware counters cannot be read, all else is measured: {reason}")

    def succeed(self) -> None:
        """End the workers, and say where the results are."""
        end_workers(self.call.runtime)
        if "count_hardware" in self.rules:
            for line in uncounted(self.results):
                self.say(line)
            if "render_report" not in self.rules:
                self.say(
                    f"hardware counters: {self.results}/*/counters; `snakemake` makes the report "
                    "with them"
                )
        if "render_report" in self.rules:
            for line in verdict(self.results / "report.json"):
                self.say(line)
            self.say(
                f"report: {self.results}/report.html (stakeholder.html, operators.md beside it)"
            )
        if "count_budget" in self.rules:
            self.say(
                f"FLOP budget: {self.results}/flops.md (every figure in {self.results}/flops.csv)"
            )

    def fail(self, snakefile: Path) -> None:
        """End the workers, and report the runs that are there, if there are any."""
        end_workers(self.call.runtime)
        if self.call.partial or self.interrupted or "render_report" not in self.rules:
            return
        wanted = len(self.plan.runs())
        there = wanted - len(missing_runs(self.plan, self.results, self.call.started))
        if there in (0, wanted):
            return
        made = subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", f"{self.results}/report.html"),
                *("--snakefile", str(snakefile), "--cores", "1", "--nolock"),
                *("--allowed-rules", *_DERIVING),
            ],
            env=os.environ | {VARIABLE: replace(self.call, partial=True).encoded()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if made.returncode:
            self.say(
                f"there is no report of the other {counted(there, 'run')}:\n{made.stdout.rstrip()}"
            )
        else:
            self.say(f"report of the other {counted(there, 'run')}: {self.results}/report.html")

    def _subject(self, jobs: list[PlannedJob]) -> str:
        """What will be measured on what, and about how long that takes."""
        subject = headline(self.plan)
        if not self.engine.runs_here:
            return subject
        planned = [run_key(job.outputs[0]) for job in jobs if job.rule in PROFILING]
        known = seconds_of_runs(
            self.results,
            self.plan.runs(),
            self.plan.device.partition(":")[0],
            lambda run: is_current(self.plan, self.results, run),
        )
        seconds = expected_seconds(planned, known)
        if seconds is None:
            return f"{subject}; the first run tells how long it takes"
        return f"{subject}; about {rough_duration(seconds)}, as earlier runs took"

    def _check_plan(self, jobs: list[PlannedJob]) -> None:
        """Check that the plan still holds: the lock is taken after Snakemake has made it."""
        for path in (path for job in jobs for path in job.outputs):
            if path.exists() and path.stat().st_mtime > self.call.started:
                raise UserError(
                    f"another call made {path} while this one was planned",
                    "run the same command again",
                )

    def _watch_signals(self) -> None:
        """Note an interruption before Snakemake handles it: no report is made after one."""
        for number in (signal.SIGINT, signal.SIGTERM):
            usual = signal.getsignal(number)

            def note(
                received: int, frame: FrameType | None, usual: "signal._HANDLER" = usual
            ) -> None:
                self.interrupted = True
                if callable(usual):
                    usual(received, frame)

            if callable(usual):
                signal.signal(number, note)


def _remove_outdated(jobs: list[PlannedJob]) -> None:
    """Remove what will be made again, as Snakemake does right before a job on this machine.

    On a cluster Snakemake does so on the node. A job that never gets there would leave an outdated
    result, which profiles/slurm (keep-incomplete) would keep for a new one, and the log of an
    earlier try.
    """
    for job in jobs:
        if job.rule in _BATCHED:
            for path in (*job.outputs, *job.logs):
                path.unlink(missing_ok=True)
